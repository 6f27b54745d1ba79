package task

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

func init() {
	Register(&Task{Name: "PublishPipelineArtifact", Major: []string{"0", "1"}, Run: publishPipelineArtifact,
		Aliases: map[string]string{"targetpath": "path", "artifact": "artifactname"}})
	Register(&Task{Name: "PublishBuildArtifacts", Major: []string{"1"}, Run: publishBuildArtifacts})
}

// badNameChars may not stand in an artifact's name.
const badNameChars = "\":<>|*?/\\"

func checkArtifactName(name string) error {
	if strings.ContainsAny(name, badNameChars) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return fault.New(fault.Invalid, "artifact-name", "%q cannot be the name of an artifact", name).Want("no control characters and none of %s", badNameChars)
	}
	return nil
}

// defaultArtifactName is made of the names of stage, job and leg: what is
// neither letter nor digit goes, and so does the leg of a job that has none.
func defaultArtifactName(c *Context) string {
	name, _ := c.Lookup("System.JobIdentifier")
	var b strings.Builder
	for _, r := range name {
		if r == '.' || r == ' ' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			b.WriteRune(r)
		}
	}
	job, _ := c.Lookup("System.JobId")
	return cmp.Or(strings.ReplaceAll(b.String(), ".default", ""), job)
}

func publishPipelineArtifact(ctx context.Context, c *Context) error {
	if strings.EqualFold(c.Input("artifactType"), "filepath") {
		return fault.New(fault.Invalid, "unsupported-input", "publishLocation: filepath is not supported").Want("publishLocation: pipeline").
			Try("copy the files to the share in a step of its own")
	}
	p, err := c.Need("path")
	if err != nil {
		return err
	}
	return PublishPaths(ctx, c, cmp.Or(c.Input("artifactName"), defaultArtifactName(c)), []string{c.Path(p)})
}

func publishBuildArtifacts(ctx context.Context, c *Context) error {
	if strings.EqualFold(c.Input("ArtifactType"), "FilePath") {
		return fault.New(fault.Invalid, "unsupported-input", "publishLocation: FilePath is not supported").Want("publishLocation: Container").
			Try("copy the files to the share in a step of its own")
	}
	p, err := c.Need("PathtoPublish")
	if err != nil {
		return err
	}
	name, err := c.Need("ArtifactName")
	if err != nil {
		return err
	}
	p = c.Path(p)
	info, err := os.Stat(p)
	if err != nil {
		return fault.New(fault.Invalid, "no-path", "Not found PathtoPublish: %s", p)
	}
	if c.Bool("StoreAsTar") {
		tar := filepath.Join(c.Temp, name+".tar") // keeps modes and links
		if err := writeTar(tar, p); err != nil {
			return err
		}
		p = tar
	} else if entries, err := os.ReadDir(p); info.IsDir() && err == nil && len(entries) == 0 {
		c.Warn("Directory %s is empty. Nothing will be added to build artifact %s.", p, name)
		return nil
	}
	return PublishPaths(ctx, c, name, []string{p})
}

// PublishPaths publishes files, and what folders hold, as one artifact.
func PublishPaths(ctx context.Context, c *Context, name string, paths []string) error {
	if err := checkArtifactName(name); err != nil {
		return err
	}
	source := paths[0]
	if len(paths) > 1 {
		var err error
		if source, err = gather(c.Temp, paths); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(source) }()
	}
	info, err := os.Stat(source)
	if err != nil {
		return fault.New(fault.Invalid, "no-path", "Path does not exist: %s", source)
	}
	var keep func(string, bool) bool
	if info.IsDir() {
		rules, err := readIgnore(filepath.Join(source, ".artifactignore"))
		if err != nil {
			return err
		}
		if len(rules) > 0 {
			keep = func(rel string, dir bool) bool { return !ignored(rules, rel, dir) }
		}
	}
	p, err := c.transfer().Publish(ctx, source, keep, c.Records.Sink(c.Job.RunID, name, c.attempt()))
	if err != nil {
		return err
	}
	c.Printf("Published artifact %s: %d files, %d bytes, %s", name, p.Files, p.Bytes, p.Digest)
	return nil
}

// attempt names this attempt of the step: it may publish again what it has
// published already.
func (c *Context) attempt() string {
	return fmt.Sprintf("%s/%d/%s", c.Job.JobID, c.Job.Attempt, c.Step)
}

// transfer waits between attempts as the job does.
func (c *Context) transfer() tree.Transfer {
	if c.After == nil {
		return tree.Transfer{}
	}
	return tree.Transfer{Pause: func(ctx context.Context, attempt int) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.After(tree.Patience(attempt)):
			return nil
		}
	}}
}

// gather puts several files and folders into one; what comes later wins.
func gather(temp string, paths []string) (string, error) {
	dir, err := os.MkdirTemp(temp, "artifact-*")
	if err != nil {
		return "", err
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return dir, fault.New(fault.Invalid, "no-path", "Path does not exist: %s", p)
		}
		if !info.IsDir() {
			if err := copyFile(p, filepath.Join(dir, filepath.Base(p)), info.Mode().Perm()); err != nil {
				return dir, err
			}
			continue
		}
		err = filepath.WalkDir(p, func(file string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(p, file)
			if err != nil {
				return err
			}
			info, err := os.Stat(file)
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			return copyFile(file, filepath.Join(dir, rel), info.Mode().Perm())
		})
		if err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// target is where a downloaded artifact goes.
type target struct {
	run, name string
	digest    string // of the artifact
	dir       string
	patterns  string // of files below dir; "" = all
}

// fetch downloads one artifact. Patterns choose before anything is transferred.
func fetch(ctx context.Context, c *Context, t target) (int, error) {
	q := tree.Request{Digest: t.digest, Folder: t.dir, Limits: rootfs.DefaultLimits}
	if t.patterns != "" {
		rules, err := parsePatterns(t.patterns)
		if err != nil {
			return 0, err
		}
		q.Keep = rules.match
	}
	return c.transfer().Fetch(ctx, q, c.Records.Source(t.run, t.name))
}

func writeTar(name, source string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = pack.Tar(f, source, "")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
