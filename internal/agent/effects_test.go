package agent

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/run"
)

// say is a step that prints lines.
func say(lines ...string) string { return "cat <<'END'\n" + strings.Join(lines, "\n") + "\nEND\n" }

// The library of the service's tasks says the reason of a failure twice.
func TestAReasonIsSaidOnce(t *testing.T) {
	_, m := runSteps(t, context.Background(), nil, bash(say("##vso[task.issue type=error;]no%0Akey", "##vso[task.complete result=Failed;]no%0Akey")),
		bash(say("##vso[task.complete result=Failed;]only here")))
	for i, want := range []string{"no\nkey", "only here"} {
		if s := m.steps[i+1]; s.Result != run.Failed && s.Result != run.Skipped || i == 0 && !cmp.Equal(s.Errors, []string{want}) {
			t.Errorf("step %d: %s %q", i+1, s.Result, s.Errors)
		}
	}
}

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
		{"##vso[task.logissue type=Error;sourcepath=a.cs;linenumber=3]no", run.Succeeded, 1, 0, "##[error]a.cs(3,): Error : no", "vso"},
		{"##vso[task.logissue type=other]x", run.Failed, 1, 0, "", ""},
		{"##vso[task.logissue]no type", run.Succeeded, 0, 1, "has no type", "##[error]"},
		{"##vso[task.logissue type=]no type", run.Succeeded, 0, 1, "has no type", "##[error]"},
		{"##vso[task.complete result=SucceededWithIssues]", run.SucceededWithIssues, 0, 0, "", "vso"},
		{"##vso[task.complete result=Skipped]because", run.Skipped, 0, 0, "because", "vso"},
		{"##vso[task.complete result=Nonsense]", run.Failed, 1, 0, "", ""},
		{"##vso[task.complete result=succeeded]", run.Failed, 1, 0, "in this case", ""},
		{"##vso[task.complete]", run.Failed, 1, 0, "", ""},
		{"##vso[task.setvariable variable=System.Debug]true", run.Failed, 1, 0, "read-only", ""},
		{"##vso[task.setvariable variable=agent.source.git.lfs]true", run.Failed, 1, 0, "read-only", ""},
		{"##vso[task.setvariable]x", run.Failed, 1, 0, "needs the property variable", ""},
		{"##vso[task.setvariable variable=s;issecret=true]two%0Alines", run.Failed, 1, 0, "must not have several", ""},
		{"##vso[task.setvariable variable=o;isoutput=true]x", run.Succeeded, 0, 0, "", ""},
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
		{"##vso[build.addbuildtag]good", run.Succeeded, 0, 0, "", "vso"},
		{"##vso[task.uploadsummary]/", run.Failed, 1, 0, "not a folder", ""},
		{"##vso[task.uploadfile]/", run.Failed, 1, 0, "not a folder", ""},
		{"##vso[task.addattachment type=a;name=b]/", run.Failed, 1, 0, "not a folder", ""},
		{"##vso[task.addattachment type=a/b;name=b]/dev/null", run.Failed, 1, 0, "file names", ""},
		{"##vso[task.addattachment type=a;name=..]/dev/null", run.Failed, 1, 0, "file names", ""},
		{"##vso[artifact.associate artifactname=a]nowhere", run.Failed, 1, 0, "cannot be told", ""},
		{"##vso[artifact.associate artifactname=a;type=x]", run.Failed, 1, 0, "needs a location", ""},
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
	if len(rep.Outputs) != 2 || rep.Outputs["set.out"] != "d" || rep.Outputs["set.hidden"] != "hidden-value" || len(rep.Secret) != 1 || rep.Secret[0] != "set.hidden" {
		t.Errorf("outputs %v, secret %v", rep.Outputs, rep.Secret)
	}
}

func TestReadOnlyVariablesStay(t *testing.T) {
	rep, m := runSteps(t, context.Background(), []run.Variable{{Name: "fixed", Value: "one", ReadOnly: true}},
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

func TestReadOnlyTaskVariablesStay(t *testing.T) {
	s := bash(say("##vso[task.settaskvariable variable=mine;isreadonly=true]x", "##vso[task.settaskvariable variable=Mine]y"))
	rep, m := runSteps(t, context.Background(), nil, s)
	if rep.Result != run.Failed || len(m.steps[1].Errors) != 1 || !strings.Contains(m.steps[1].Errors[0], "task variable Mine is read-only") {
		t.Errorf("%s %q", rep.Result, m.steps[1].Errors)
	}
}

// What a variable refers to is looked up before every step, also where the
// reference, or what it refers to, was set by one.
func TestReferencesAreResolvedBeforeEachStep(t *testing.T) {
	show := "echo \"whole [$WHOLE] later [$LATER] set [$SET] hides [$HIDES]\""
	conditional := bash("echo held")
	conditional.Condition = "eq(variables['whole'], 'is two')"
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "part", Value: "one"}, {Name: "whole", Value: "is $(part)"}, {Name: "later", Value: "$(made)"}, {Name: "key", Value: "hunter-22", Secret: true}},
		bash(show), bash("cat <<'E' | sed 's/@/$/'\n##vso[task.setvariable variable=part]two\n##vso[task.setvariable variable=made]by a step\n##vso[task.setvariable variable=set]to @(part)\n##vso[task.setvariable variable=hides]a @(key)\nE\n"),
		bash(show), conditional, bash("echo \"[$(hides)] [$(set)]\""))
	for i, want := range map[int]string{1: "whole [is one] later [$(made)] set [] hides []\n", 3: "whole [is two] later [by a step] set [to two] hides []\n", 5: "[***] [to two]\n"} {
		if !strings.Contains(m.logs[i], " "+want) {
			t.Errorf("step %d, want %s\n%s", i, want, m.logs[i])
		}
	}
	if m.steps[4].Result != run.Succeeded {
		t.Errorf("the condition does not see it: %s", m.steps[4].Result)
	}
}

