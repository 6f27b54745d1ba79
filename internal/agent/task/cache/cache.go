package cache

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/agent/pack"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
	"penstock.dev/penstock/internal/domain/run"
)

func init() {
	task.Register(&task.Task{Name: "Cache", Major: []string{"2"}, Run: restore, After: save})
	task.Register(&task.Task{Name: "CacheBeta", Major: []string{"0", "1"}, Run: restore, After: save}) // its older name
}

// stateKey is where the parts of a step tell each other what to save.
const stateKey = "cache.key" // JSON of the segments

func store(c *task.Context) Store { return &Folder{Dir: c.CacheDir, Now: time.Now} }

// scopes are where a run looks, its own first; only that one is written. A run
// of a branch also sees main's caches, one of a pull request its source's and
// its target's.
func scopes(c *task.Context) []string {
	var list []string
	add := func(branch string) {
		if branch == "" {
			return
		}
		if !strings.HasPrefix(branch, "refs/") {
			branch = "refs/heads/" + branch
		}
		list = append(list, c.Job.PipelineID+"\n"+branch)
	}
	get := func(name string) string {
		v, _ := c.Lookup(name)
		return v
	}
	if add(get("Build.SourceBranch")); len(list) == 0 {
		add("local")
	}
	if get("Build.Reason") == "PullRequest" || get("System.PullRequest.PullRequestId") != "" {
		if !strings.EqualFold(get("System.PullRequest.IsFork"), "true") {
			add(get("System.PullRequest.SourceBranch"))
		}
		add(get("System.PullRequest.TargetBranch"))
	}
	add("main")
	add("master")
	return list
}

// written reads the inputs that say under which keys to look: the key itself
// first. A key of several lines is the old form of one with bars.
func written(c *task.Context) (keys [][]string, err error) {
	key, err := c.Need("key")
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(c.Inputs["restorekeys"]) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if strings.Contains(key, "\n") {
		const old = "a key of several lines is the old form"
		if len(lines) > 0 {
			return nil, fault.New(fault.Invalid, "cache-key", old+", which has no restore keys").Try("write the key in one line, with a | between its segments")
		}
		c.Warn("%s; write it in one line, with a | between its segments", old)
		var parts []string
		for line := range strings.Lines(key) {
			if line = strings.TrimSpace(line); line != "" {
				if err := check(key, line); err != nil {
					return nil, err
				}
				parts = append(parts, line)
			}
		}
		return [][]string{parts}, nil
	}
	for _, k := range append([]string{key}, lines...) {
		parts, err := split(k)
		if err != nil {
			return nil, err
		}
		keys = append(keys, parts)
	}
	return keys, nil
}

func restore(_ context.Context, c *task.Context) error {
	lists, err := written(c)
	if err != nil {
		return err
	}
	if _, err := c.Need("path"); err != nil {
		return err
	}
	base, _ := c.Lookup("System.DefaultWorkingDirectory")
	salt, _ := c.Lookup("AZP_CACHING_SALT")
	keys, prefixes := [][]string{}, []bool{}
	for i, list := range lists {
		c.Print(map[bool]string{true: "Resolving key:", false: "Resolving restore key:"}[i == 0])
		parts, err := segments(list, base, salt, func(line string) { c.Print(line) })
		if err != nil {
			return err
		}
		resolved := "Resolved to: " + strings.Join(parts, "|")
		if i > 0 {
			resolved += "|**"
		}
		c.Print(resolved)
		keys, prefixes = append(keys, parts), append(prefixes, i > 0)
	}
	exact := keys[0]
	hit := find(c, keys, prefixes)
	if hit != "true" {
		data, err := json.Marshal(exact)
		if err != nil {
			return err
		}
		c.State[stateKey] = string(data)
	}
	if name := c.Input("cacheHitVar"); name != "" {
		c.SetVariable(name, hit, false)
	}
	return nil
}

// find looks for the keys in order, each in all scopes, and unpacks the first
// hit. A store that does not work is a warning: a cache only saves time.
func find(c *task.Context, keys [][]string, prefixes []bool) string {
	for i, key := range keys {
		for _, scope := range scopes(c) {
			e, err := store(c).Find(scope, key, prefixes[i])
			if err == nil && e != nil {
				if err = unpack(c, e); err == nil {
					if i == 0 {
						return "true"
					}
					c.Print("There is no cache for the key itself; one for a restore key is used.")
					return "inexact"
				}
			}
			if err != nil {
				c.Warn("The cache could not be restored: %s", err)
				return "false"
			}
		}
	}
	c.Print("There is no cache for this key.")
	return "false"
}

func unpack(c *task.Context, e *Entry) error {
	to := c.Path(c.Input("path"))
	in, err := store(c).Open(e)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	z, err := gzip.NewReader(bufio.NewReader(in))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	n, err := pack.Untar(z, to, pack.Options{Limits: rootfs.DefaultLimits})
	if err == nil {
		c.Printf("Restored %d files of %s to %s", n, e.Created.UTC().Format(time.RFC3339), to)
	}
	return err
}

// save keeps the folder when the job has succeeded and nothing was found under
// the key itself.
func save(_ context.Context, c *task.Context) error {
	var key []string
	if json.Unmarshal([]byte(c.State[stateKey]), &key) != nil {
		c.Print("Nothing to save: the cache was there, or was not looked for.")
		return nil
	}
	withIssues, _ := c.Lookup("AZP_CACHING_SAVE_ON_ISSUES")
	partial := c.Bool("saveOnPartialSuccess") || strings.EqualFold(withIssues, "true")
	if c.JobResult != run.Succeeded && (c.JobResult != run.SucceededWithIssues || !partial) {
		c.Printf("Not saved: only a job that succeeds fills a cache, and this one is %s.", c.JobResult)
		return nil
	}
	from := c.Path(c.Input("path"))
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return fault.New(fault.Invalid, "no-path", "the folder to cache does not exist: %s", from).Try("check the input path; the steps of the job should have made it")
	}
	err := store(c).Save(scopes(c)[0], key, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<20)
		z, err := gzip.NewWriterLevel(b, gzip.BestSpeed)
		if err != nil {
			return err
		}
		if err := pack.Tar(z, from, ""); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		return b.Flush()
	})
	if err != nil {
		c.Warn("The cache could not be saved: %s", err)
		return nil
	}
	c.Printf("Saved %s", filepath.ToSlash(from))
	return nil
}
