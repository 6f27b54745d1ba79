package artifact_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
	"penstock.dev/penstock/internal/domain/artifact/tree"
)

// frames is a delivery of chunks.
func frames(texts ...string) []byte {
	var out []byte
	for _, text := range texts {
		sum := sha256.Sum256([]byte(text))
		out = append(binary.BigEndian.AppendUint32(append(out, sum[:]...), uint32(len(text))), text...)
	}
	return out
}

// manifest is a tree of one file.
func manifest(texts ...string) []byte {
	e := tree.Entry{Path: "a", Kind: tree.File, Mode: 0o644}
	for _, text := range texts {
		e.Chunks = append(e.Chunks, tree.Chunk{Digest: sha256.Sum256([]byte(text)), Size: len(text)})
	}
	return (&tree.Tree{Entries: []tree.Entry{e}}).Encode()
}

func missing(t *testing.T, s *artifact.Service, project string, texts ...string) string {
	t.Helper()
	var digests []tree.Digest
	for _, text := range texts {
		digests = append(digests, sha256.Sum256([]byte(text)))
	}
	list, err := s.Missing(t.Context(), project, digests)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, m := range list {
		if m {
			out = append(out, texts[i])
		}
	}
	return strings.Join(out, " ")
}

func receive(t *testing.T, s *artifact.Service, project string, texts ...string) {
	t.Helper()
	if err := s.Receive(t.Context(), project, bytes.NewReader(frames(texts...))); err != nil {
		t.Fatal(err)
	}
}

// file returns the content of the only file of an artifact.
func file(t *testing.T, s *artifact.Service, a *artifact.Artifact) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if _, err := (tree.Transfer{}).Fetch(t.Context(), tree.Request{Digest: a.Digest, Folder: dir, Limits: rootfs.DefaultLimits}, s.Source(a)); err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "a"))
	return string(data), err
}

func TestANameIsPublishedOnce(t *testing.T) {
	s := artifacttest.NewService()
	receive(t, s, "p", "one", "two")
	p := artifact.Publication{ProjectID: "p", RunID: "1", JobID: "j", Name: "drop", Step: "j/1/2"}
	first, err := s.Publish(t.Context(), p, manifest("one"))
	if err != nil || first.Size != 3 || first.Files != 1 || first.Digest != tree.DigestOf(manifest("one")).String() {
		t.Fatalf("%+v %v", first, err)
	}
	again, err := s.Publish(t.Context(), p, manifest("one"))
	if err != nil || again.ID != first.ID {
		t.Errorf("the same step, the same content: %+v %v", again, err)
	}
	for what, k := range map[string]struct {
		change  func(*artifact.Publication)
		content string
	}{
		"other content":        {func(*artifact.Publication) {}, "two"},
		"another attempt":      {func(p *artifact.Publication) { p.Step = "j/2/2" }, "one"},
		"another step":         {func(p *artifact.Publication) { p.Step = "j/1/3" }, "one"},
		"another job":          {func(p *artifact.Publication) { p.JobID = "k" }, "one"},
		"nobody in particular": {func(p *artifact.Publication) { p.Step = "" }, "one"},
	} {
		q := p
		k.change(&q)
		if _, err := s.Publish(t.Context(), q, manifest(k.content)); fault.CodeOf(err) != "artifact-exists" {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.RunID = "2"
	if other, err := s.Publish(t.Context(), p, manifest("one")); err != nil || other.ID == first.ID {
		t.Errorf("another run: %+v %v", other, err)
	}
}

// Two that publish one name at once: one of them does.
func TestPublishedAtOnce(t *testing.T) {
	s := artifacttest.NewService()
	receive(t, s, "p", "one", "two")
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = s.Publish(t.Context(), artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop", Step: string(rune('a' + i))}, manifest([]string{"one", "two"}[i%2]))
		})
	}
	wg.Wait()
	ok := 0
	for _, err := range errs {
		if err == nil {
			ok++
		} else if fault.CodeOf(err) != "artifact-exists" {
			t.Error(err)
		}
	}
	if ok != 1 {
		t.Errorf("%d were published", ok)
	}
}

