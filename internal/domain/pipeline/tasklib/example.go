package tasklib

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Example is a step that calls the task: every input that counts with the
// defaults, those that must be there first, with what it may be beside it.
func (d *Definition) Example() string {
	var b strings.Builder
	fmt.Fprintf(&b, "- task: %s@%d\n", d.Name, d.Version.Major)
	values := d.Values(nil, func(s string) string { return s })
	var needed, others []string
	for _, in := range d.Inputs {
		if !d.Visible(in.Name, values) {
			continue
		}
		line := fmt.Sprintf("    %s: %s # %s", oneLine(in.spoken()), scalar(in.Default), in.kind())
		if in.Required {
			needed = append(needed, line+", required")
		} else {
			others = append(others, line)
		}
	}
	if len(needed)+len(others) > 0 {
		b.WriteString("  inputs:\n" + strings.Join(append(needed, others...), "\n") + "\n")
	}
	return b.String()
}

// spoken is the name that pipelines mostly write: the first alias if there is
// one.
func (in *Input) spoken() string {
	if len(in.Aliases) > 0 {
		return in.Aliases[0]
	}
	return in.Name
}

func (in *Input) kind() string {
	if len(in.Options) == 0 {
		return oneLine(in.Type)
	}
	var values []string
	for _, o := range in.Options {
		values = append(values, oneLine(o.Value))
	}
	return strings.Join(values, " | ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// scalar writes a value so that YAML reads the same, on one line.
func scalar(text string) string {
	node := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if strings.ContainsAny(text, "\n\r\t") || text == "" {
		node.Style = yaml.DoubleQuotedStyle
	}
	// Long lines are kept: the dumper would break them.
	out, err := yaml.Marshal(&node)
	if line := strings.TrimSuffix(string(out), "\n"); err == nil && !strings.Contains(line, "\n") {
		return line
	}
	return fmt.Sprintf("%q", text)
}
