// Package tasks tells what the inputs of the service's tasks are, for those who
// run them.
package tasks

import "penstock.dev/penstock/internal/domain/pipeline/internal/catalog"

// Input is an input of a task.
type Input struct {
	Name    string
	Aliases []string
	Default string
	Path    bool // of a file or folder
}

// Inputs lists the inputs of a task in a version; none where the task is
// unknown.
func Inputs(name, version string) []Input {
	t, ok := catalog.Lookup(name, version)
	if !ok {
		return nil
	}
	list := make([]Input, 0, len(t.Inputs))
	for _, in := range t.Inputs {
		list = append(list, Input{Name: in.Name, Aliases: in.Aliases, Default: in.Default, Path: in.Type == "filePath"})
	}
	return list
}

// Name returns the plain name of a task that may be named by its GUID or by its
// contribution id; what is unknown stays.
func Name(name string) string {
	if versions := catalog.Versions(name); len(versions) > 0 {
		return versions[0].Name
	}
	return name
}
