package demo

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// firstRelease brings what main holds to production, if nothing is there yet.
func (s *story) firstRelease() error {
	a, err := s.app()
	if err != nil {
		return err
	}
	if slot, release := a.role("production"); slot != "" {
		s.done("", "release %s is in production on %s already", release, slot)
		return nil
	}
	before, err := s.latest("storefront-cd")
	if err != nil {
		return err
	}
	defID, err := s.pipelineID("storefront-ci")
	if err != nil {
		return err
	}
	var queued struct{ ID int }
	if err := s.call("ada", http.MethodPost, inProject(fmt.Sprintf("/_apis/pipelines/%d/runs", defID)), map[string]any{}, &queued); err != nil {
		return err
	}
	ci := &build{ID: queued.ID}
	if err := s.expectResult(ci, "succeeded"); err != nil {
		return err
	}
	cd, err := s.next("storefront-cd", before.ID)
	if err != nil {
		return err
	}
	if err := s.approve(cd, "first release"); err != nil {
		return err
	}
	if err := s.expectResult(cd, "succeeded"); err != nil {
		return err
	}
	if a, err = s.app(); err != nil {
		return err
	}
	slot, release := a.role("production")
	_, port, _ := net.SplitHostPort(s.Gateway)
	s.done("penstock pipeline run storefront-ci", "release %s in production on %s   http://storefront.localhost:%s", release, slot, port)
	return nil
}

// approve waits for the validation of a run and answers it as lin.
func (s *story) approve(b *build, comment string) error {
	var id string
	err := s.until("the validation of run "+strconv.Itoa(b.ID), 4*time.Minute, func() (bool, error) {
		if err := s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/build/builds/%d", b.ID)), nil, b); err != nil {
			return false, err
		}
		if b.Status == "completed" {
			return false, fmt.Errorf("run %d ended (%s) before anybody was asked\n%s", b.ID, b.Result, s.tail(b, "", 25))
		}
		var list struct {
			Value []struct{ ID, RunID, Status string }
		}
		if err := s.call("lin", http.MethodGet, inProject("/_apis/pipelines/approvals?state=pending"), nil, &list); err != nil {
			return false, err
		}
		for _, a := range list.Value {
			if a.RunID == strconv.Itoa(b.ID) || a.RunID == "" && len(list.Value) == 1 {
				id = a.ID
			}
		}
		return id != "", nil
	})
	if err != nil {
		return err
	}
	answer := []map[string]string{{"approvalId": id, "status": "approved", "comment": comment}}
	if err := fails(s.call("ada", http.MethodPatch, inProject("/_apis/pipelines/approvals"), answer, nil), fault.Denied, "ada's approval of her own release"); err != nil {
		return err
	}
	return s.call("lin", http.MethodPatch, inProject("/_apis/pipelines/approvals"), answer, nil)
}

// pullRequest shows that a change with a failing test cannot be merged.
func (s *story) pullRequest() error {
	last, err := s.latest("storefront-pr")
	if err != nil {
		return err
	}
	branch := "prices-in-euro-" + strconv.FormatInt(time.Now().Unix(), 36)
	if err := s.branch(branch); err != nil {
		return err
	}
	if err := s.edit("price/price.go", "const roundUpFrom = 5", "const roundUpFrom = 1"); err != nil {
		return err
	}
	if err := s.commit(branch, "Prices in euro"); err != nil {
		return err
	}
	n, err := s.propose(branch, "Prices in euro")
	if err != nil {
		return err
	}
	s.done("penstock pr create --source "+branch, "ada pushed %s, opened !%d", branch, n)
	run, err := s.next("storefront-pr", last.ID)
	if err != nil {
		return err
	}
	if err := s.expectResult(run, "failed"); err != nil {
		return err
	}
	s.done("", "storefront-pr %s failed, as it should: %s", run.BuildNumber, firstLine(s.tail(run, "want", 5)))
	if err := s.call("grace", http.MethodPut, prPath(n)+"/reviewers/me", map[string]int{"vote": 10}, nil); err != nil {
		return err
	}
	err = s.call("ada", http.MethodPatch, prPath(n), map[string]any{"status": "completed"}, nil)
	if err := fails(err, fault.Conflict, "the merge"); err != nil {
		return err
	}
	s.done(fmt.Sprintf("penstock pr complete %d", n), "merge refused, as it should be (409: required check failed)")
	return s.repair(n, branch, run)
}

