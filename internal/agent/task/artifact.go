package task

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

func init() {
	register(&Task{Name: "PublishPipelineArtifact", Major: []string{"0", "1"}, Run: publishArtifact,
		Aliases: map[string]string{"targetpath": "path", "artifactname": "artifact"}})
	register(&Task{Name: "PublishBuildArtifacts", Major: []string{"1"}, Run: publishArtifact,
		Aliases:  map[string]string{"pathtopublish": "path", "artifactname": "artifact"},
		Defaults: map[string]string{"artifact": "drop", "path": "$(Build.ArtifactStagingDirectory)"}})
	register(&Task{Name: "DownloadPipelineSource", Major: []string{"1"}, Run: downloadSource})
	register(&Task{Name: "DownloadPipelineArtifact", Major: []string{"2"}, Run: downloadArtifact,
		Aliases: map[string]string{"artifactname": "artifact", "itempattern": "patterns", "targetpath": "path", "downloadpath": "path"}})
}

func publishArtifact(ctx context.Context, c *Context) error {
	name := c.Input("artifact")
	if name == "" {
		job, _ := c.Lookup("System.JobId")
		name = job
	}
	p, err := c.Need("path")
	if err != nil {
		return err
	}
	source := c.Path(p)
	if _, err := os.Stat(source); err != nil {
		return fault.New(fault.Invalid, "no-path", "Path does not exist: %s", source)
	}
	file, err := os.CreateTemp(c.Temp, "artifact-*.zip")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	files, err := rootfs.Zip(file, source)
	if err != nil {
		return fmt.Errorf("pack %s: %w", source, err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var a struct{ Digest string }
	path := fmt.Sprintf("/_apis/penstock/runs/%s/artifacts/%s?files=%d", c.Job.RunID, url.PathEscape(name), files)
	if err := c.Client.Upload(ctx, path, "application/zip", file, size, &a); err != nil {
		return err
	}
	c.Printf("Published artifact %s: %d files, %d bytes, %s", name, files, size, a.Digest)
	return nil
}

// downloadSource is the step `download:`.
func downloadSource(ctx context.Context, c *Context) error {
	source := c.Input("source")
	switch {
	case source == "" || strings.EqualFold(source, "none"):
		return nil
	case strings.EqualFold(source, "current"):
		return download(ctx, c, c.Job.RunID, "", c.Input("path"))
	}
	for _, r := range c.Job.Resources {
		if strings.EqualFold(r.Alias, source) {
			c.Printf("Pipeline resource %s: %s run %s (%s)", r.Alias, r.Pipeline, r.Number, r.RunID)
			return download(ctx, c, r.RunID, r.Alias, c.Input("path"))
		}
	}
	return fault.New(fault.Invalid, "no-pipeline-resource", "download: there is no pipeline resource %s", source)
}

func downloadArtifact(ctx context.Context, c *Context) error {
	run := c.Job.RunID
	if strings.EqualFold(c.Input("source"), "specific") || strings.EqualFold(c.Input("buildType"), "specific") {
		if run = c.Input("runId"); run == "" {
			run = c.Input("buildId")
		}
		if run == "" {
			return fault.New(fault.Invalid, "input-missing", "Input required: runId").Try("this version downloads from a run that is named by runId")
		}
	}
	to := c.Input("path")
	if to == "" {
		to, _ = c.Lookup("Pipeline.Workspace")
	}
	return download(ctx, c, run, "", to)
}

// download fetches the artifacts of a run: into <workspace>/<alias>/<artifact>,
// or, with a target, into that folder.
func download(ctx context.Context, c *Context, run, alias, target string) error {
	var list struct {
		Value []struct{ Name, Digest string }
	}
	if err := c.Client.JSON(ctx, "GET", "/_apis/penstock/runs/"+url.PathEscape(run)+"/artifacts", nil, &list); err != nil {
		return err
	}
	want, count := c.Input("artifact"), 0
	workspace, _ := c.Lookup("Pipeline.Workspace")
	for _, a := range list.Value {
		if want != "" && !strings.EqualFold(want, a.Name) {
			continue
		}
		count++
		dir := filepath.Join(workspace, alias, a.Name)
		if target != "" {
			dir = c.Path(target)
			if want == "" {
				dir = filepath.Join(dir, a.Name)
			}
		}
		if err := fetch(ctx, c, run, a.Name, dir); err != nil {
			return err
		}
		c.Printf("Downloaded artifact %s (%s) to %s", a.Name, a.Digest, dir)
	}
	if want != "" && count == 0 {
		return fault.New(fault.NotFound, "artifact-not-found", "Artifact %s was not found for build %s.", want, run)
	}
	return nil
}

func fetch(ctx context.Context, c *Context, run, name, dir string) error {
	body, err := c.Client.Download(ctx, "/_apis/penstock/runs/"+url.PathEscape(run)+"/artifacts/"+url.PathEscape(name)+"/content")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	file, err := os.CreateTemp(c.Temp, "artifact-*.zip")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	}()
	size, err := io.Copy(file, body)
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return fmt.Errorf("artifact %s: %w", name, err)
	}
	if err := rootfs.Unzip(archive, dir, rootfs.DefaultLimits); err != nil {
		return err
	}
	if patterns := c.Inputs["patterns"]; strings.TrimSpace(patterns) != "" {
		return keepOnly(dir, patterns)
	}
	return nil
}

func keepOnly(dir, patterns string) error {
	found, err := Match(dir, patterns)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, f := range found {
		keep[f] = true
	}
	return filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err == nil && !keep[rel] {
			err = os.Remove(p)
		}
		return err
	})
}
