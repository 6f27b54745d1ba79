package localrun

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// Again is a recorded step that is to be repeated.
type Again struct {
	Record *Record
	Step   *run.RecordedStep
	Work   string // the work folder that the run left; "" = it left none
	// Legs are the other legs of the step's matrix, as `stage.job.leg`.
	Legs []string
}

// Job is the step's job as a pipeline names it, `stage.job`.
func (a *Again) Job() string {
	job, _, _ := strings.Cut(a.Step.Job, " ")
	return a.Step.Stage + "." + job
}

// otherLegs reads from the plan of the run which legs are not the step's.
func (a *Again) otherLegs(folder string) error {
	data, err := os.ReadFile(filepath.Join(folder, "plan.json"))
	if err != nil {
		return fault.Wrap(err, fault.NotFound, "no-record", "the plan of the run cannot be read").At("%s", folder)
	}
	plan := &pipeline.Plan{}
	if err := json.Unmarshal(data, plan); err != nil {
		return fault.Wrap(err, fault.Invalid, "no-record", "the plan of the run cannot be read").At("%s", folder)
	}
	_, leg, _ := strings.Cut(a.Step.Job, " ")
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			if j.Strategy == nil || s.Name+"."+j.Name != a.Job() {
				continue
			}
			for _, m := range j.Strategy.Matrix {
				if m.Name != leg {
					a.Legs = append(a.Legs, a.Job()+"."+m.Name)
				}
			}
		}
	}
	return nil
}

// Repeat finds a step of a recorded run.
func Repeat(root, name, step, job string) (*Again, error) {
	folder, record, err := Find(root, name)
	if err != nil {
		return nil, err
	}
	a := &Again{Record: record}
	if a.Step, err = Step(folder, step, job); err != nil {
		return nil, err
	}
	if info, err := os.Stat(a.Step.Work); err == nil && info.IsDir() {
		a.Work = filepath.Join(folder, "work")
	}
	return a, a.otherLegs(folder)
}
