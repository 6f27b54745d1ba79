package run

import (
	"archive/zip"
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
)

// LogArchive packs the logs of a run: a folder a stage, job and attempt, a file a
// step. What it has begun is read from the store in pages, never whole.
type LogArchive struct {
	Zip  *zip.Writer
	Logs Logs
	used map[string]int
}

// archivePage is how many lines are read at once.
const archivePage = 5000

// Add packs the logs of every step that has begun.
func (a *LogArchive) Add(ctx context.Context, d *Detail) error {
	for _, j := range d.Jobs {
		for _, s := range j.Steps {
			if s.State == Pending || s.Result == Skipped {
				continue
			}
			if err := a.step(ctx, j, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *LogArchive) step(ctx context.Context, j *Job, s Step) error {
	w, err := a.create(folder(j) + fmt.Sprintf("%02d-%s.txt", s.Order, fileName(cmp.Or(s.DisplayName, s.Name, "step"))))
	if err != nil {
		return err
	}
	for from := 1; ; from += archivePage {
		lines, _, err := a.Logs.Lines(ctx, j.LogID(s.Order), from, archivePage)
		if err != nil {
			return err
		}
		if len(lines) > 0 {
			if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
				return err
			}
		}
		if len(lines) < archivePage {
			return nil
		}
	}
}

// File packs a file that a step keeps with its log.
func (a *LogArchive) File(d *Detail, jobID string, step int, name string, content io.Reader) error {
	dir := fileName(jobID) + "/"
	for _, j := range d.Jobs {
		if j.ID == jobID {
			dir = folder(j)
		}
	}
	w, err := a.create(dir + fmt.Sprintf("files/%02d-%s", step, fileName(name)))
	if err == nil {
		_, err = io.Copy(w, content)
	}
	return err
}

// create begins a file; a name that is taken gets a number.
func (a *LogArchive) create(name string) (io.Writer, error) {
	if a.used == nil {
		a.used = map[string]int{}
	}
	key := strings.ToLower(name)
	if a.used[key]++; a.used[key] > 1 {
		name = fmt.Sprintf("%s.%d", name, a.used[key])
	}
	return a.Zip.Create(name)
}

func folder(j *Job) string {
	dir := fileName(j.Stage) + "/" + fileName(j.Name)
	if j.Attempt > 1 {
		dir += fmt.Sprintf(" attempt %d", j.Attempt)
	}
	return dir + "/"
}

// fileName makes a text one that every system takes as the name of a file.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '-'
		}
		return r
	}, strings.ToValidUTF8(name, "-"))
	const longest = 100
	if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	if name = strings.Trim(name, ". "); name == "" {
		return "-"
	}
	return name
}
