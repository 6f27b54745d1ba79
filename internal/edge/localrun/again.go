package localrun

import (
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/domain/run"
)

// Again is a recorded step that is to be repeated.
type Again struct {
	Record *Record
	Step   *run.RecordedStep
	Work   string // the work folder that the run left; "" = it left none
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
	return a, nil
}
