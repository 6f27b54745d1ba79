package localrun

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/runview"
)

// KeepStep writes what a step started from into steps/STAGE/JOB/NN.json.
func KeepStep(folder string, s run.RecordedStep) error {
	dir := filepath.Join(folder, "steps", runview.FileName(s.Stage), runview.FileName(s.Job))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return rootfs.ReplaceFile(filepath.Join(dir, fmt.Sprintf("%02d.json", s.Order)), append(data, '\n'), 0o600)
}

// Find returns the folder and the record of a run: local:N, N or latest.
func Find(root, name string) (string, *Record, error) {
	all, err := numbers(root)
	if err != nil {
		return "", nil, err
	}
	number := strings.TrimPrefix(name, "local:")
	if number == "latest" && len(all) > 0 {
		number = strconv.Itoa(all[len(all)-1])
	}
	if n, err := strconv.Atoi(number); err != nil || !slices.Contains(all, n) {
		return "", nil, fault.New(fault.NotFound, "no-record", "there is no record of a local run %s here", name).At("%s", runsFolder(root)).
			Want("local:N or latest").Got("%s", found(all))
	}
	folder := filepath.Join(runsFolder(root), number)
	data, err := os.ReadFile(filepath.Join(folder, "run.json"))
	if err != nil {
		return "", nil, fault.New(fault.NotFound, "no-record", "run local:%s has no record: it has not ended, or was killed", number).At("%s", folder)
	}
	r := &Record{}
	return folder, r, json.Unmarshal(data, r)
}

func found(all []int) string {
	if len(all) == 0 {
		return "no run"
	}
	return fmt.Sprintf("local:%d to local:%d", all[0], all[len(all)-1])
}

// inJob says whether a step belongs to what --job names: a job, one of its legs or
// hooks (`JOB LEG`, or the leg alone), with its stage or without.
func inJob(s *run.RecordedStep, job string) bool {
	phase, leg, _ := strings.Cut(s.Job, " ")
	for _, name := range []string{s.Job, phase, leg} {
		if name != "" && (strings.EqualFold(job, name) || strings.EqualFold(job, s.Stage+"."+name)) {
			return true
		}
	}
	return job == ""
}

// Step finds the one recorded step of a run that has a name, or a display name,
// in a job (`job` or `stage.job`, "" = any).
func Step(folder, name, job string) (*run.RecordedStep, error) {
	files, err := filepath.Glob(filepath.Join(folder, "steps", "*", "*", "*.json"))
	if err != nil {
		return nil, err
	}
	var hits, exact []*run.RecordedStep // exact: by the name, which one step of a job has
	var names []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s := &run.RecordedStep{}
		if err := json.Unmarshal(data, s); err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "no-record", "the record of a step cannot be read").At("%s", file)
		}
		if !inJob(s, job) {
			continue
		}
		names = append(names, cmp.Or(s.Name, s.Title))
		if strings.EqualFold(s.Ref, name) || strings.EqualFold(Part(s), name) {
			exact = append(exact, s)
		}
		if strings.EqualFold(s.Ref, name) || strings.EqualFold(s.Title, name) || strings.EqualFold(Part(s), name) {
			hits = append(hits, s)
		}
	}
	if len(exact) > 0 {
		hits = exact
	}
	switch {
	case len(hits) == 1:
		return hits[0], nil
	case len(hits) == 0:
		return nil, fault.New(fault.NotFound, "no-such-part", "the run has recorded no step %s", name).Got("%s", strings.Join(names, ", "))
	}
	var where []string
	for _, s := range hits {
		where = append(where, fmt.Sprintf("%s.%s (%s)", s.Stage, s.Job, Part(s)))
	}
	return nil, fault.New(fault.Invalid, "ambiguous", "several recorded steps are called %s", name).Got("one each in %s", strings.Join(where, ", ")).
		Try("name the job: --job '%s.%s'; within one job its name: --step %s", hits[0].Stage, hits[0].Job, Part(hits[0]))
}

// Part is the step as a selection names it: its name, in a deployment behind that
// of the hook.
func Part(s *run.RecordedStep) string {
	if s.Hook == "" {
		return s.Ref
	}
	return s.Hook + "." + s.Ref
}
