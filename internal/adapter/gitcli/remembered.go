package gitcli

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// remembered keeps what git said of commits, which never change: a run reads the
// same few files several times. It forgets everything when it is full.
type remembered struct {
	mu    sync.Mutex
	known map[string][]byte
	size  int
}

// Bounds of what is remembered, in bytes: in all, and of one answer.
const (
	maxRemembered = 16 << 20
	maxAnswer     = 1 << 20
)

func (r *remembered) get(key string) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, ok := r.known[key]
	return data, ok
}

func (r *remembered) put(key string, data []byte) {
	if len(data) > maxAnswer {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size += len(key) + len(data); r.known == nil || r.size > maxRemembered {
		r.known, r.size = map[string][]byte{}, len(key)+len(data)
	}
	r.known[key] = data
}

// Adopt takes over what another Git remembers of a repository that has moved
// here under another id.
func (g *Git) Adopt(from *Git, fromID, toID string) {
	from.seen.mu.Lock()
	defer from.seen.mu.Unlock()
	for key, data := range from.seen.known {
		g.seen.put(strings.Replace(key, fromID, toID, 1), data)
	}
}

func blobKey(repoID, commit, path string) string { return "blob " + repoID + " " + commit + ":" + path }

func historyKey(repoID string, args []string) string { return repoID + " " + strings.Join(args, " ") }

// Learn asks for a commit and a file of it in one call, so that Commits and
// ReadFile know them. What it cannot learn they ask for themselves.
func (g *Git) Learn(ctx context.Context, repoID, commit, path string) {
	if strings.Contains(path, "\n") || !commitID.MatchString(commit) {
		return
	}
	out, err := g.run(ctx, repoID, strings.NewReader(commit+"\n"+commit+":"+path+"\n"), "cat-file", "--batch")
	if err != nil {
		return
	}
	object, rest, ok := nextObject(out, "commit")
	if record, known := logRecord(commit, object); ok && known {
		g.seen.put(historyKey(repoID, append(logOf(1), commit, "--")), []byte(record))
	}
	if blob, _, ok := nextObject(rest, "blob"); ok {
		g.seen.put(blobKey(repoID, commit, path), bytes.Clone(blob))
	}
}

// nextObject takes the first object, of the given type, from what cat-file
// --batch has written: a line with id, type and size, and the content.
func nextObject(out []byte, kind string) (content, rest []byte, ok bool) {
	line, rest, _ := bytes.Cut(out, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) != 3 {
		return nil, rest, false // missing
	}
	size, err := strconv.Atoi(f[2])
	if err != nil || size < 0 || size >= len(rest) {
		return nil, nil, false
	}
	return rest[:size], rest[size+1:], f[1] == kind
}

// logRecord is a commit as logOf has it; not known where git would turn the text
// into another encoding.
func logRecord(id string, object []byte) (record string, known bool) {
	head, message, ok := strings.Cut(string(object), "\n\n")
	if !ok {
		return "", false
	}
	var parents []string
	author := ""
	for line := range strings.Lines(head) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); key {
		case "parent":
			parents = append(parents, value)
		case "author":
			author = value
		case "encoding":
			return "", false
		}
	}
	name, rest, named := strings.Cut(author, " <")
	email, at, dated := strings.Cut(rest, "> ")
	if !named || !dated {
		return "", false
	}
	seconds, _, _ := strings.Cut(at, " ")
	return fmt.Sprintf("%s\x1f%s\x1f%s\x1f%s\x1f%s\x1f%s\x00", id, strings.Join(parents, " "), name, email, seconds, message), true
}