func TestOnlyWhatIsThereIsPublished(t *testing.T) {
	s := artifacttest.NewService()
	p := artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop"}
	receive(t, s, "p", "one")
	if _, err := s.Publish(t.Context(), p, manifest("one", "two")); fault.CodeOf(err) != "chunks-missing" {
		t.Fatalf("%v", err)
	}
	if list, err := s.Of(t.Context(), "1"); err != nil || len(list) != 0 {
		t.Errorf("an artifact without all its chunks: %v %v", list, err)
	}
	if got := missing(t, s, "p", "one", "two"); got != "two" {
		t.Errorf("missing %s", got)
	}
	receive(t, s, "p", "two")
	a, err := s.Publish(t.Context(), p, manifest("one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := file(t, s, a); err != nil || text != "onetwo" {
		t.Errorf("%q %v", text, err)
	}
	// What one project has is not there for another, whatever it knows.
	if got := missing(t, s, "q", "one"); got != "one" {
		t.Error("a chunk of another project is said to be there")
	}
	p.ProjectID, p.RunID = "q", "2"
	if _, err := s.Publish(t.Context(), p, manifest("one")); fault.CodeOf(err) != "chunks-missing" {
		t.Errorf("an artifact of chunks of another project: %v", err)
	}
	lie := (&tree.Tree{Entries: []tree.Entry{{Path: "a", Kind: tree.File, Chunks: []tree.Chunk{{Digest: sha256.Sum256([]byte("one")), Size: 4}}}}}).Encode()
	p.ProjectID = "p"
	if _, err := s.Publish(t.Context(), p, lie); fault.CodeOf(err) != "artifact-manifest" {
		t.Errorf("a chunk of another size: %v", err)
	}
	for _, bad := range []string{"", "../p", "a/b", ".."} {
		if _, err := s.Missing(t.Context(), bad, nil); fault.CodeOf(err) != "invalid-name" {
			t.Errorf("project %q: %v", bad, err)
		}
	}
}

func TestBrokenDeliveries(t *testing.T) {
	whole := frames("one", "two", "three")
	for n := range whole {
		s := artifacttest.NewService()
		err := s.Receive(t.Context(), "p", bytes.NewReader(whole[:n]))
		end1, end2 := len(frames("one")), len(frames("one", "two"))
		want := map[bool]string{true: "one two three", false: "two three"}[n < end1]
		if n >= end2 {
			want = "three"
		}
		if got := missing(t, s, "p", "one", "two", "three"); got != want || (err == nil) != (n == 0 || n == end1 || n == end2) {
			t.Errorf("cut after %d bytes: missing %s, want %s; %v", n, got, want, err)
		}
	}
	s := artifacttest.NewService()
	altered := frames("one", "two")
	altered[len(altered)-1] ^= 1
	if err := s.Receive(t.Context(), "p", bytes.NewReader(altered)); fault.CodeOf(err) != "chunk-corrupt" || missing(t, s, "p", "one", "two") != "two" {
		t.Errorf("altered: %v", err)
	}
	large := binary.BigEndian.AppendUint32(make([]byte, 32), tree.MaxChunkSize+1)
	if err := s.Receive(t.Context(), "p", bytes.NewReader(large)); fault.CodeOf(err) != "chunk-size" {
		t.Errorf("large: %v", err)
	}
	if err := s.Receive(t.Context(), "p", bytes.NewReader(frames("one"))); err != nil {
		t.Errorf("only what is there: %v", err)
	}
}

// What was acknowledged is there after a start, and what was torn is not.
func TestAfterAStart(t *testing.T) {
	s := artifacttest.NewService()
	receive(t, s, "p", "one", "two")
	receive(t, s, "p", "three")
	a, err := s.Publish(t.Context(), artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop"}, manifest("two", "three"))
	if err != nil {
		t.Fatal(err)
	}
	restarted := func() *artifact.Service {
		return &artifact.Service{Artifacts: s.Artifacts, Uses: s.Uses, Tx: s.Tx, Blobs: s.Blobs}
	}
	next := restarted()
	if text, err := file(t, next, a); err != nil || text != "twothree" || missing(t, next, "p", "one", "four") != "four" {
		t.Errorf("%q %v", text, err)
	}
	blobs := s.Blobs.(*artifacttest.Blobs)
	for _, key := range packs(t, blobs) {
		for name, change := range map[string]func([]byte) []byte{
			"cut": func(b []byte) []byte { return b[:len(b)-1] }, "index": func(b []byte) []byte { b[len(b)-50] ^= 1; return b },
			"empty": func([]byte) []byte { return nil }, "number": func(b []byte) []byte { b[len(b)-12] = 0xff; return b },
		} {
			var was []byte
			blobs.Alter(key, func(b []byte) []byte { was = bytes.Clone(b); return change(b) })
			torn := restarted()
			if missing(t, torn, "p", "one", "two", "three") == "" {
				t.Errorf("%s: a torn pack is read", name)
			}
			if _, err := file(t, torn, a); fault.CodeOf(err) != "artifact-corrupt" {
				t.Errorf("%s: %v", name, err)
			}
			blobs.Alter(key, func([]byte) []byte { return was })
		}
	}
}

func packs(t *testing.T, b artifact.Blobs) []string {
	t.Helper()
	list, err := b.List(t.Context(), "artifacts/p/packs")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, x := range list {
		keys = append(keys, x.Key)
	}
	return keys
}

func TestAlteredOnTheDisk(t *testing.T) {
	s := artifacttest.NewService()
	receive(t, s, "p", "one", "two")
	a, err := s.Publish(t.Context(), artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop"}, manifest("one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := s.Zip(t.Context(), a, &whole); err != nil {
		t.Fatal(err)
	}
	if r, err := zip.NewReader(bytes.NewReader(whole.Bytes()), int64(whole.Len())); err != nil || len(r.File) != 1 {
		t.Errorf("%v", err)
	}
	blobs := s.Blobs.(*artifacttest.Blobs)
	flip := func(b []byte) []byte { b[4] ^= 1; return b }
	blobs.Alter(packs(t, blobs)[0], flip)
	if err := s.Zip(t.Context(), a, io.Discard); fault.CodeOf(err) != "artifact-corrupt" {
		t.Errorf("zip of an altered chunk: %v", err)
	}
	if _, err := file(t, s, a); fault.CodeOf(err) != "artifact-corrupt" {
		t.Errorf("an altered chunk: %v", err)
	}
	blobs.Alter("artifacts/p/trees/"+strings.TrimPrefix(a.Digest, "sha256:"), flip)
	if _, err := s.Manifest(t.Context(), a); fault.CodeOf(err) != "artifact-corrupt" {
		t.Errorf("an altered list of files: %v", err)
	}
	a.Format = ""
	if err := s.Zip(t.Context(), a, io.Discard); fault.CodeOf(err) != "artifact-format" {
		t.Errorf("an artifact of the first version: %v", err)
	}
}

func TestCollect(t *testing.T) {
	now := time.Now()
	s := artifacttest.NewService()
	s.Clock = func() time.Time { return now }
	s.Blobs.(*artifacttest.Blobs).Now = s.Clock
	// Two deliveries at once bring the same chunk twice: the first has written it
	// when the second begins, and is not done yet.
	slow, begun := io.Pipe()
	done := make(chan error)
	go func() { done <- s.Receive(t.Context(), "p", slow) }()
	twice, rest := frames("twice"), frames("rest")
	for _, part := range [][]byte{twice, rest[:1]} {
		if _, err := begun.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, s, "p", "twice", "used")
	receive(t, s, "p", "loose")
	if _, err := begun.Write(rest[1:]); err != nil {
		t.Fatal(err)
	}
	_ = begun.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(t.Context(), artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop"}, manifest("used", "twice"))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(artifact.LooseFor - time.Minute)
	receive(t, s, "p", "young")
	if n, err := s.Collect(t.Context()); err != nil || n != 0 || missing(t, s, "p", "loose", "used") != "" {
		t.Errorf("before its time: %d %v", n, err)
	}
	now = now.Add(2 * time.Minute)
	// After a start, the chunk that lies in two packs is found in the other one,
	// which is collected.
	next := &artifact.Service{Artifacts: s.Artifacts, Uses: s.Uses, Tx: s.Tx, Blobs: s.Blobs, Clock: s.Clock}
	if text, err := file(t, next, a); err != nil || text != "usedtwice" {
		t.Errorf("%q %v", text, err)
	}
	n, err := next.Collect(t.Context())
	if got := missing(t, next, "p", "loose", "rest", "used", "twice", "young"); err != nil || n != 2 || got != "loose rest" {
		t.Errorf("collected %d, missing %s, %v", n, got, err)
	}
	if text, err := file(t, next, a); err != nil || text != "usedtwice" {
		t.Errorf("%q %v", text, err)
	}
	if n, err := next.Collect(t.Context()); err != nil || n != 0 {
		t.Errorf("again: %d %v", n, err)
	}
}

// What arrived whole is kept, although nobody waits for the answer.
func TestReceiveOutlivesItsSender(t *testing.T) {
	s := artifacttest.NewService()
	ctx, cancel := context.WithCancel(t.Context())
	body, in := io.Pipe()
	done := make(chan error)
	go func() { done <- s.Receive(ctx, "p", body) }()
	if _, err := in.Write(frames("one")); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = in.CloseWithError(errors.New("gone"))
	if err := <-done; fault.CodeOf(err) != "upload-broken" || missing(t, s, "p", "one") != "" {
		t.Errorf("%v", err)
	}
}

func FuzzPack(f *testing.F) {
	s := artifacttest.NewService()
	if err := s.Receive(f.Context(), "p", bytes.NewReader(frames("one", "two"))); err != nil {
		f.Fatal(err)
	}
	list, err := s.Blobs.List(f.Context(), "artifacts/p/packs")
	if err != nil {
		f.Fatal(err)
	}
	blobs := s.Blobs.(*artifacttest.Blobs)
	blobs.Alter(list[0].Key, func(b []byte) []byte { f.Add(b); return b })
	f.Fuzz(func(t *testing.T, data []byte) {
		next := artifacttest.NewService()
		if err := next.Blobs.Put(t.Context(), "artifacts/p/packs/1", func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
			t.Fatal(err)
		}
		// Whatever a pack says: nothing outside of it is read.
		a, err := next.Publish(t.Context(), artifact.Publication{ProjectID: "p", RunID: "1", Name: "drop"}, manifest("one", "two"))
		if err != nil {
			return
		}
		if err := next.Zip(t.Context(), a, io.Discard); err != nil && fault.CodeOf(err) != "artifact-corrupt" {
			t.Fatal(err)
		}
	})
}
