package devopsapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/tree"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// How an agent publishes: it asks which chunks the project lacks (missing),
// sends those (chunks), and publishes the list of files (PUT). How it downloads:
// it reads the list (manifest), chooses, and asks for chunks by their number in
// it. Everybody else takes content, a zip made on demand.
var artifactRoutes = []Route{
	{"penstock", "artifacts", "", "GET", ourRun + "/artifacts", identity.ProjectView, (*call).listArtifacts, nil, smallJSON},
	{"penstock", "artifacts", "", "PUT", ourRun + "/artifacts/{artifact}", identity.ArtifactWrite, (*call).publishArtifact, nil, stream},
	{"penstock", "artifacts", "", "GET", ourRun + "/artifacts/{artifact}/content", identity.ProjectView, (*call).downloadArtifact, nil, smallJSON},
	{"penstock", "artifacts", "", "GET", ourRun + "/artifacts/{artifact}/manifest", identity.ProjectView, (*call).artifactManifest, nil, smallJSON},
	{"penstock", "artifacts", "", "POST", ourRun + "/artifacts/{artifact}/chunks", identity.ProjectView, (*call).artifactChunks, nil, smallJSON},
	{"penstock", "chunks", "", "POST", ourRun + "/chunks", identity.ArtifactWrite, (*call).receiveChunks, nil, stream},
	{"penstock", "chunks", "", "POST", ourRun + "/chunks/missing", identity.ArtifactWrite, (*call).missingChunks, nil, largeJSON},
}

func (c *call) listArtifacts() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	found, err := c.Artifacts.Of(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	return listOf(found), nil
}

// ownRun is the run of the address, which a job may write to if it is its own.
func (c *call) ownRun() (*run.Run, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return r, c.own(r)
}

// missingChunks answers numbers of the digests that have to be sent.
func (c *call) missingChunks() (any, error) {
	var in struct {
		Digests []string `json:"digests"` // base64 of 32 bytes each
	}
	r, err := c.ownRun()
	if err != nil {
		return nil, err
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if len(in.Digests) > tree.MaxFrames {
		return nil, fault.New(fault.Invalid, "too-many", "too many chunks in one question").Want("at most %d", tree.MaxFrames)
	}
	digests := make([]tree.Digest, len(in.Digests))
	for i, text := range in.Digests {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != len(digests[i]) {
			return nil, fault.New(fault.Invalid, "chunk-digest", "a digest cannot be read").Want("32 bytes as base64").Got("%.60q", text)
		}
		digests[i] = tree.Digest(raw)
	}
	missing, err := c.Artifacts.Missing(c.ctx(), r.ProjectID, digests)
	if err != nil {
		return nil, err
	}
	out := struct {
		Missing []int `json:"missing"`
	}{[]int{}}
	for i, m := range missing {
		if m {
			out.Missing = append(out.Missing, i)
		}
	}
	return out, nil
}

// receiveChunks keeps a delivery of chunks.
func (c *call) receiveChunks() (any, error) {
	r, err := c.ownRun()
	if err != nil {
		return nil, err
	}
	c.noDeadline()
	const frames = tree.MaxFrames * 64 // more than their heads take
	if err := c.Artifacts.Receive(c.ctx(), r.ProjectID, http.MaxBytesReader(c.w, c.r.Body, tree.MaxFrameSize+frames)); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}

func (c *call) publishArtifact() (any, error) {
	r, err := c.ownRun()
	if err != nil {
		return nil, err
	}
	if t := c.r.Header.Get("Content-Type"); t != tree.MediaType {
		return nil, fault.New(fault.Invalid, "artifact-manifest", "an artifact is published by the list of its files").Want("Content-Type: %s", tree.MediaType).Got("%s", t)
	}
	c.noDeadline()
	manifest, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, tree.MaxManifest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fault.New(fault.Invalid, "artifact-too-large", "the list of the artifact's files is too large").Want("at most %d bytes", tooLarge.Limit)
	case err != nil:
		return nil, fault.Wrap(err, fault.Unavailable, "upload-broken", "the upload broke off").Try("try again")
	}
	return c.Artifacts.Publish(c.ctx(), artifact.Publication{ProjectID: r.ProjectID, RunID: r.ID, JobID: c.writer(), Name: c.params["artifact"], Step: c.query("step")}, manifest)
}

// artifact is the one of the address.
func (c *call) artifact() (*artifact.Artifact, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return c.Artifacts.Find(c.ctx(), r.ID, c.params["artifact"])
}

func (c *call) downloadArtifact() (any, error) {
	a, err := c.artifact()
	if err != nil {
		return nil, err
	}
	return c.sendArtifact(a)
}

// sendArtifact sends a zip; an altered artifact ends in a broken connection
// rather than in a complete answer.
func (c *call) sendArtifact(a *artifact.Artifact) (any, error) {
	if _, err := c.Artifacts.Manifest(c.ctx(), a); err != nil {
		return nil, err // before the answer begins
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.Map(plain, a.Name)+".zip"))
	h.Set("ETag", strconv.Quote(a.Digest))
	h.Set("X-Content-Type-Options", "nosniff")
	c.noDeadline()
	c.started = true
	if err := c.Artifacts.Zip(c.ctx(), a, c.w); err != nil {
		return nil, fmt.Errorf("send artifact %s: %w", a.ID, err)
	}
	return done{}, nil
}

func (c *call) artifactManifest() (any, error) {
	a, err := c.artifact()
	if err != nil {
		return nil, err
	}
	manifest, err := c.Artifacts.Manifest(c.ctx(), a)
	if err != nil {
		return nil, err
	}
	return c.sendBytes(tree.MediaType, int64(len(manifest)), func(w io.Writer) error {
		_, err := w.Write(manifest)
		return err
	})
}

// artifactChunks streams chunks of an artifact, without anything between them.
func (c *call) artifactChunks() (any, error) {
	var in struct {
		Ranges [][2]int `json:"ranges"` // number of the first, how many
	}
	a, err := c.artifact()
	if err != nil {
		return nil, err
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if len(in.Ranges) > tree.MaxRanges {
		return nil, fault.New(fault.Invalid, "too-many", "too many ranges in one request").Want("at most %d", tree.MaxRanges)
	}
	var ranges []tree.Range
	for _, r := range in.Ranges {
		ranges = append(ranges, tree.Range{From: r[0], Count: r[1]})
	}
	chunks, err := c.Artifacts.Chunks(c.ctx(), a, ranges)
	if err != nil {
		return nil, err
	}
	return c.sendBytes("application/octet-stream", chunks.Size, func(w io.Writer) error { return chunks.Copy(c.ctx(), w) })
}

// sendBytes answers with a stream of a known length.
func (c *call) sendBytes(mediaType string, size int64, write func(io.Writer) error) (any, error) {
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("X-Content-Type-Options", "nosniff")
	c.noDeadline()
	c.started = true
	if err := write(c.w); err != nil {
		return nil, err
	}
	return done{}, nil
}

func plain(r rune) rune {
	if r < 0x20 || r == '"' || r == '/' || r == '\\' || r > 126 {
		return '_'
	}
	return r
}
