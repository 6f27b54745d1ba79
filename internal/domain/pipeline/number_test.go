package pipeline_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// TestFormatRunNumber has every token.
func TestFormatRunNumber(t *testing.T) {
	tokens := pipeline.NumberTokens{
		Now: time.Date(2026, 3, 4, 15, 6, 7, 80_000_000, time.FixedZone("", 2*3600)), // 13:06:07 UTC
		Lookup: lookup(map[string]string{
			"Build.SourceBranchName": "a/b", "Build.BuildId": "77", "major": "1", "v": "$(major).2", "Build.DefinitionName": "ci", "System.TeamProject": "shop", "odd": `x:"<y>`, "Own.TeamProject": "no", "cr": "a\rb",
		}),
		Rev: func(prefix string) int { return len(prefix) },
	}
	for format, want := range map[string]string{
		"": "20260304.9", "  ": "20260304.9", "1.0.$(Rev:r)": "1.0.4", "$(Date:yyyyMMdd)$(Rev:.r)": "20260304.8", "a$(Rev:r)-$(Rev:rr)": "a2-02", "$(Rev:rrr)-x": "002-x", "$(rev:R)": "0", "pr-$(Date:yyyy-MM-dd).$(Rev:rr)": "pr-2026-03-04.14",
		"$(Rev:)": "error", "$(Rev:x)": "error", "$(Rev)": "error", "$(Rev:rrrrrrrrrrr)": "error",
		"$(Date)": "20260304", "$(date:HHmm)": "1306", "$(Date:yy.M.d)": "26.3.4", "$(Date:MMM dd yyyy)": "Mar 04 2026", "$(Date:MMMM ddd dddd)": "March Wed Wednesday", "$(Date:h hh tt s ss f ff)": "1 01 PM 7 07 0 08", "$(Date:yyyy'week'dd)": "2026week04", "$(Date:'x)": "error", `$(Date:\d)`: "d",
		"$(DayOfMonth)": "4", "$(DayOfYear)": "63", "$(Hours)": "13", "$(Minutes)": "6", "$(Seconds)": "7", "$(Month)": "3", "$(Year:yy)": "26", "$(Year:yyyy)": "2026", "$(Year)": "2026", "$(HOURS)$(minutes)": "136",
		"$(SourceBranchName)": "a_b", "$(Build.SourceBranchName)": "a_b", "$(TeamProject)": "shop", "$(System.TeamProject)": "shop", "$(BuildDefinitionName)": "ci", "$(Build.DefinitionName)": "ci", "$(DefinitionName)": "ci", "$(BuildID)": "77", "$(Build.BuildId)": "77",
		"$(v)": "1.2", "$(V)-$(major)": "1.2-1", "$(odd)": "x___y_", "$(cr)": "a_b", "$(unknown)": "$(unknown)", "$(none": "$(none", " x ": "x", "$($(major))": "$(1)",
		"a:b": "error", "a/b": "error", `a\b`: "error", "a<b": "error", "a>b": "error", "a'b": "error", "a|b": "error", "a?b": "error", "a@b": "error", "a*b": "error", `a"b`: "error", "a.": "error", "$(major).": "error",
		strings.Repeat("x", 255): strings.Repeat("x", 255), strings.Repeat("é", 255): strings.Repeat("é", 255), strings.Repeat("x", 256): "error",
	} {
		got, err := pipeline.FormatRunNumber(format, tokens)
		if want == "error" {
			if fault.CodeOf(err) != "run-number" {
				t.Errorf("%s = %q, %v", format, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", format, got, err, want)
		}
	}
	if got, err := pipeline.FormatRunNumber("$(Rev:r)$(x)", pipeline.NumberTokens{}); err != nil || got != "1$(x)" {
		t.Errorf("without anything known: %q, %v", got, err)
	}
}

// TestRevCountsPerRest: the revision is asked for once, with the number as it
// is without it, so numbers that differ only in it are counted together.
func TestRevCountsPerRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := rapid.StringMatching(`[a-z]{0,3}`).Draw(t, "before"), rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "after")
		var asked []string
		got, err := pipeline.FormatRunNumber(before+"$(Rev:rr)"+after+"$(Rev:.r)", pipeline.NumberTokens{Rev: func(rest string) int { asked = append(asked, rest); return 7 }})
		if err != nil || got != before+"07"+after+".7" || len(asked) != 1 || asked[0] != before+after {
			t.Fatalf("%q, %v, asked for %q", got, err, asked)
		}
	})
}
