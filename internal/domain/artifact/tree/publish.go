package tree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Sink takes the content of an artifact.
type Sink interface {
	// Missing says of each chunk whether it has to be sent.
	Missing(ctx context.Context, chunks []Chunk) ([]bool, error)
	// Send delivers frames of chunks, size bytes in all. After an error some of
	// them may have been kept.
	Send(ctx context.Context, frames io.Reader, size int64) error
	// Commit publishes the manifest. The error chunks-missing asks for another
	// round.
	Commit(ctx context.Context, manifest []byte) error
}

// Transfer has the settings of a transfer; its zero value is usable.
type Transfer struct {
	// Pause ends before the next attempt, 1 or higher; nil = up to 5 seconds.
	Pause func(ctx context.Context, attempt int) error
}

// The bounds of patience and memory. A transfer that makes progress goes on; one
// that makes none is given up after some attempts.
const (
	attempts  = 6
	rounds    = 3 // of a publication whose chunks were collected meanwhile
	workers   = 4 // batches at once
	batchSize = 8 << 20
)

func (x Transfer) pause(ctx context.Context, attempt int) error {
	if x.Pause != nil {
		return x.Pause(ctx, attempt)
	}
	timer := time.NewTimer(Patience(attempt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Patience is how long to wait before an attempt, 1 or higher.
func Patience(attempt int) time.Duration { return min(5*time.Second, 100*time.Millisecond<<attempt) }

// Published is what a publication did.
type Published struct {
	Digest Digest
	Files  int   // and links
	Bytes  int64 // of all files
	Sent   int64 // bytes that the sink did not have
}

// Publish sends a file, or what a folder holds, and commits it. Files are read
// once, in batches; of each batch the sink is asked first what it lacks.
func (x Transfer) Publish(ctx context.Context, source string, keep func(rel string, dir bool) bool, to Sink) (Published, error) {
	for round := 1; ; round++ {
		p := publication{Transfer: x, to: to, claimed: map[Digest]bool{}}
		t, err := p.content(ctx, source, keep)
		if err != nil {
			return Published{}, err
		}
		if err := t.Check(); err != nil {
			return Published{}, err
		}
		manifest := t.Encode()
		if len(manifest) > MaxManifest {
			return Published{}, tooLarge("bytes in its list of files", MaxManifest)
		}
		if err = to.Commit(ctx, manifest); fault.CodeOf(err) == "chunks-missing" && round < rounds {
			continue
		}
		files, size := t.Totals()
		return Published{DigestOf(manifest), files, size, p.sent}, err
	}
}

type publication struct {
	Transfer
	to Sink

	mu      sync.Mutex
	claimed map[Digest]bool // some batch sees to it
	sent    int64
}

// content reads and sends all files, several batches at once.
func (p *publication) content(ctx context.Context, source string, keep func(string, bool) bool) (*Tree, error) {
	list, err := scan(source, keep)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan []*scanned)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			b := &batch{p: p}
			for group := range work {
				if err := b.files(ctx, group); err != nil {
					cancel(err)
				}
			}
		})
	}
	feed(ctx, list, work)
	close(work)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	t := &Tree{Entries: make([]Entry, 0, len(list))}
	for i := range list {
		t.Entries = append(t.Entries, list[i].Entry)
	}
	return t, nil
}

// feed hands out groups of small files, and large ones alone.
func feed(ctx context.Context, list []scanned, work chan<- []*scanned) {
	var group []*scanned
	var size int64
	flush := func() {
		if len(group) > 0 {
			select {
			case work <- group:
			case <-ctx.Done():
			}
		}
		group, size = nil, 0
	}
	for i := range list {
		f := &list[i]
		if f.Kind != File {
			continue
		}
		if f.size > batchSize/2 {
			select {
			case work <- []*scanned{f}:
			case <-ctx.Done():
			}
			continue
		}
		if size += f.size + frameHead; size > batchSize || len(group) >= MaxFrames/2 {
			flush()
			size = f.size + frameHead
		}
		group = append(group, f)
	}
	flush()
}

// batch holds frames until there are enough of them to ask for and send.
type batch struct {
	p      *publication
	buf    []byte // frames, one after the other
	chunks []Chunk
	window []byte // of a large file
}

