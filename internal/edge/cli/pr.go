package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type prRow struct {
	PullRequestID                    int
	Status, Title, Description       string
	SourceRefName, TargetRefName     string
	MergeStatus, MergeFailureMessage string
	CreationDate                     time.Time
	CreatedBy                        struct{ DisplayName string }
	Repository                       struct{ ID, Name string }
	LastMergeSourceCommit            struct{ CommitID string }
	LastMergeCommit                  struct{ CommitID string }
	Reviewers                        []struct {
		DisplayName string
		Vote        int
	}
}

var voteWords = map[int]string{10: "approved", 5: "approved with suggestions", 0: "no vote", -5: "waits for the author", -10: "rejected"}

func (p prRow) votes() string {
	var list []string
	for _, r := range p.Reviewers {
		list = append(list, r.DisplayName+" "+voteWords[r.Vote])
	}
	return strings.Join(list, ", ")
}

// pr reads a pull request by number.
func (c *cli) pr(ctx context.Context, number string) (doc[prRow], string, error) {
	number = strings.TrimPrefix(number, "!")
	if _, err := strconv.Atoi(number); err != nil {
		return doc[prRow]{}, "", usage("%q is no number of a pull request", number).Try("penstock pr list")
	}
	d, err := get[prRow](ctx, c, "/_apis/git/pullRequests/"+number)
	return d, "/_apis/git/repositories/" + d.V.Repository.ID + "/pullRequests/" + number, err
}

func (c *cli) prCommand() *cobra.Command {
	return noun("pr", "Pull requests.", "penstock pr list\npenstock pr create --title 'Prices in euro'\npenstock pr complete 7",
		c.prList(), c.prShow(), c.prCreate(), c.prVote(),
		command("diff NUMBER", "Prints what a pull request changes.", "penstock pr diff 7", exactly("NUMBER"), func(ctx context.Context, args []string) error {
			d, _, err := c.pr(ctx, args[0])
			if err != nil {
				return err
			}
			a := c.known
			body, err := a.Stream(ctx, http.MethodGet, a.InProject(fmt.Sprintf("/_apis/penstock/pullrequests/%d/diff", d.V.PullRequestID)), "text/plain", nil)
			if err != nil {
				return err
			}
			defer func() { _ = body.Close() }()
			text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
			if err != nil {
				return err
			}
			return c.out(printable(string(text)))
		}),
		command("checks NUMBER", "Shows the policies of a pull request; exit code 1 while one is in its way.", "penstock pr checks 7", exactly("NUMBER"), c.prChecks),
		command("comment NUMBER TEXT", "Adds a comment; TEXT - reads stdin.", "penstock pr comment 7 'Please add a test'", exactly("NUMBER", "TEXT"), func(ctx context.Context, args []string) error {
			_, path, err := c.pr(ctx, args[0])
			if err != nil {
				return err
			}
			text := args[1]
			if text == "-" {
				data, err := io.ReadAll(io.LimitReader(c.Stdin, 1<<20))
				if err != nil {
					return err
				}
				text = string(data)
			}
			var raw doc[struct{}]
			if err := c.send(ctx, http.MethodPost, path+"/threads", map[string]any{"comments": []map[string]string{{"content": text}}}, &raw); err != nil {
				return err
			}
			return c.done(raw.Raw, "comment added to !%s", args[0])
		}),
		c.prComplete(),
		command("abandon NUMBER", "Closes a pull request without merging.", "penstock pr abandon 7", exactly("NUMBER"), func(ctx context.Context, args []string) error {
			_, path, err := c.pr(ctx, args[0])
			if err != nil {
				return err
			}
			var d doc[prRow]
			if err := c.send(ctx, http.MethodPatch, path, map[string]string{"status": "abandoned"}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "!%d abandoned", d.V.PullRequestID)
		}))
}