// Debug lines are those of a job that began with System.Debug.
func TestProcessedCommandsShowInDebug(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "system.debug", Value: "True"}},
		bash(say("##vso[task.setvariable variable=a]x%3By", "##vso[task.setvariable variable=b;issecret=true]hunter-22", "##vso[nobody.nothing]x", "##vso[task.debug]seen")))
	_, log, _ := strings.Cut(m.logs[1], "Starting Command Output")
	if !strings.Contains(log, "##[debug]Processed: ##vso[task.setvariable variable=a]x;y\n") || !strings.Contains(log, "##[debug]seen\n") || strings.Count(log, "]Processed: ") != 1 {
		t.Errorf("%s", log)
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

func TestWhatCommandsLeaveWithTheRun(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "key", Value: "s3cr3t-key", Secret: true}},
		bash(`cd "$AGENT_TEMPDIRECTORY"; printf '# Title\n- $(key)\n' > s.md; printf 'raw $(key)' > f.bin
			echo "##vso[task.uploadsummary]$PWD/s.md"; echo "##vso[task.addattachment type=Distributedtask.Core.Summary;name=mine.md]$PWD/s.md"
			echo "##vso[task.addattachment type=report;name=r.bin]$PWD/f.bin"; echo "##vso[task.uploadfile]$PWD/f.bin"; echo "##vso[build.addbuildtag] good $(key) "
			echo "##vso[artifact.associate artifactname=drop;type=filepath]\\\\share\\drop"; echo "##vso[artifact.associate artifactname=page]https://example.test/$(key)"`))
	want := []string{"DistributedTask.Core.Summary s.md of step 1: # Title\n- ***\n", "DistributedTask.Core.Summary mine.md of step 1: # Title\n- ***\n",
		"report r.bin of step 1: raw s3cr3t-key", "DistributedTask.Core.FileAttachment f.bin of step 1: raw s3cr3t-key", "tag good ***",
		`link drop filepath \\share\drop`, "link page url https://example.test/***"}
	if diff := cmp.Diff(want, m.kept); diff != "" || m.steps[1].Result != run.Succeeded {
		t.Errorf("%s\n%s", diff, m.logs[1])
	}
}

// A summary is masked whatever UTF it was written in, and where it is cut.
func TestSummaryHoldsNoSecret(t *testing.T) {
	const secret = "s3cr3t-key"
	wide := func(s string, mark bool, order binary.AppendByteOrder) string {
		var out []byte
		if mark {
			out = order.AppendUint16(out, 0xFEFF)
		}
		for _, u := range utf16.Encode([]rune(s)) {
			out = order.AppendUint16(out, u)
		}
		return string(out)
	}
	text := "# Title\n" + secret + " and " + base64.StdEncoding.EncodeToString([]byte(secret)) + "\n"
	for name, content := range map[string]string{
		"utf-8": text, "with a mark": "\uFEFF" + text, "utf-16 little": wide(text, true, binary.LittleEndian), "utf-16 big": wide(text, true, binary.BigEndian),
		"utf-16 without a mark": wide(text, false, binary.LittleEndian), "not utf": "\xff\xfe\xff" + text,
		"cut": strings.Repeat("x", attachment.MaxSummary-20) + "\n" + strings.Repeat("y", 14) + secret + "\n",
	} {
		file := filepath.Join(t.TempDir(), "s.md")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, m := runSteps(t, context.Background(), []run.Variable{{Name: "key", Value: secret, Secret: true}}, bash(say("##vso[task.uploadsummary]"+file)))
		if len(m.kept) != 1 {
			t.Fatalf("%s: %v\n%s", name, m.kept, m.logs[1])
		}
		kept := m.kept[0]
		if strings.Contains(kept, "s3cr") || strings.Contains(kept, "czNjcjN0") || len(kept) > attachment.MaxSummary+100 {
			t.Errorf("%s: %q", name, kept[max(0, len(kept)-200):])
		}
		if name == "cut" && (!strings.HasSuffix(kept, "cut here\n") || len(m.steps[1].Warnings) != 1) {
			t.Errorf("%q %v", kept[len(kept)-40:], m.steps[1].Warnings)
		}
		if strings.HasPrefix(name, "utf") && !strings.Contains(kept, "# Title\n*** and ***\n") {
			t.Errorf("%s: %q", name, kept)
		}
	}
}

func TestAttachmentsAreBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(attachment.MaxSize+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	_, m := runSteps(t, context.Background(), nil, bash(say("##vso[task.uploadfile]"+file)))
	if len(m.kept) != 0 || m.steps[1].Result != run.Failed || !strings.Contains(m.logs[1], "too large") {
		t.Errorf("%v\n%s", m.kept, m.logs[1])
	}
}

func TestRunNumber(t *testing.T) {
	rep, m := runSteps(t, context.Background(), nil, bash(say("##vso[build.updatebuildnumber] 1.2.3 ")), bash("echo $BUILD_BUILDNUMBER"))
	if rep.Number != "1.2.3" || !strings.Contains(m.logs[2], " 1.2.3\n") {
		t.Errorf("%q\n%s", rep.Number, m.logs[2])
	}
}
