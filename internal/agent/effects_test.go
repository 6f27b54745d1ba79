package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/run"
)

// say is a step that prints lines.
func say(lines ...string) string { return "cat <<'END'\n" + strings.Join(lines, "\n") + "\nEND\n" }

func TestCommands(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	for _, c := range []struct {
		line                 string
		result               run.Result
		errors, warnings     int
		shows, doesNotShowIt string
	}{
		{"##vso[task.logissue type=error]broken", run.Succeeded, 1, 0, "##[error]broken", "vso"},
		{"##vso[task.issue type=WARNING]careful", run.Succeeded, 0, 1, "##[warning]careful", "vso"},
		{"##vso[task.logissue type=error;sourcepath=a.cs;linenumber=3;columnnumber=7;code=CS1]no", run.Succeeded, 1, 0, "##[error]a.cs(3,7): error CS1: no", "vso"},
		{"##vso[task.logissue type=other]x", run.Failed, 1, 0, "", ""},
		{"##vso[task.complete result=SucceededWithIssues]", run.SucceededWithIssues, 0, 0, "", "vso"},
		{"##vso[task.complete result=Skipped]because", run.Skipped, 0, 0, "because", "vso"},
		{"##vso[task.complete result=Nonsense]", run.Failed, 1, 0, "", ""},
		{"##vso[task.complete]", run.Failed, 1, 0, "", ""},
		{"##vso[task.setvariable]x", run.Failed, 1, 0, "needs the property variable", ""},
		{"##vso[task.setvariable variable=s;issecret=true]two%0Alines", run.Failed, 1, 0, "must not have several", ""},
		{"##vso[task.setvariable variable=o;isoutput=true]x", run.Succeeded, 0, 1, "no name", ""},
		{"##vso[task.nothing]x", run.Failed, 1, 0, "no command nothing", ""},
		{"##vso[nobody.nothing]x", run.Succeeded, 0, 1, "no area nobody", ""},
		{"##vso[broken", run.Succeeded, 0, 1, "##vso[broken", ""},
		{"##vso[plugininternal.updaterepositorypath alias=self]/x", run.Succeeded, 0, 1, "", ""},
		{"##vso[telemetry.publish area=a;feature=b]{}", run.Succeeded, 0, 0, "", "telemetry"},
		{"##vso[release.updatereleasename]x", run.Failed, 1, 0, "", ""},
		{"##vso[task.debug]hidden", run.Succeeded, 0, 0, "", "hidden"},
		{"##vso[task.setprogress value=250]", run.Succeeded, 0, 0, "", "vso"},
		{"##vso[task.prependpath]", run.Failed, 1, 0, "", ""},
		{"##vso[task.setendpoint id=" + id + ";field=url]x", run.Failed, 1, 0, "no service connection", ""},
		{"##vso[task.logdetail id=" + id + ";name=project;type=build;state=InProgress]", run.Succeeded, 0, 0, "project: InProgress", "vso"},
		{"##vso[task.logdetail id=1]", run.Failed, 1, 0, "GUID", ""},
		{"##vso[task.uploadsummary]/does/not/exist", run.Failed, 1, 0, "does not exist", ""},
		{"##vso[artifact.upload artifactname=a]/does/not/exist", run.Failed, 1, 0, "does not exist", ""},
		{"##vso[artifact.upload]/", run.Failed, 1, 0, "artifactname", ""},
		{"##vso[build.addbuildtag]  ", run.Failed, 1, 0, "", ""},
		{"##vso[build.addbuildtag]good", run.Succeeded, 0, 1, "", ""},
		{"##vso[build.updatebuildnumber]a/b", run.Failed, 1, 0, "run number", ""},
		{"##[group]title", run.Succeeded, 0, 0, "##[group]title", ""},
		{"##[error]only a colour", run.Succeeded, 0, 0, "##[error]only a colour", ""},
		{"text before ##vso[task.debug]x", run.Succeeded, 0, 0, "", "text before"},
	} {
		for _, redirect := range []string{"", " >&2"} {
			rep, m := runSteps(t, context.Background(), nil, bash("{ "+say(c.line)+"}"+redirect))
			s := m.steps[1]
			_, log, _ := strings.Cut(m.logs[1], "Starting Command Output") // what comes before shows the script
			if s.Result != c.result || len(s.Errors) != c.errors || len(s.Warnings) != c.warnings {
				t.Errorf("%s%s: %s (job %s), errors %q, warnings %q; want %s, %d, %d", c.line, redirect, s.Result, rep.Result, s.Errors, s.Warnings, c.result, c.errors, c.warnings)
			}
			if !strings.Contains(log, c.shows) || c.doesNotShowIt != "" && strings.Contains(log, c.doesNotShowIt) {
				t.Errorf("%s%s: the log shows\n%s", c.line, redirect, log)
			}
		}
	}
}

func TestSetVariable(t *testing.T) {
	set := bash(say("##vso[task.setvariable variable=Plain.Name]a b", "##vso[task.setvariable variable=keep.Case;preservecase=true]c",
		"##vso[task.setvariable variable=out;isoutput=true]d", "##vso[task.setvariable variable=hidden;isoutput=true;issecret=true]hidden-value",
		"##vso[task.setvariable variable=was]new-secret-value", "##vso[task.setvariable variable=percent]100%AZP25%3B", "##vso[task.setvariable variable=empty]"))
	set.Name = "set"
	read := bash(`echo "now: $PLAIN_NAME|$keep_Case|$SET_OUT|[$OUT]|[$WAS]|$PERCENT|${EMPTY-none}|"; echo "$(set.hidden) $(was)"`)
	rep, m := runSteps(t, context.Background(), []run.Variable{{Name: "was", Value: "old-secret-value", Secret: true}}, set, read)
	if !strings.Contains(m.logs[2], "now: a b|c|d|[]|[]|100%;||") {
		t.Errorf("%s", m.logs[2])
	}
	if strings.Contains(m.logs[2], "hidden-value") || strings.Contains(m.logs[2], "new-secret-value") || !strings.Contains(m.logs[2], "*** ***") {
		t.Errorf("secrets stay secrets:\n%s", m.logs[2])
	}
	if len(rep.Outputs) != 1 || rep.Outputs["set.out"] != "d" {
		t.Errorf("outputs %v", rep.Outputs)
	}
}

