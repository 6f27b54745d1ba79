package webui

import (
	"net/http"

	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/web"
)

// route is one address: what it needs and who answers. A pattern below
// projectPath is about a project, and the permission is asked for on it.
type route struct {
	method, pattern string
	needs           identity.Permission
	handle          func(*call) error
}

const projectPath = inside + "/{project}"

// routes is the whole site. The guard asks for the permission named here before
// any handler runs; a test walks the table.
var routes = []route{
	{"GET", "/static/{version}/{path...}", identity.Anyone, static},
	{"GET", "/signin", identity.Anyone, showSignIn},
	{"POST", "/signin", identity.Anyone, signIn},
	{"POST", "/signout", identity.SignedIn, signOut},
	{"GET", "/{$}", identity.SignedIn, home},
	{"GET", inside, identity.SignedIn, home},
	{"GET", "/events", identity.SignedIn, events},
	{"GET", "/me", identity.SignedIn, me},
	{"GET", "/palette", identity.SignedIn, palette},
	{"GET", "/approvals", identity.SignedIn, inbox},
	{"GET", "/approvals/{id}", identity.SignedIn, inbox},
	{"POST", "/approvals/{id}", identity.SignedIn, decide},
	{"GET", "/agents", identity.SignedIn, pools},
	{"GET", "/agents/{pool}", identity.SignedIn, pool},
	{"GET", "/docs/errors/{code}", identity.SignedIn, explainCode},
	{"GET", "/admin/audit", identity.AuditRead, auditList},
	{"POST", "/admin/audit/verify", identity.AuditRead, auditVerify},

	{"GET", projectPath, identity.ProjectView, board},
	{"GET", projectPath + "/palette", identity.ProjectView, palette},
	{"GET", projectPath + "/agents/{pool}", identity.ProjectView, toPool},

	{"GET", projectPath + "/runs", identity.ProjectView, runList},
	{"GET", projectPath + "/runs/{id}", identity.ProjectView, runPage},
	{"GET", projectPath + "/runs/{id}/timeline", identity.ProjectView, runTimeline},
	{"GET", projectPath + "/runs/{id}/tests", identity.ProjectView, runTests},
	{"GET", projectPath + "/runs/{id}/coverage", identity.ProjectView, runCoverage},
	{"GET", projectPath + "/runs/{id}/attachments/{attachment}", identity.ProjectView, attachmentContent},
	{"GET", projectPath + "/runs/{id}/logs.zip", identity.ProjectView, logsArchive},
	{"GET", projectPath + "/runs/{id}/artifacts", identity.ProjectView, runArtifacts},
	{"GET", projectPath + "/runs/{id}/artifacts/{name}", identity.ProjectView, artifactContent},
	{"GET", projectPath + "/runs/{id}/changes", identity.ProjectView, runChanges},
	{"GET", projectPath + "/runs/{id}/file", identity.ProjectView, runFile},
	{"GET", projectPath + "/runs/{id}/errors", identity.ProjectView, runErrors},
	{"GET", projectPath + "/runs/{id}/attempts/{n}", identity.ProjectView, runAttempt},
	{"GET", projectPath + "/runs/{id}/jobs/{job}", identity.ProjectView, jobPage},
	{"GET", projectPath + "/runs/{id}/jobs/{job}/log", identity.ProjectView, logLines},
	{"GET", projectPath + "/runs/{id}/jobs/{job}/log/index", identity.ProjectView, logIndex},
	{"GET", projectPath + "/runs/{id}/jobs/{job}/log/search", identity.ProjectView, logSearch},
	{"GET", projectPath + "/runs/{id}/jobs/{job}/raw", identity.ProjectView, logRaw},
	{"POST", projectPath + "/runs/{id}/cancel", identity.RunQueue, cancelRun},
	{"POST", projectPath + "/runs/{id}/rerun", identity.RunQueue, rerun},

	{"GET", projectPath + "/pipelines", identity.ProjectView, pipelineList},
	{"GET", projectPath + "/pipelines/{name}", identity.ProjectView, pipelinePage},
	{"POST", projectPath + "/pipelines/{name}/run", identity.RunQueue, runPipeline},

	{"GET", projectPath + "/pulls", identity.ProjectView, pullList},
	{"GET", projectPath + "/pulls/{n}", identity.ProjectView, toPull},
	{"GET", projectPath + "/repos", identity.ProjectView, repoList},
	{"GET", projectPath + "/repos/{repo}", identity.ProjectView, repoHome},
	{"GET", projectPath + "/repos/{repo}/tree/{rest...}", identity.ProjectView, repoTree},
	{"GET", projectPath + "/repos/{repo}/commits/{ref...}", identity.ProjectView, repoCommits},
	{"GET", projectPath + "/repos/{repo}/commit/{id}", identity.ProjectView, repoCommit},
	{"GET", projectPath + "/repos/{repo}/compare/{range...}", identity.ProjectView, repoCompare},
	{"GET", projectPath + "/repos/{repo}/pulls", identity.ProjectView, pullList},
	{"POST", projectPath + "/repos/{repo}/pulls", identity.CodeWrite, openPull},
	{"GET", projectPath + "/repos/{repo}/pulls/{n}", identity.ProjectView, pullPage},
	{"GET", projectPath + "/repos/{repo}/pulls/{n}/files", identity.ProjectView, pullFiles},
	{"GET", projectPath + "/repos/{repo}/pulls/{n}/commits", identity.ProjectView, pullCommits},
	{"GET", projectPath + "/repos/{repo}/pulls/{n}/runs", identity.ProjectView, pullRuns},
	{"POST", projectPath + "/repos/{repo}/pulls/{n}/vote", identity.CodeWrite, pullVote},
	{"POST", projectPath + "/repos/{repo}/pulls/{n}/comment", identity.CodeWrite, pullComment},
	{"POST", projectPath + "/repos/{repo}/pulls/{n}/complete", identity.CodeWrite, pullComplete},
	{"POST", projectPath + "/repos/{repo}/pulls/{n}/abandon", identity.CodeWrite, pullAbandon},

	{"GET", projectPath + "/apps", identity.ProjectView, appList},
	{"GET", projectPath + "/apps/{app}", identity.ProjectView, appPage},
	{"GET", projectPath + "/apps/{app}/releases", identity.ProjectView, appReleases},
	{"GET", projectPath + "/apps/{app}/swaps", identity.ProjectView, appSwaps},
	{"GET", projectPath + "/apps/{app}/swaps/{generation}", identity.ProjectView, appSwap},
	{"GET", projectPath + "/apps/{app}/routes", identity.ProjectView, appRoutes},
	{"GET", projectPath + "/apps/{app}/dns", identity.ProjectView, appDNS},
	{"GET", projectPath + "/apps/{app}/vms", identity.ProjectView, appVMs},
	{"POST", projectPath + "/apps/{app}/swap", identity.Release, swapApp},
	{"POST", projectPath + "/apps/{app}/rollback", identity.Release, rollbackApp},

	{"GET", projectPath + "/monitor", identity.ProjectView, monitorHome},
	{"GET", projectPath + "/monitor/{app}", identity.ProjectView, monitorPage},
	{"GET", projectPath + "/monitor/{app}/data", identity.ProjectView, monitorData},

	{"GET", projectPath + "/environments", identity.ProjectView, environmentList},
	{"GET", projectPath + "/environments/{env}", identity.ProjectView, environmentPage},
	{"GET", projectPath + "/environments/{env}/checks", identity.ProjectView, environmentPage},

	{"GET", projectPath + "/connections", identity.ProjectView, connectionList},
	{"POST", projectPath + "/connections", identity.SecretWrite, makeConnection},
	{"POST", projectPath + "/connections/{id}/delete", identity.SecretWrite, deleteConnection},
	{"POST", projectPath + "/securefiles/{id}/delete", identity.SecretWrite, deleteSecureFile},

	// Azure's addresses lead to ours.
	{"GET", projectPath + "/_build/results", identity.ProjectView, fromBuildResults},
	{"GET", projectPath + "/_build", identity.ProjectView, fromBuild},
	{"GET", projectPath + "/_environments", identity.ProjectView, fromEnvironments},
	{"GET", projectPath + "/_environments/{env}", identity.ProjectView, fromEnvironments},
}

func static(c *call) error {
	web.Handler().ServeHTTP(c.w, c.r)
	return nil
}

func notFound(c *call) error { return noPage(c.address()) }

func fromBuildResults(c *call) error {
	return c.redirect(c.frame.At("runs", c.r.FormValue("buildId")), http.StatusFound)
}

func fromBuild(c *call) error { return c.redirect(c.frame.At("pipelines"), http.StatusFound) }

func fromEnvironments(c *call) error {
	if env := c.r.PathValue("env"); env != "" {
		return c.redirect(c.frame.At("environments", env), http.StatusFound)
	}
	return c.redirect(c.frame.At("environments"), http.StatusFound)
}