func (s *story) repair(n int, branch string, failed *build) error {
	if err := s.edit("price/price.go", "const roundUpFrom = 1", "const roundUpFrom = 5"); err != nil {
		return err
	}
	if err := s.edit("web/home.html", "</h1>", " · "+strconv.FormatInt(time.Now().Unix(), 36)+"</h1>"); err != nil {
		return err
	}
	if err := s.commit(branch, "Round as the law wants it"); err != nil {
		return err
	}
	run, err := s.next("storefront-pr", failed.ID)
	if err != nil {
		return err
	}
	if err := s.expectResult(run, "succeeded"); err != nil {
		return err
	}
	before, err := s.latest("storefront-ci")
	if err != nil {
		return err
	}
	err = s.call("ada", http.MethodPatch, prPath(n), map[string]any{"status": "completed"}, nil)
	if err := fails(err, fault.Conflict, "the merge without a review of the new push"); err != nil {
		return err
	}
	commit, err := s.merge(n)
	if err != nil {
		return err
	}
	s.ci = before.ID
	s.done(fmt.Sprintf("penstock pr vote %d --approve", n), "ada pushed the fix, storefront-pr %s succeeded; grace approved; !%d merged as %.7s", run.BuildNumber, n, commit)
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if at := strings.LastIndex(line, "Z "); at > 0 && at+2 < len(line) {
		line = line[at+2:]
	}
	return strings.TrimSpace(line)
}

// delivery follows the merge: integration, staging, acceptance, a person, and
// the release under load.
func (s *story) delivery() error {
	before, err := s.latest("storefront-cd")
	if err != nil {
		return err
	}
	ci, err := s.next("storefront-ci", s.ci)
	if err != nil {
		return err
	}
	if err := s.expectResult(ci, "succeeded"); err != nil {
		return err
	}
	if err := s.checkIntegration(ci); err != nil {
		return err
	}
	cd, err := s.next("storefront-cd", before.ID)
	if err != nil {
		return err
	}
	if cd.Reason != "resourceTrigger" {
		return fmt.Errorf("storefront-cd was started by %s, not by the integration run", cd.Reason)
	}
	s.done("", "storefront-cd %s started by storefront-ci %s", cd.BuildNumber, ci.BuildNumber)
	return s.release(cd, ci.BuildNumber, "succeeded", true)
}

func (s *story) checkIntegration(ci *build) error {
	var tests struct {
		Value []struct{ Results []struct{ Outcome string } }
	}
	if err := s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/penstock/runs/%d/tests", ci.ID)), nil, &tests); err != nil {
		return err
	}
	passed := 0
	for _, t := range tests.Value {
		for _, r := range t.Results {
			if r.Outcome == "Passed" {
				passed++
			}
		}
	}
	if passed == 0 {
		return errors.New("the integration run published no test results")
	}
	var secret struct{ Value string }
	if err := s.call("", http.MethodGet, inProject("/_apis/penstock/vaults/"+vaultName+"/secrets/PaymentKey/value"), nil, &secret); err != nil {
		return err
	}
	if strings.Contains(s.tail(ci, "", 100000), secret.Value) {
		return errors.New("the secret PaymentKey stands in the log")
	}
	s.done("penstock run show "+strconv.Itoa(ci.ID), "storefront-ci %s: lint, %d tests passed, PaymentKey in no line of the log", ci.BuildNumber, passed)
	var artifacts struct {
		Value []struct {
			Name, Digest string
			Size         int64
		}
	}
	if err := s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/penstock/runs/%d/artifacts", ci.ID)), nil, &artifacts); err != nil {
		return err
	}
	if len(artifacts.Value) != 1 {
		return fmt.Errorf("expected 1 artifact, got %d", len(artifacts.Value))
	}
	a := artifacts.Value[0]
	s.done("", "artifact %s: storefront.zip, Web Deploy, %.1f MB, %.15s…", a.Name, float64(a.Size)/1e6, a.Digest)
	return nil
}

// release approves a delivery run and watches it under load.
func (s *story) release(cd *build, number, want string, tell bool) error {
	a, err := s.app()
	if err != nil {
		return err
	}
	oldSlot, oldRelease := a.role("production")
	if err := s.until("staging", 4*time.Minute, func() (bool, error) {
		a, err = s.app()
		if err != nil {
			return false, err
		}
		_, r := a.role("staging")
		if r == number {
			return true, nil
		}
		err = s.call("", http.MethodGet, inProject(fmt.Sprintf("/_apis/build/builds/%d", cd.ID)), nil, cd)
		if err == nil && cd.Status == "completed" {
			err = fmt.Errorf("run %d is %s\n%s", cd.ID, cd.Result, s.tail(cd, "", 25))
		}
		return false, err
	}); err != nil {
		return err
	}
	slot, _ := a.role("staging")
	if tell {
		s.done("", "staging is %s (%s): updated one machine after the other, both healthy", slot, number)
	}
	l := s.startLoad("storefront.localhost")
	defer l.cancel()
	if err := s.approve(cd, "looks right"); err != nil {
		return err
	}
	if tell {
		s.done(fmt.Sprintf("penstock approve %d", cd.ID), "acceptance tests passed; waited for a person; ada may not, lin approved: “looks right”")
	}
	if err := s.expectResult(cd, want); err != nil {
		return err
	}
	sent, served, err := s.stopLoad(l)
	if err != nil {
		return err
	}
	return s.afterRelease(number, slot, oldSlot, oldRelease, want, sent, served)
}