func TestReadOnlyVariablesCanBeEnforced(t *testing.T) {
	rep, m := runSteps(t, context.Background(), []run.Variable{{Name: "agent.readOnlyVariables", Value: "true"}, {Name: "fixed", Value: "one", ReadOnly: true}},
		bash(say("##vso[task.setvariable variable=fixed]two")), func() (s pipelineStep) { s = bash("echo $FIXED"); s.Condition = "always()"; return }())
	if rep.Result != run.Failed || !strings.Contains(m.logs[2], " one\n") {
		t.Errorf("%s\n%s", rep.Result, m.logs[2])
	}
}

func TestMultilineSecretMayBeAllowed(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "SYSTEM_UNSAFEALLOWMULTILINESECRET", Value: "true"}},
		bash(say("##vso[task.setvariable variable=s;issecret=true]first line%0Asecond line")), bash("echo 'first line'; echo second line; echo '[$(s)]'"))
	if m.steps[1].Result != run.Succeeded || strings.Contains(m.logs[2], "first line") || strings.Contains(m.logs[2], "second line") {
		t.Errorf("%v\n%s", m.steps[1].Errors, m.logs[2])
	}
}

func TestShortSecretsAreSaidOnce(t *testing.T) {
	_, m := runSteps(t, context.Background(), nil, bash(say("##vso[task.setsecret]abc", "##vso[task.setsecret]xy", "##vso[task.setvariable variable=v;issecret=true]z", "abc")))
	if len(m.steps[1].Warnings) != 1 || !strings.Contains(m.logs[1], " abc\n") {
		t.Errorf("%v", m.steps[1].Warnings)
	}
}

func TestRestrictions(t *testing.T) {
	s := bash(say("##vso[task.setvariable variable=ok1]a", "##vso[task.setvariable variable=other]b", "##vso[task.prependpath]/x", "##vso[build.updatebuildnumber]9", "##vso[task.logissue type=warning]fine"))
	s.TargetCommands, s.SettableRestricted, s.SettableVariables = "restricted", true, []string{"OK*"}
	rep, m := runSteps(t, context.Background(), nil, s, bash(`echo "[$OK1][$OTHER] $PATH"`))
	if !strings.Contains(m.logs[2], "[a][] ") || strings.Contains(m.logs[2], "/x:") || rep.Number != "" || rep.Result != run.Succeeded {
		t.Errorf("%s %q\n%s", rep.Result, rep.Number, m.logs[2])
	}
	if len(m.steps[1].Warnings) != 4 {
		t.Errorf("%q", m.steps[1].Warnings)
	}
	none := bash(say("##vso[task.setvariable variable=ok1]a"))
	none.SettableRestricted = true
	if _, m = runSteps(t, context.Background(), nil, none, bash(`echo "[$OK1]"`)); !strings.Contains(m.logs[2], "[]") {
		t.Errorf("%s", m.logs[2])
	}
}

func TestTaskVariablesArePrivate(t *testing.T) {
	script := bash(say("##vso[task.settaskvariable variable=mine]x") + `echo "here [$VSTS_TASKVARIABLE_MINE]"`)
	_, m := runSteps(t, context.Background(), nil, script, bash(`echo "there [$VSTS_TASKVARIABLE_MINE]"`))
	if !strings.Contains(m.logs[2], "there []") {
		t.Errorf("%s", m.logs[2])
	}
}

// done=true ends a program that would go on.
func TestCompleteWithDone(t *testing.T) {
	now := func(time.Duration) <-chan time.Time {
		c := make(chan time.Time)
		close(c)
		return c
	}
	m := newMemory()
	rep := RunJob(context.Background(), &run.JobMessage{PipelineID: "1", Steps: []pipelineStep{bash(say("##vso[task.complete result=SucceededWithIssues;done=true]") + "exec sleep 600")}},
		Machine{Work: t.TempDir(), After: now}, m)
	if rep.Result != run.SucceededWithIssues {
		t.Errorf("%s %v", rep.Result, m.steps[1].Errors)
	}
}

func TestSummaryIsShownWithoutSecrets(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "key", Value: "s3cr3t-key", Secret: true}},
		bash(`printf '# Title\n- $(key)\n' > "$AGENT_TEMPDIRECTORY/s.md"; echo "##vso[task.uploadsummary]$AGENT_TEMPDIRECTORY/s.md"`))
	if !strings.Contains(m.logs[1], "# Title") || !strings.Contains(m.logs[1], "- ***") || m.steps[1].Result != run.Succeeded {
		t.Errorf("%s", m.logs[1])
	}
}

func TestRunNumber(t *testing.T) {
	rep, m := runSteps(t, context.Background(), nil, bash(say("##vso[build.updatebuildnumber] 1.2.3 ")), bash("echo $BUILD_BUILDNUMBER"))
	if rep.Number != "1.2.3" || !strings.Contains(m.logs[2], " 1.2.3\n") {
		t.Errorf("%q\n%s", rep.Number, m.logs[2])
	}
}