func (c *cli) prList() *cobra.Command {
	var state, repo string
	var limit int
	cmd := command("list", "Lists the pull requests of a project.", "penstock pr list\npenstock pr list --state completed --repo storefront", noArgs, func(ctx context.Context, _ []string) error {
		q := url.Values{"searchCriteria.status": {state}, "$top": {strconv.Itoa(limit)}}
		if repo != "" {
			q.Set("searchCriteria.repositoryId", repo)
		}
		list, err := all[prRow](ctx, c, "/_apis/git/pullRequests?"+q.Encode())
		if err != nil {
			return err
		}
		return printList(c, list, table[prRow]{id: func(p prRow) string { return strconv.Itoa(p.PullRequestID) }, empty: "penstock pr create --title TEXT", columns: []column[prRow]{
			{head: "PR", text: func(p prRow) string { return "!" + strconv.Itoa(p.PullRequestID) }}, {head: "TITLE", text: func(p prRow) string { return p.Title }},
			{head: "REPO", text: func(p prRow) string { return p.Repository.Name }}, {head: "FROM", text: func(p prRow) string { return short(p.SourceRefName) }},
			{head: "INTO", text: func(p prRow) string { return short(p.TargetRefName) }}, {head: "BY", text: func(p prRow) string { return p.CreatedBy.DisplayName }},
			{head: "STATE", text: func(p prRow) string { return p.Status }}, {head: "AGE", text: func(p prRow) string { return c.age(p.CreationDate) }},
			{head: "VOTES", wide: true, text: prRow.votes}}})
	})
	cmd.Flags().StringVar(&state, "state", "active", "active, completed, abandoned or all")
	cmd.Flags().StringVar(&repo, "repo", "", "of one repository")
	cmd.Flags().IntVar(&limit, "limit", 30, "at most so many")
	return cmd
}

func (c *cli) prShow() *cobra.Command {
	return command("show NUMBER", "Shows a pull request.", "penstock pr show 7", exactly("NUMBER"), func(ctx context.Context, args []string) error {
		d, _, err := c.pr(ctx, args[0])
		if err != nil {
			return err
		}
		p := d.V
		return printOne(c, d, strconv.Itoa(p.PullRequestID), func() string {
			return fmt.Sprintf("!%d %s\n", p.PullRequestID, printable(p.Title)) + pairs("state", p.Status, "by", p.CreatedBy.DisplayName+", "+c.age(p.CreationDate)+" ago",
				"merge", short(p.SourceRefName)+" into "+short(p.TargetRefName)+" of "+p.Repository.Name+": "+p.MergeStatus, "conflicts", p.MergeFailureMessage,
				"votes", p.votes(), "text", p.Description)
		})
	})
}

