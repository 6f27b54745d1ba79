// Command taskcatalog writes the facts about the tasks of the service: names,
// versions and inputs, but none of their texts. It reads a git directory of
// microsoft/azure-pipelines-tasks and prints one task and major version a line:
//
//	go run ./taskcatalog GITDIR > ../internal/domain/pipeline/internal/catalog/tasks.jsonl
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
)

// source is what is read of a task.json.
type source struct {
	ID         string
	Name       string
	Deprecated bool
	Version    struct{ Major, Minor, Patch json.Number }
	Groups     []struct{ Name, VisibleRule string }
	Inputs     []struct {
		Name, Type, GroupName, VisibleRule string
		Aliases                            []string
		Required                           any
		DefaultValue                       any
		Options                            map[string]any
		Properties                         map[string]any
	}
}

// Task is one line of the catalogue; see its reader for the meaning.
type Task struct {
	Name       string  `json:"n"`
	ID         string  `json:"i"`
	Version    string  `json:"v"`
	Deprecated bool    `json:"x,omitempty"`
	Inputs     []Input `json:"in,omitempty"`
}

// Input is an input of a task.
type Input struct {
	Name       string   `json:"n"`
	Aliases    []string `json:"a,omitempty"`
	Type       string   `json:"t"`
	Required   bool     `json:"r,omitempty"`
	Default    string   `json:"d,omitempty"`
	HasDefault bool     `json:"h,omitempty"` // it is too long to be kept
	Options    []string `json:"o,omitempty"`
	Open       bool     `json:"e,omitempty"` // other values than the options are fine
	Visible    []string `json:"w,omitempty"`
}

const longestDefault = 60

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: taskcatalog GITDIR"))
	}
	repo := os.Args[1]
	list, err := git(repo, "ls-tree", "-r", "--name-only", "HEAD", "Tasks")
	fail(err)
	newest := map[string]source{}
	for _, path := range strings.Split(string(list), "\n") {
		if strings.Count(path, "/") != 2 || !strings.HasSuffix(path, "/task.json") {
			continue
		}
		text, err := git(repo, "show", "HEAD:"+path)
		fail(err)
		var t source
		if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &t); err != nil {
			fail(fmt.Errorf("%s: %w", path, err))
		}
		key := strings.ToLower(t.Name) + "@" + t.Version.Major.String()
		if old, ok := newest[key]; !ok || less(old, t) {
			newest[key] = t
		}
	}
	keys := make([]string, 0, len(newest))
	for key := range newest {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	out := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, key := range keys {
		fail(enc.Encode(facts(newest[key])))
	}
	fail(out.Flush())
}

func less(a, b source) bool {
	number := func(n json.Number) int64 { i, _ := n.Int64(); return i }
	if x, y := number(a.Version.Minor), number(b.Version.Minor); x != y {
		return x < y
	}
	return number(a.Version.Patch) < number(b.Version.Patch)
}

func facts(s source) Task {
	t := Task{Name: s.Name, ID: strings.ToLower(s.ID), Deprecated: s.Deprecated}
	t.Version = s.Version.Major.String() + "." + s.Version.Minor.String() + "." + s.Version.Patch.String()
	groups := map[string]string{}
	for _, g := range s.Groups {
		groups[g.Name] = g.VisibleRule
	}
	for _, in := range s.Inputs {
		kind, _, _ := strings.Cut(in.Type, ":")
		i := Input{Name: in.Name, Type: kind, Aliases: in.Aliases, Required: fmt.Sprint(in.Required) == "true"}
		if text := fmt.Sprint(in.DefaultValue); in.DefaultValue != nil && text != "" {
			if len(text) <= longestDefault && !strings.Contains(text, "\n") {
				i.Default = text
			} else {
				i.HasDefault = true
			}
		}
		for option := range in.Options {
			i.Options = append(i.Options, option)
		}
		slices.Sort(i.Options)
		i.Open = len(i.Options) > 0 && strings.EqualFold(fmt.Sprint(in.Properties["EditableOptions"]), "true")
		for _, rule := range []string{in.VisibleRule, groups[in.GroupName]} {
			if rule = strings.TrimSpace(rule); rule != "" {
				i.Visible = append(i.Visible, rule)
			}
		}
		t.Inputs = append(t.Inputs, i)
	}
	return t
}

func git(repo string, args ...string) ([]byte, error) {
	return exec.Command("git", append([]string{"--git-dir", repo}, args...)...).Output()
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "taskcatalog:", err)
		os.Exit(1)
	}
}