// afterRelease looks at where production is now.
func (s *story) afterRelease(number, slot, oldSlot, oldRelease, want string, sent, served int) error {
	a, err := s.app()
	if err != nil {
		return err
	}
	gotSlot, gotRelease := a.role("production")
	wantSlot, wantRelease := slot, number
	if want == "failed" {
		wantSlot, wantRelease = oldSlot, oldRelease
	}
	if gotSlot != wantSlot || gotRelease != wantRelease {
		return fmt.Errorf("production is %s (%s), expected %s (%s)", gotSlot, gotRelease, wantSlot, wantRelease)
	}
	swaps, err := s.swaps()
	if err != nil {
		return err
	}
	moved := time.Duration(swaps[0].Moved)
	if want == "failed" {
		if len(swaps) < 2 || !swaps[0].Rollback || swaps[1].NewRelease != number {
			return errors.New("the faulty release was not swapped in and rolled back")
		}
		s.done("", "%s passed staging and was swapped to production (generation %d); smoke tests failed: GET /checkout → 500", number, swaps[1].Generation)
		s.done("", "on: failure → PenstockRollback@1: generation %d, back on %s in %s · sent %d, failed by us 0, served %d", swaps[0].Generation, oldRelease, moved.Round(10*time.Microsecond), sent, served)
		return nil
	}
	for _, e := range swaps[0].Journal {
		s.note("✓", "%-8s %s", e.What, e.Text)
	}
	s.done("penstock swap "+appName, "generation %d: production is %s (%s), moved in %s", swaps[0].Generation, slot, number, moved.Round(10*time.Microsecond))
	s.done("", "smoke tests passed · sent %d, failed 0 (client) · served %d (backends)", sent, served)
	return nil
}

type swapRecord struct {
	Generation uint64
	Rollback   bool
	NewSlot    string
	NewRelease string
	Moved      int64
	Journal    []struct{ What, Text string }
}

func (s *story) swaps() ([]swapRecord, error) {
	var list struct{ Value []swapRecord }
	if err := s.call("", http.MethodGet, inProject("/_apis/penstock/applications/"+appName+"/swaps"), nil, &list); err != nil {
		return nil, err
	}
	if len(list.Value) == 0 {
		return nil, errors.New("the application has no history of swaps")
	}
	return list.Value, nil
}

// faulty releases a fault that only production shows.
func (s *story) faulty() error {
	before, err := s.latest("storefront-cd")
	if err != nil {
		return err
	}
	ci, err := s.change("tax-for-uk", "Tax for another region", func() error {
		return s.edit("checkout/total.go", `productionRegion = "eu"`, `productionRegion = "uk"`)
	})
	if err != nil {
		return err
	}
	if err := s.expectResult(ci, "succeeded"); err != nil {
		return err
	}
	cd, err := s.next("storefront-cd", before.ID)
	if err != nil {
		return err
	}
	return s.release(cd, ci.BuildNumber, "failed", false)
}

// byHand releases a good change and takes it back with one command.
func (s *story) byHand() error {
	before, err := s.latest("storefront-cd")
	if err != nil {
		return err
	}
	ci, err := s.change("tax-again", "Tax for our region again", func() error {
		return s.edit("checkout/total.go", `productionRegion = "uk"`, `productionRegion = "eu"`)
	})
	if err != nil {
		return err
	}
	if err := s.expectResult(ci, "succeeded"); err != nil {
		return err
	}
	cd, err := s.next("storefront-cd", before.ID)
	if err != nil {
		return err
	}
	a, err := s.app()
	if err != nil {
		return err
	}
	oldSlot, oldRelease := a.role("production")
	if err := s.release(cd, ci.BuildNumber, "succeeded", false); err != nil {
		return err
	}
	l := s.startLoad("storefront.localhost")
	defer l.cancel()
	if err := s.until("traffic", 10*time.Second, func() (bool, error) { return l.sent.Load() > 200, nil }); err != nil {
		return err
	}
	var back, again struct {
		Generation uint64
		NewSlot    string
		Moved      int64
		RolledBack *bool
	}
	path := inProject("/_apis/penstock/applications/" + appName + "/rollbacks")
	if err := s.call("lin", http.MethodPost, path, map[string]any{}, &back); err != nil {
		return err
	}
	if back.NewSlot != oldSlot {
		return fmt.Errorf("production is %s after the rollback, expected %s", back.NewSlot, oldSlot)
	}
	if err := s.call("lin", http.MethodPost, path, map[string]any{}, &again); err != nil {
		return err
	}
	if again.RolledBack == nil || *again.RolledBack {
		return errors.New("a second rollback moved something")
	}
	sent, served, err := s.stopLoad(l)
	if err != nil {
		return err
	}
	s.done("penstock rollback "+appName, "rolled back to %s on %s: generation %d in %s, and once more: nothing to do · sent %d, failed 0, served %d", oldRelease, oldSlot,
		back.Generation, time.Duration(back.Moved).Round(10*time.Microsecond), sent, served)
	return nil
}
