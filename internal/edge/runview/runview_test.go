package runview

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestView(t *testing.T) {
	events := []run.Event{
		{Type: "log", Stage: "verify", Job: "build", Step: "Unit tests", Attempt: 1, Line: "ok"},
		{Type: "step", Stage: "verify", Job: "build", Step: "Unit tests", Attempt: 1, Result: run.Succeeded, Took: 1200 * time.Millisecond, Issues: &run.Issues{Warnings: 2}},
		{Type: "step", Stage: "verify", Job: "build", Step: "Later", Attempt: 1, Result: run.Skipped, Issues: &run.Issues{}},
		{Type: "job", Stage: "verify", Job: "build", Attempt: 1, Result: run.Failed, Cause: "the agent is lost"},
		{Type: "stage", Stage: "__default", Attempt: 1, Result: run.Failed},
		{Type: "log", Stage: "__default", Job: "Job", Step: "Bash", Attempt: 1, Line: "alone"},
		{Type: "run", Result: run.Failed},
	}
	show := func(v *View) string {
		var out bytes.Buffer
		v.Out, v.Mark = &out, func(r run.Result) string { return "<" + string(r) + ">" }
		for _, e := range events {
			v.Event(e)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := `verify/build/Unit tests | ok
<succeeded> verify/build/Unit tests: succeeded (1.2 s)
<skipped> verify/build/Later: skipped
<failed> verify/build: failed: the agent is lost
Bash | alone
<failed> run: failed
`
	if got := show(&View{}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := show(&View{Quiet: true}); strings.Contains(got, "|") || !strings.Contains(got, "run: failed") {
		t.Errorf("quiet:\n%s", got)
	}
	folder := t.TempDir()
	got := show(&View{JSON: true, Folder: folder})
	first := `{"type":"log","stage":"verify","job":"build","step":"Unit tests","attempt":1,"line":"ok"}` + "\n" +
		`{"type":"step","stage":"verify","job":"build","step":"Unit tests","attempt":1,"result":"succeeded","issues":{"errors":0,"warnings":2}}` + "\n"
	if !strings.HasPrefix(got, first) {
		t.Errorf("got\n%swant\n%s", got, first)
	}
	for name, want := range map[string]string{"events.jsonl": got, "logs/verify/build/01-unit-tests.log": "ok\n", "logs/__default/job/01-bash.log": "alone\n"} {
		if data, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(data) != want {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
	}
}

// What comes before a script's own output is in the log, and not in the way.
func TestScriptsBeginWithTheirOutput(t *testing.T) {
	const start = "========================== Starting Command Output ==========================="
	call := "[command]/usr/bin/bash --noprofile --norc /w/_temp/1.sh"
	say := func(order int, lines ...string) (all []run.Event) {
		for _, line := range lines {
			all = append(all, run.Event{Type: "log", Job: "j", Step: "CmdLine", Order: order, Line: line})
		}
		return append(all, run.Event{Type: "step", Job: "j", Step: "CmdLine", Order: order, Result: run.Succeeded, Issues: &run.Issues{}})
	}
	long := append([]string{"Generating script."}, slices.Repeat([]string{"x"}, maxHeld)...)
	for name, k := range map[string]struct{ lines, want []string }{
		"inline":           {[]string{"Generating script.", "Script contents:", "echo hi", start, call, "hi"}, []string{"hi"}},
		"of a file":        {[]string{start, call, "hi", "Generating script."}, []string{"hi", "Generating script."}},
		"without its call": {[]string{"Generating script.", start, "hi", call}, []string{"hi", call}},
		"ended before":     {[]string{"Generating script.", "##[error]no bash"}, []string{"Generating script.", "##[error]no bash"}},
		"other tasks":      {[]string{"found 1 files", start, call}, []string{"found 1 files", start, call}},
		"something else":   {long, long},
		"with its ends":    {[]string{startsStep + "CmdLine", headerFrame, "Task         : CmdLine", headerFrame, "Generating script.", start, call, "hi", "##[section]Finishing: CmdLine"}, []string{"hi"}},
		"in a container":   {[]string{"##[section]Initialize containers", startsStep + "CmdLine", headerFrame, "Version      : 2", headerFrame, start, call, "hi"}, []string{"##[section]Initialize containers", "hi"}},
		"a table":          {[]string{startsStep + "CmdLine", "x", headerFrame, "y"}, []string{"x", headerFrame, "y"}},
		"never began":      {[]string{startsStep + "CmdLine", headerFrame, headerFrame, "Generating script.", "##[error]no bash", "##[section]Finishing: CmdLine"}, []string{"Generating script.", "##[error]no bash"}},
		"skipped":          {[]string{run.SkipLine, "Evaluating: false", "Result: False"}, nil},
		"tried again":      {[]string{"Generating script.", start, call, "hi", "##[warning]attempt 1 of 2" + run.RetryWords + "1s", "Generating script.", "echo hi", start, call, "hi"}, []string{"hi", "##[warning]attempt 1 of 2" + run.RetryWords + "1s", "hi"}},
		"debugged":         {[]string{"##[debug]Result: True", "Generating script.", start, call, "hi"}, []string{"##[debug]Result: True", "hi"}},
	} {
		var out bytes.Buffer
		folder := t.TempDir()
		v := &View{Out: &out, Mark: func(run.Result) string { return "ok" }, Folder: folder}
		for _, e := range append(say(1, k.lines...), say(2, k.lines...)...) {
			v.Event(e)
		}
		want := ""
		for range 2 {
			for _, line := range k.want {
				want += "j/CmdLine | " + line + "\n"
			}
			want += "ok j/CmdLine: succeeded (0.0 s)\n"
		}
		if out.String() != want {
			t.Errorf("%s:\n%swant\n%s", name, out.String(), want)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"01-cmdline.log", "02-cmdline.log"} { // steps of one name
			if data, err := os.ReadFile(filepath.Join(folder, "logs", "j", file)); err != nil || string(data) != strings.Join(k.lines, "\n")+"\n" {
				t.Errorf("%s: %s: %v\n%s", name, file, err, data)
			}
		}
		out.Reset()
		v = &View{Out: &out, Mark: v.Mark, All: true}
		for _, e := range say(1, k.lines...) {
			v.Event(e)
		}
		if got := strings.Count(out.String(), " | "); got != len(k.lines) {
			t.Errorf("%s: of %d lines %d are shown", name, len(k.lines), got)
		}
	}
}

func TestScreen(t *testing.T) {
	d := &run.Detail{Run: &run.Run{State: run.InProgress},
		Stages: []*run.Stage{{Name: "verify", State: run.InProgress, Started: began}, {Name: "ship", State: run.Pending}},
		Phases: []*run.Phase{{Stage: "verify", Name: "lint"}, {Stage: "verify", Name: "build"}, {Stage: "ship", Name: "go", State: run.Pending}},
		Jobs: []*run.Job{
			{Stage: "verify", Phase: "lint", Name: "lint", State: run.Completed, Result: run.Succeeded, Started: began, Finished: began.Add(1900 * time.Millisecond), Steps: []run.Step{{State: run.Completed}}},
			{Stage: "verify", Phase: "build", Name: "build", DisplayName: "Build and test", State: run.InProgress, Started: began, Steps: []run.Step{
				{Order: 0, DisplayName: "checkout", State: run.Completed, Result: run.Succeeded, Started: began, Finished: began},
				{Order: 1, DisplayName: "Make", State: run.InProgress, Started: began},
				{Order: 2, DisplayName: "Test", State: run.Pending}, {Order: 3, DisplayName: "Publish", State: run.Pending}}}}}
	var out bytes.Buffer
	rows := 40
	s := &Screen{Out: &out, Plain: true, Now: func() time.Time { return began.Add(67 * time.Second) }, Size: func() (int, int) { return 30, rows }}
	for _, line := range []string{"one", "two", "\x1b[31mthree\x1b[2J\x07", "four is rather long for it"} {
		s.Event(run.Event{Type: "log", Stage: "verify", Job: "build", Step: "Make", Order: 1, Line: line})
	}
	s.Look(d)
	s.Look(d) // nothing new, nothing painted
	want := `● verify  1:07
  ✓ lint  1.9 s
  ● build  Build and test  1:…
    ✓ checkout  0.0 s
    ● Make  1:07
        two
        three
        four is rather long f…
    ○ Test · Publish
○ ship
  ○ go
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	out.Reset()
	rows = 4
	d.Jobs[1].State, d.Jobs[1].Result = run.Completed, run.Canceled
	s.Look(d)
	if got, want := out.String(), "\x1b[11A\x1b[J  ↷ build  Build and test\n○ ship\n  ○ go\n"; !strings.HasSuffix(got, "○ ship\n  ○ go\n") || !strings.HasPrefix(got, "\x1b[11A\x1b[J") || strings.Count(got, "\n") != 3 {
		t.Errorf("got\n%qwant something like\n%q", got, want)
	}
}

// Under a step that failed stands what its program said, and not what its log says
// around that, nor what another step of the same name said.
func TestScreenShowsWhatTheProgramSaid(t *testing.T) {
	step := func(order int) run.Step {
		return run.Step{Order: order, DisplayName: "Bash", State: run.Completed, Result: run.Failed, Started: began, Finished: began}
	}
	d := &run.Detail{Run: &run.Run{State: run.InProgress}, Stages: []*run.Stage{{Name: pipeline.DefaultStage}},
		Phases: []*run.Phase{{Stage: pipeline.DefaultStage, Name: "unit"}},
		Jobs: []*run.Job{{Stage: pipeline.DefaultStage, Phase: "unit", Name: "go126", DisplayName: "unit go126", State: run.Completed, Result: run.Failed, Started: began, Finished: began,
			Steps: []run.Step{step(1), step(2)}}}}
	var out bytes.Buffer
	s := &Screen{Out: &out, Plain: true, Now: func() time.Time { return began }, Size: func() (int, int) { return 80, 40 }}
	for order, text := range []string{"", "first", ""} {
		if order == 0 {
			continue
		}
		for _, line := range []string{startsStep + "Bash", headerFrame, "Task         : Bash", headerFrame, "Generating script.", "echo " + text} {
			s.Event(run.Event{Type: "log", Stage: pipeline.DefaultStage, Job: "unit go126", Step: "Bash", Order: order, Line: line})
		}
		if text != "" {
			for _, line := range []string{"========================== Starting Command Output ===========================", "[command]bash x.sh", text, "##[section]Finishing: Bash"} {
				s.Event(run.Event{Type: "log", Stage: pipeline.DefaultStage, Job: "unit go126", Step: "Bash", Order: order, Line: line})
			}
		}
		s.Event(run.Event{Type: "step", Stage: pipeline.DefaultStage, Job: "unit go126", Step: "Bash", Order: order, Result: run.Failed})
	}
	s.Look(d)
	want := `✗ unit go126  0.0 s
  ✗ Bash  0.0 s
      first
  ✗ Bash  0.0 s
      Generating script.
      echo${" "}
`
	if want = strings.ReplaceAll(want, `${" "}`, " "); out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
