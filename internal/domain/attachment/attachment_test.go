package attachment

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
	"penstock.dev/penstock/internal/domain/artifact/artifacttest"
)

func newService() *Service {
	tx := &memstore.Runner{}
	return &Service{Attachments: memstore.NewTable[Attachment](tx, "Attachment"), Blobs: &artifacttest.Blobs{}, Tx: tx}
}

func TestPutReplacesOfTheSameStep(t *testing.T) {
	s, ctx := newService(), t.Context()
	put := func(a Attachment, text string) {
		t.Helper()
		a.RunID = "1"
		if err := s.Put(ctx, &a, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(Attachment{JobID: "j", Step: 1, Type: "distributedtask.core.SUMMARY", Name: "a.md"}, "one")
	put(Attachment{JobID: "j", Step: 1, Type: Summary, Name: "A.md"}, "two")
	put(Attachment{JobID: "j", Step: 2, Type: Summary, Name: "a.md"}, "three")
	put(Attachment{JobID: "j", Step: 2, Type: "report", Name: "a.md"}, "four")
	list, err := s.OfType(ctx, "1", "DISTRIBUTEDTASK.core.summary")
	if err != nil || len(list) != 2 || list[0].Type != Summary {
		t.Fatalf("%v %v", list, err)
	}
	got, err := s.Find(ctx, "1", Record("j", 1), Summary, "a.md")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := s.Text(ctx, got); err != nil || text != "two" || got.Size != 3 {
		t.Errorf("%q %v", text, err)
	}
	if _, err := s.Find(ctx, "1", Record("j", 3), Summary, "a.md"); fault.CodeOf(err) != "attachment-not-found" {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "2", got.ID); fault.CodeOf(err) != "attachment-not-found" {
		t.Errorf("of another run: %v", err)
	}
}

func TestBounds(t *testing.T) {
	s, ctx := newService(), t.Context()
	for name, c := range map[string]struct {
		a    Attachment
		size int64
		code string
	}{
		"largest summary":   {Attachment{JobID: "j", Step: 1, Type: Summary, Name: "a"}, MaxSummary, ""},
		"too large summary": {Attachment{JobID: "j", Step: 1, Type: strings.ToLower(Summary), Name: "a"}, MaxSummary + 1, "attachment-too-large"},
		"too large":         {Attachment{JobID: "j", Step: 1, Type: "x", Name: "a"}, MaxSize + 1, "attachment-too-large"},
		"no job":            {Attachment{Step: 1, Type: "x", Name: "a"}, 1, "attachment-step"},
		"no step":           {Attachment{JobID: "j", Type: "x", Name: "a"}, 1, "attachment-step"},
		"path":              {Attachment{JobID: "j", Step: 1, Type: "x", Name: "../a"}, 1, "attachment-name"},
		"up":                {Attachment{JobID: "j", Step: 1, Type: "..", Name: "a"}, 1, "attachment-name"},
		"line":              {Attachment{JobID: "j", Step: 1, Type: "x", Name: "a\nb"}, 1, "attachment-name"},
		"long":              {Attachment{JobID: "j", Step: 1, Type: "x", Name: strings.Repeat("a", 256)}, 1, "attachment-name"},
	} {
		c.a.RunID = "1"
		err := s.Put(ctx, &c.a, io.LimitReader(zeros{}, c.size))
		if got := fault.CodeOf(err); err != nil && got != c.code || err == nil && c.code != "" {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	for i := range MaxPerJob {
		a := &Attachment{ID: fmt.Sprint(i), RunID: "2", JobID: "j", Step: 1, Type: "x", Name: fmt.Sprint(i)}
		a.Key = a.key()
		if err := s.Attachments.Insert(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"one more": "too-many-attachments", "7": ""} { // what is there may be replaced
		err := s.Put(ctx, &Attachment{RunID: "2", JobID: "j", Step: 1, Type: "x", Name: name}, strings.NewReader(""))
		if err != nil && fault.CodeOf(err) != want || err == nil && want != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Put(ctx, &Attachment{RunID: "2", JobID: "other", Step: 1, Type: "x", Name: "a"}, strings.NewReader("")); err != nil {
		t.Errorf("another job: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// What a store holds is checked when it is read, and goes when it is replaced.
func TestContentIsChecked(t *testing.T) {
	s, ctx := newService(), t.Context()
	blobs := s.Blobs.(*artifacttest.Blobs)
	a := &Attachment{RunID: "1", JobID: "j", Step: 1, Type: Summary, Name: "a.md"}
	if err := s.Put(ctx, a, strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
	blobs.Alter(a.Blob, func(data []byte) []byte { return append([]byte("T"), data[1:]...) })
	if _, err := s.Text(ctx, a); fault.CodeOf(err) != "attachment-corrupt" {
		t.Errorf("altered content: %v", err)
	}
	old := a.Blob
	if err := s.Put(ctx, a, strings.NewReader("again")); err != nil {
		t.Fatal(err)
	}
	if _, err := blobs.Open(ctx, old); !fault.Is(err, fault.NotFound) {
		t.Errorf("what was replaced is still there: %v", err)
	}
}
