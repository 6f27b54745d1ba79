package command

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	type props = map[string]string
	for line, want := range map[string]*Command{
		"plain text":                               nil,
		"##vso[broken":                             nil,
		"##vso[nodot]x":                            nil,
		"##vso[a.b.c]x":                            nil,
		"## vso[task.debug]x":                      nil,
		"##VSO[task.debug]x":                       nil,
		"##vso[ task.debug]x":                      nil, // the name ends at the first space
		"##vso[.task..debug]x":                     {"task", "debug", props{}, "x"},
		"##vso[task.complete result=Failed;]":      {"task", "complete", props{"result": "Failed"}, ""},
		"##vso[task.complete result==Failed;done]": {"task", "complete", props{"result": "Failed"}, ""},
		"##vso[task.setvariable variable=a;isSecret=true]v;1]":  {"task", "setvariable", props{"variable": "a", "issecret": "true"}, "v;1]"},
		"##vso[task.setvariable variable=x%3By%5D]100%AZP25%0A": {"task", "setvariable", props{"variable": "x;y]"}, "100%\n"},
		"##vso[task.setvariable variable=x]%25 %0a %3B%5D":      {"task", "setvariable", props{"variable": "x"}, "%25 %0a ;]"},
		"##vso[task.setvariable variable=x]%AZP250A":            {"task", "setvariable", props{"variable": "x"}, "%0A"},
		"##vso[task.logissue type=a=b;empty=;=none;;c=d]":       {"task", "logissue", props{"type": "a=b", "c": "d"}, ""},
		"##vso[task.logissue type=x]y":                          {"task", "logissue", props{"type": "x"}, "y"},
		"progress ##vso[Task.SetProgress VALUE=5;]half":         {"task", "setprogress", props{"value": "5"}, "half"},
		"##vso[task.debug]one ##vso[task.debug]two":             {"task", "debug", props{}, "one ##vso[task.debug]two"},
	} {
		got, ok := Parse(line, true)
		if ok != (want != nil) {
			t.Errorf("%q: command %v, want %v", line, ok, want != nil)
			continue
		}
		if want != nil && cmp.Diff(*want, got) != "" {
			t.Errorf("%q: %s", line, cmp.Diff(*want, got))
		}
	}
	if c, _ := Parse("##vso[task.debug]%AZP25%3B", false); c.Data != "%AZP25;" {
		t.Errorf("without percents: %q", c.Data)
	}
}

// What is written is read as the same.
func FuzzParse(f *testing.F) {
	f.Add("##vso[task.setvariable variable=a;isOutput=true]b")
	f.Add("##vso[task.logissue type=error;sourcepath=a%3Bb]%AZP25%0A]")
	f.Fuzz(func(t *testing.T, line string) {
		c, ok := Parse(line, true)
		if !ok {
			return
		}
		again, ok := Parse(c.String(), true)
		if !ok || cmp.Diff(c, again) != "" {
			t.Fatalf("%q gives %q: %s", line, c.String(), cmp.Diff(c, again))
		}
	})
}