func (b *batch) files(ctx context.Context, group []*scanned) error {
	for _, f := range group {
		if ctx.Err() != nil {
			return nil // the cause is known
		}
		if err := b.file(ctx, f); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// file reads a file as it is now: its size may differ from what the scan saw.
func (b *batch) file(ctx context.Context, f *scanned) error {
	in, err := os.Open(f.file)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if f.size > minChunk {
		return b.large(ctx, f, in)
	}
	// One byte of room more, to see whether the file grew.
	room := int(f.size) + 1
	frame, err := b.room(ctx, room)
	if err != nil {
		return err
	}
	switch n, err := io.ReadFull(in, frame[frameHead:]); {
	case err == nil: // it grew
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return b.large(ctx, f, in)
	case err == io.EOF:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		b.add(f, frame[:frameHead+n])
		return nil
	default:
		return err
	}
}

// large cuts a file where its content says so.
func (b *batch) large(ctx context.Context, f *scanned, in io.Reader) error {
	if b.window == nil {
		b.window = make([]byte, 2*MaxChunkSize)
	}
	from, to, end := 0, 0, false
	for {
		if !end && to-from < MaxChunkSize {
			to, from = copy(b.window, b.window[from:to]), 0
			n, err := io.ReadFull(in, b.window[to:])
			if end = err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !end {
				return err
			}
			to += n
		}
		if from == to {
			return nil
		}
		n := cut(b.window[from:min(to, from+MaxChunkSize)])
		frame, err := b.room(ctx, n)
		if err != nil {
			return err
		}
		copy(frame[frameHead:], b.window[from:from+n])
		from += n
		if b.add(f, frame); len(f.Chunks) > MaxChunks {
			return tooLarge("chunks", MaxChunks)
		}
	}
}

// room returns a place for a frame of n bytes at the end of the batch.
func (b *batch) room(ctx context.Context, n int) ([]byte, error) {
	if b.buf == nil {
		b.buf = make([]byte, 0, batchSize)
	}
	if len(b.buf)+frameHead+n > cap(b.buf) || len(b.chunks) == MaxFrames {
		if err := b.flush(ctx); err != nil {
			return nil, err
		}
	}
	return b.buf[len(b.buf) : len(b.buf)+frameHead+n], nil
}

// add makes a frame part of the batch, unless some batch has its chunk.
func (b *batch) add(f *scanned, frame []byte) {
	c := Chunk{Digest: sha256.Sum256(frame[frameHead:]), Size: len(frame) - frameHead}
	f.Chunks = append(f.Chunks, c)
	b.p.mu.Lock()
	claimed := b.p.claimed[c.Digest]
	b.p.claimed[c.Digest] = true
	b.p.mu.Unlock()
	if claimed {
		return
	}
	putHead(frame, c)
	b.buf, b.chunks = b.buf[:len(b.buf)+len(frame)], append(b.chunks, c)
}

// flush asks which chunks of the batch are missing and sends those, until none
// is. What arrived before a connection broke is not sent again.
func (b *batch) flush(ctx context.Context) error {
	defer func() { b.buf, b.chunks = b.buf[:0], b.chunks[:0] }()
	least := len(b.chunks) + 1
	for attempt := 0; len(b.chunks) > 0; {
		missing, err := b.p.to.Missing(ctx, b.chunks)
		if err != nil {
			return err
		}
		lack, body, size := b.pick(missing)
		if lack == 0 {
			return nil
		}
		if err = b.p.to.Send(ctx, body, size); err == nil {
			b.p.mu.Lock()
			b.p.sent += size - int64(lack)*frameHead
			b.p.mu.Unlock()
			return nil
		}
		if fault.KindOf(err) != fault.Unavailable {
			return err
		}
		if lack < least {
			attempt, least = 0, lack
		}
		if attempt++; attempt >= attempts {
			return err
		}
		if perr := b.p.pause(ctx, attempt); perr != nil {
			return errors.Join(err, perr)
		}
	}
	return nil
}

// pick returns the frames that are missing; those side by side are one read.
func (b *batch) pick(missing []bool) (lack int, body io.Reader, size int64) {
	var parts []io.Reader
	from, at := 0, 0
	end := func() {
		if at > from {
			parts = append(parts, bytes.NewReader(b.buf[from:at]))
			size += int64(at - from)
		}
	}
	for i, c := range b.chunks {
		next := at + frameHead + c.Size
		if missing[i] {
			lack++
		} else {
			end()
			from = next
		}
		at = next
	}
	end()
	if len(parts) == 1 {
		return lack, parts[0], size
	}
	return lack, io.MultiReader(parts...), size
}
