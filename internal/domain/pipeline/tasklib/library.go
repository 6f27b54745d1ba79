package tasklib

import (
	"context"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Library is several stores that are looked through together.
type Library []Store

// Entries lists what the stores hold; a version that two of them have counts
// once, as the first has it.
func (l Library) Entries() ([]Entry, error) {
	var all []Entry
	seen := map[string]bool{}
	for _, s := range l {
		list, err := s.Entries()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if key := e.ID + "@" + e.Version.String(); !seen[key] {
				seen[key] = true
				all = append(all, e)
			}
		}
	}
	sortEntries(all)
	return all, nil
}

// Find returns the newest version that a step means by a name, a GUID or the
// full name of a contribution, and a version of one to three numbers.
func (l Library) Find(_ context.Context, name, version string) (*Task, error) {
	all, err := l.Entries()
	if err != nil {
		return nil, err
	}
	found, err := match(all, name, version)
	if err != nil {
		return nil, err
	}
	return found[0].Open()
}

// Near lists the tasks of the stores, and of others that are known, whose names
// look like the one that was not found.
func (l Library) Near(name string, others ...string) []string {
	candidates := slices.Clone(others)
	all, _ := l.Entries() // whoever asks has an error already
	for _, e := range all {
		candidates = append(candidates, e.Name)
	}
	return near(name, candidates)
}

func near(name string, candidates []string) []string {
	name = lastPart(name)
	var list []string
	lower := strings.ToLower(name)
	for _, c := range candidates {
		other := strings.ToLower(c)
		if len(lower) > 2 && (strings.Contains(other, lower) || strings.Contains(lower, other)) || syntax.Nearest(name, []string{c}) != "" {
			list = append(list, c)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// lastPart is the task's name at the end of the full name of a contribution.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// match picks the entries that a name and a version mean, the newest first; none
// is an error, and so are two different tasks.
func match(all []Entry, name, version string) ([]Entry, error) {
	named := byName(all, name)
	if len(named) == 0 {
		return nil, notFound(all, name, version)
	}
	ids := map[string]string{}
	for _, e := range named {
		ids[e.ID] = e.full()
	}
	if len(ids) > 1 {
		var full []string
		for _, f := range ids {
			full = append(full, f)
		}
		slices.Sort(full)
		return nil, fault.New(fault.Conflict, "task-ambiguous", "several tasks are called %s", name).Got("%s", strings.Join(full, ", ")).Try("name one of them in full")
	}
	var found []Entry
	var versions []string
	for _, e := range named {
		if e.Version.Matches(version) {
			found = append(found, e)
		}
		versions = append(versions, e.Version.String())
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, "task-version", "task %s has no version %s", named[0].Name, version).Want("%s", strings.Join(versions, ", ")).
			Try("penstock task add PACKAGE of that version")
	}
	return found, nil
}

// full names an entry so that nothing else is meant.
func (e Entry) full() string {
	if e.Contribution != "" {
		return e.Contribution + "." + e.Name
	}
	return e.ID
}

func byName(all []Entry, name string) []Entry {
	pick := func(fits func(Entry) bool) (list []Entry) {
		for _, e := range all {
			if fits(e) {
				list = append(list, e)
			}
		}
		return list
	}
	list := pick(func(e Entry) bool { return strings.EqualFold(e.Name, name) || strings.EqualFold(e.ID, name) })
	if len(list) == 0 && strings.Contains(name, ".") {
		list = pick(func(e Entry) bool {
			return e.Contribution != "" && (strings.EqualFold(e.Contribution, name) || strings.EqualFold(e.full(), name))
		})
	}
	if len(list) == 0 && strings.Count(name, ".") > 1 {
		// A task that was added from its folder does not know its extension.
		list = pick(func(e Entry) bool { return e.Contribution == "" && strings.EqualFold(e.Name, lastPart(name)) })
	}
	return list
}

func notFound(all []Entry, name, version string) error {
	ref := name
	if version != "" {
		ref += "@" + version
	}
	e := fault.New(fault.NotFound, "task-not-found", "there is no task %s", ref)
	var names []string
	for _, entry := range all {
		names = append(names, entry.Name)
	}
	if close := near(name, names); len(close) > 0 {
		return e.Try("did you mean %s? penstock task list shows what there is", strings.Join(close, " or "))
	}
	return e.Try("penstock task add PATH, ZIP or VSIX with the task")
}
