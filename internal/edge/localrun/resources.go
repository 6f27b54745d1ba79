package localrun

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/language"
)

// VM is a machine of an environment, made for the run.
type VM struct {
	Name string
	Tags []string
}

// Resources takes from the local file what the run works with: VMs, the files
// of applications, folders of tasks, and what becomes of the jobs of each pool.
func (r *Request) Resources(plan *pipeline.Plan, local *language.LocalFile) error {
	r.VMs = map[string][]VM{}
	for name, e := range local.Environments {
		for _, vm := range e.VMs {
			r.VMs[name] = append(r.VMs[name], VM{vm.VM, vm.Tags})
		}
	}
	for _, file := range local.Applications {
		r.Applications = append(r.Applications, local.Path(file))
	}
	for _, t := range local.Tasks {
		if t.Skip != "" {
			r.SkipTasks = append(r.SkipTasks, t.Skip)
			continue
		}
		r.Tasks = append(r.Tasks, local.Path(t.Folder))
	}
	return r.pools(plan, local)
}

// Pipeline is an earlier local run that stands for a pipeline resource.
type Pipeline struct {
	Source, Number, Folder string
}

// pipelines finds the earlier runs that stand for pipeline resources.
func (r *Request) pipelines(plan *pipeline.Plan, local *language.LocalFile, m *Missing) {
	for _, res := range plan.Resources.Pipelines {
		name := cmp.Or(local.Pipelines[res.Alias], "latest")
		folder, record, err := r.earlier(name)
		if err != nil {
			m.add("no-resource-run", fmt.Sprintf("%s:%d:%d: pipeline resource %s (%s): %v", res.Origin.File, res.Origin.Line, res.Origin.Column, res.Alias, res.Source, err))
			m.pipelines = append(m.pipelines, Pipeline{Source: res.Pipeline(), Number: res.Alias})
			continue
		}
		r.Pipelines = append(r.Pipelines, Pipeline{Source: res.Pipeline(), Number: record.Number, Folder: folder})
	}
}

// earlier finds a run: by number, or the latest that succeeded of another file.
func (r *Request) earlier(name string) (string, *Record, error) {
	if name != "latest" {
		return Find(r.Root, name)
	}
	all, err := numbers(r.Root)
	if err != nil {
		return "", nil, err
	}
	for _, n := range slices.Backward(all) {
		folder, record, err := Find(r.Root, strconv.Itoa(n))
		if err == nil && record.File != r.File && (record.Result == run.Succeeded || record.Result == run.SucceededWithIssues) {
			return folder, record, nil
		}
	}
	return "", nil, fmt.Errorf("no run of another file has succeeded here")
}

func (r *Request) pools(plan *pipeline.Plan, local *language.LocalFile) error {
	var refused []string
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			name := cmp.Or(j.Pool.Name, j.Pool.VMImage)
			switch poolOf(local, name).Do {
			case "refuse":
				refused = append(refused, fmt.Sprintf("%s:%d:%d: job %s wants pool %s", j.Origin.File, j.Origin.Line, j.Origin.Column, j.Name, name))
			case "skip":
				r.Only.Spare = append(r.Only.Spare, s.Name+"."+j.Name)
			}
		}
	}
	if any := local.Pools["*"]; any.Jobs > 0 && r.Jobs == 0 {
		r.Jobs = any.Jobs
	}
	if len(refused) > 0 {
		return fault.New(fault.Invalid, "pool-refused", "%s", strings.Join(refused, "\n")).Got("pools: refuse in penstock.local.yml").
			Try("leave these jobs out with --job or --stage, or say run or skip there")
	}
	return nil
}

func poolOf(local *language.LocalFile, name string) language.LocalPool {
	for known, p := range local.Pools {
		if strings.EqualFold(known, name) {
			return p
		}
	}
	return local.Pools["*"]
}