func (c *cli) prCreate() *cobra.Command {
	var title, description, source, target, repo string
	cmd := command("create", "Opens a pull request.", "penstock pr create --title 'Prices in euro'\npenstock pr create --repo storefront --source fix --target main --title Fix", noArgs,
		func(ctx context.Context, _ []string) error {
			if source == "" {
				source = c.git(ctx, "branch", "--show-current")
			}
			if repo == "" {
				_, after, _ := strings.Cut(c.git(ctx, "remote", "get-url", "origin"), "/_git/")
				repo, _ = url.PathUnescape(after)
			}
			if title == "" {
				title = c.git(ctx, "log", "-1", "--format=%s")
			}
			if source == "" || repo == "" || title == "" {
				return usage("which branch of which repository?").Want("--repo, --source and --title, outside of a checkout")
			}
			in := map[string]string{"title": title, "description": description, "sourceRefName": source, "targetRefName": target}
			var d doc[prRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/git/repositories/"+url.PathEscape(repo)+"/pullRequests", in, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "!%d %s into %s; its checks: penstock pr checks %d", d.V.PullRequestID, short(d.V.SourceRefName), short(d.V.TargetRefName), d.V.PullRequestID)
		})
	cmd.Flags().StringVar(&title, "title", "", "title (default: the last commit's)")
	cmd.Flags().StringVar(&description, "description", "", "what and why")
	cmd.Flags().StringVar(&source, "source", "", "branch to merge (default: the current one)")
	cmd.Flags().StringVar(&target, "target", "", "branch to merge into (default: the repository's)")
	cmd.Flags().StringVar(&repo, "repo", "", "repository (default: that of the checkout)")
	return cmd
}

// git asks the checkout; "" where there is none.
func (c *cli) git(ctx context.Context, args ...string) string {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = c.Dir
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (c *cli) prVote() *cobra.Command {
	var approve, suggestions, wait, reject, reset bool
	cmd := command("vote NUMBER", "Casts your vote.", "penstock pr vote 7 --approve\npenstock pr vote 7 --wait", exactly("NUMBER"), func(ctx context.Context, args []string) error {
		vote, given := 0, 0
		for value, flag := range map[int]bool{10: approve, 5: suggestions, -5: wait, -10: reject, 0: reset} {
			if flag {
				vote, given = value, given+1
			}
		}
		if given != 1 {
			return usage("one vote, please").Want("--approve, --approve-with-suggestions, --wait, --reject or --reset")
		}
		_, path, err := c.pr(ctx, args[0])
		if err != nil {
			return err
		}
		var d doc[struct{ Vote int }]
		if err := c.send(ctx, http.MethodPut, path+"/reviewers/me", map[string]int{"vote": vote}, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "!%s: %s", strings.TrimPrefix(args[0], "!"), voteWords[d.V.Vote])
	})
	cmd.Flags().BoolVar(&approve, "approve", false, "approve")
	cmd.Flags().BoolVar(&suggestions, "approve-with-suggestions", false, "approve, with suggestions")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the author")
	cmd.Flags().BoolVar(&reject, "reject", false, "reject")
	cmd.Flags().BoolVar(&reset, "reset", false, "take the vote back")
	return cmd
}

type evaluationRow struct {
	Status, Reason string
	Configuration  struct {
		IsBlocking bool
		Type       struct{ DisplayName string }
		Settings   struct{ Pipeline, DisplayName string }
	}
	Context struct{ BuildID string }
}

func (c *cli) prChecks(ctx context.Context, args []string) error {
	d, _, err := c.pr(ctx, args[0])
	if err != nil {
		return err
	}
	list, err := all[evaluationRow](ctx, c, fmt.Sprintf("/_apis/policy/evaluations?artifactId=vstfs:///CodeReview/CodeReviewId/x/%d", d.V.PullRequestID))
	if err != nil {
		return err
	}
	blocked := d.V.MergeStatus == "conflicts"
	for _, e := range list {
		blocked = blocked || e.V.Status != "approved" && e.V.Configuration.IsBlocking
	}
	err = printList(c, list, table[evaluationRow]{id: func(e evaluationRow) string { return e.Configuration.Type.DisplayName }, empty: "No policy holds for that branch: penstock policy create", columns: []column[evaluationRow]{
		{head: "", text: func(e evaluationRow) string {
			return map[string]string{"approved": c.mark("ok"), "rejected": c.mark("FAIL"), "running": c.mark("run")}[e.Status]
		}},
		{head: "POLICY", text: func(e evaluationRow) string {
			return strings.TrimSpace(e.Configuration.Type.DisplayName + " " + e.Configuration.Settings.Pipeline)
		}},
		{head: "STATUS", text: func(e evaluationRow) string { return e.Status }},
		{head: "REQUIRED", text: func(e evaluationRow) string {
			return map[bool]string{true: "yes", false: "no"}[e.Configuration.IsBlocking]
		}},
		{head: "WHY", text: func(e evaluationRow) string { return e.Reason }},
		{head: "RUN", text: func(e evaluationRow) string { return e.Context.BuildID }}}})
	if err == nil && d.V.MergeStatus == "conflicts" {
		c.say("The branches conflict: %s", printable(d.V.MergeFailureMessage))
	}
	if err == nil && blocked {
		err = exitCode(1)
	}
	return err
}

func (c *cli) prComplete() *cobra.Command {
	var squash bool
	cmd := command("complete NUMBER", "Merges a pull request whose policies are satisfied.", "penstock pr complete 7\npenstock pr complete 7 --squash", exactly("NUMBER"), func(ctx context.Context, args []string) error {
		d, path, err := c.pr(ctx, args[0])
		if err != nil {
			return err
		}
		in := map[string]any{"status": "completed", "lastMergeSourceCommit": map[string]string{"commitId": d.V.LastMergeSourceCommit.CommitID},
			"completionOptions": map[string]any{"squashMerge": squash}}
		if err := c.send(ctx, http.MethodPatch, path, in, &d); err != nil {
			return err
		}
		return c.done(d.Raw, "!%d merged into %s as %s", d.V.PullRequestID, short(d.V.TargetRefName), abbreviated(d.V.LastMergeCommit.CommitID))
	})
	cmd.Flags().BoolVar(&squash, "squash", false, "as one commit")
	return cmd
}

type policyRow struct {
	ID                    int
	IsEnabled, IsBlocking bool
	Type                  struct{ DisplayName string }
	Settings              struct {
		MinimumApproverCount int
		Pipeline             string
		Scope                []struct{ RepositoryID, RefName string }
	}
}

func (c *cli) policyCommand() *cobra.Command {
	return noun("policy", "Branch policies: what a pull request must satisfy.", "penstock policy list\npenstock policy create reviewers --branch main --minimum 1",
		command("list", "Lists the policies of a project.", "penstock policy list", noArgs, func(ctx context.Context, _ []string) error {
			list, err := all[policyRow](ctx, c, "/_apis/policy/configurations")
			if err != nil {
				return err
			}
			return printList(c, list, table[policyRow]{id: func(p policyRow) string { return strconv.Itoa(p.ID) }, empty: "penstock policy create reviewers --branch main", columns: []column[policyRow]{
				{head: "ID", text: func(p policyRow) string { return strconv.Itoa(p.ID) }}, {head: "TYPE", text: func(p policyRow) string { return p.Type.DisplayName }},
				{head: "BRANCH", text: func(p policyRow) string {
					if len(p.Settings.Scope) == 0 {
						return ""
					}
					return short(p.Settings.Scope[0].RefName)
				}},
				{head: "ASKS FOR", text: func(p policyRow) string {
					if p.Settings.Pipeline != "" {
						return p.Settings.Pipeline
					}
					return strconv.Itoa(p.Settings.MinimumApproverCount) + " reviewers"
				}},
				{head: "REQUIRED", text: func(p policyRow) string {
					return map[bool]string{true: "yes", false: "no"}[p.IsBlocking && p.IsEnabled]
				}}}})
		}),
		c.policyCreate(),
		command("delete ID", "Removes a policy.", "penstock policy delete 3", exactly("ID"), func(ctx context.Context, args []string) error {
			if err := c.sure("This takes policy "+args[0]+" off its branch", args[0]); err != nil {
				return err
			}
			if err := c.send(ctx, http.MethodDelete, "/_apis/policy/configurations/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return c.done(map[string]string{"policy": args[0]}, "policy %s removed", args[0])
		}))
}

func (c *cli) policyCreate() *cobra.Command {
	var branch, repo, pipeline string
	var minimum int
	var reset, optional bool
	cmd := command("create TYPE", "Adds a policy: reviewers or build-validation.",
		"penstock policy create reviewers --branch main --minimum 2\npenstock policy create build-validation --branch main --pipeline storefront-pr", exactly("TYPE"), func(ctx context.Context, args []string) error {
			set := map[string]any{}
			kind := ""
			switch args[0] {
			case "reviewers", "minimumReviewers":
				kind, set["minimumApproverCount"], set["resetOnSourcePush"] = "minimumReviewers", minimum, reset
			case "build-validation", "buildValidation":
				if pipeline == "" {
					return usage("build-validation needs --pipeline NAME")
				}
				kind, set["pipeline"] = "buildValidation", pipeline
			default:
				return usage("there is no policy %s", args[0]).Want("reviewers or build-validation")
			}
			scope := map[string]any{"refName": branch, "matchKind": "Exact"}
			if repo != "" {
				scope["repositoryId"] = repo
			}
			set["scope"] = []any{scope}
			var d doc[policyRow]
			if err := c.send(ctx, http.MethodPost, "/_apis/policy/configurations", map[string]any{"type": map[string]string{"id": kind}, "isEnabled": true, "isBlocking": !optional, "settings": set}, &d); err != nil {
				return err
			}
			return c.done(d.Raw, "policy %d on %s", d.V.ID, branch)
		})
	cmd.Flags().StringVar(&branch, "branch", "main", "the branch it protects")
	cmd.Flags().StringVar(&repo, "repo", "", "of one repository (default: of every one)")
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "build-validation: the pipeline that must succeed")
	cmd.Flags().IntVar(&minimum, "minimum", 1, "reviewers: how many must approve")
	cmd.Flags().BoolVar(&reset, "reset-on-push", false, "reviewers: a push takes the votes back")
	cmd.Flags().BoolVar(&optional, "optional", false, "show it, but do not insist")
	return cmd
}
