package testresult

import (
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/memstore"
)

func newService() *Service {
	tx := &memstore.Runner{}
	return &Service{Runs: memstore.NewTable[TestRun](tx, "TestRun"), Results: memstore.NewTable[Set](tx, "Set"), Reports: memstore.NewTable[Coverage](tx, "Coverage"), Files: memstore.NewTable[CoverageFiles](tx, "CoverageFiles"), Tx: tx}
}

// An agent that meets no answer sends again: a set is kept once.
func TestSetIsKeptOnce(t *testing.T) {
	s, ctx, key := newService(), t.Context(), id.New()
	for range 2 {
		set := &TestRun{ID: key, RunID: "1", Results: []Result{{Name: "a", Outcome: Passed}, {Name: "b", Suite: "s", Outcome: Failed, Duration: -1}, {Name: "c", Outcome: Skipped}, {Name: "d", Outcome: Inconclusive}}}
		if err := s.Publish(ctx, set); err != nil || set.Num != 1 {
			t.Fatal(set.Num, err)
		}
	}
	if err := s.Publish(ctx, &TestRun{ID: key, RunID: "2"}); !fault.Is(err, fault.Conflict) {
		t.Errorf("the id of another run's: %v", err)
	}
	heads, err := s.Of(ctx, "1")
	if err != nil || len(heads) != 1 || heads[0].Results != nil || heads[0].Counts != (Counts{4, 1, 1, 1, 1}) {
		t.Fatalf("%+v %v", heads, err)
	}
	if all, err := s.WithResults(ctx, "1"); err != nil || len(all[0].Results) != 4 || all[0].Results[1].Duration != 0 || !Failing(all)["s\x00b"] || len(Failing(all)) != 1 {
		t.Errorf("%+v %v", all, err)
	}
	if found, err := s.Find(ctx, 1); err != nil || found.ID != key {
		t.Error(found, err)
	}
	if _, err := s.Find(ctx, 2); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if run, sets, err := s.Earlier(ctx, []string{"9", "1"}); err != nil || run != "1" || len(sets) != 1 {
		t.Error(run, sets, err)
	}
}

func TestBoundsOfResults(t *testing.T) {
	s, ctx := newService(), t.Context()
	if err := s.Publish(ctx, &TestRun{RunID: "1", Results: []Result{{Name: "a", Outcome: "Splendid"}}}); fault.CodeOf(err) != "unknown-outcome" {
		t.Error(err)
	}
	many := make([]Result, MaxResults+1)
	for i := range many {
		many[i].Outcome = Passed
	}
	if err := s.Publish(ctx, &TestRun{RunID: "1", Results: many}); fault.CodeOf(err) != "too-many-results" {
		t.Error(err)
	}
	long := &TestRun{RunID: "1", Title: strings.Repeat("ä", maxName), Results: []Result{{Name: strings.Repeat("n", 2*maxName), Stack: strings.Repeat("s", 2*maxText), Outcome: Passed}}}
	if err := s.Publish(ctx, long); err != nil || len(long.Title) > maxName || len(long.Results[0].Name) > maxName || len(long.Results[0].Stack) > maxText || !strings.HasSuffix(long.Title, "ä…") {
		t.Error(len(long.Title), err)
	}
	for range MaxSets - 1 {
		if err := s.Runs.Insert(ctx, &TestRun{ID: id.New(), RunID: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Publish(ctx, &TestRun{RunID: "1"}); fault.CodeOf(err) != "too-many-results" {
		t.Error(err)
	}
}

func TestCoverage(t *testing.T) {
	s, ctx, key := newService(), t.Context(), id.New()
	files := make([]FileCoverage, MaxFiles+5)
	for range 2 {
		if err := s.Cover(ctx, &Coverage{ID: key, RunID: "1", Metrics: []Metric{{Lines, 3, 4}}, Files: files}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.CoverageWithFiles(ctx, "1")
	if err != nil || len(all) != 1 || len(all[0].Files) != MaxFiles || all[0].Count != MaxFiles+5 || all[0].Metric(Lines).Share() != 0.75 || all[0].Metric(Branches).Total != 0 {
		t.Errorf("%v", err)
	}
	for _, bad := range []*Coverage{{Metrics: []Metric{{Lines, 5, 4}}}, {Metrics: []Metric{{Lines, -1, 4}}}, {Metrics: []Metric{{"", 1, 4}}}, {Files: []FileCoverage{{Lines: Metric{Covered: 2, Total: 1}}}}, {Metrics: make([]Metric, 99)}} {
		if err := s.Cover(ctx, bad); fault.CodeOf(err) != "coverage-unreadable" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
