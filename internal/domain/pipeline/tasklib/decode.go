package tasklib

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Bounds of a task.json. The largest of the known ones has 45 KB and 60 inputs.
const (
	maxDefinition = 4 << 20
	maxInputs     = 2000
)

// Parse reads a task.json. Files in the wild give numbers as texts, truths as
// numbers, and one thing where a list is meant; all of it is accepted as the
// service does.
func Parse(data []byte) (*Definition, error) {
	if len(data) > maxDefinition {
		return nil, fault.New(fault.Invalid, "task-definition", "the task.json is too large").Got("%d bytes", len(data)).Want("at most %d", maxDefinition)
	}
	var f file
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &f); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "task-definition", "the task.json cannot be read").Want("a JSON object")
	}
	if len(f.Inputs) > maxInputs {
		return nil, fault.New(fault.Invalid, "task-definition", "the task.json has too many inputs").Got("%d", len(f.Inputs)).Want("at most %d", maxInputs)
	}
	d := f.definition()
	return d, d.check()
}

// file is a task.json as it is written. Keys are matched ignoring case, as
// encoding/json does.
type file struct {
	ID                  text
	Name                text
	FriendlyName        text
	Description         text
	Author              text
	HelpURL             text
	HelpMarkDown        text
	Version             struct{ Major, Minor, Patch number }
	InstanceNameFormat  text
	MinimumAgentVersion text
	Deprecated          truth
	DeprecationMessage  text
	RunsOn              texts
	Demands             texts
	Inputs              []fileInput
	Groups              []struct{ Name, VisibleRule text }
	OutputVariables     []struct{ Name, Description text }
	Restrictions        *struct {
		Commands          struct{ Mode text }
		SettableVariables *struct{ Allowed texts }
	}
	PreJobExecution  handlers
	Execution        handlers
	PostJobExecution handlers
}

type fileInput struct {
	Name         text
	Aliases      texts
	Type         text
	Label        text
	DefaultValue text
	Required     truth
	VisibleRule  text
	GroupName    text
	Options      options
}

func (f *file) definition() *Definition {
	d := &Definition{ID: strings.ToLower(strings.TrimSpace(string(f.ID))), Name: strings.TrimSpace(string(f.Name)), FriendlyName: string(f.FriendlyName),
		Description: string(f.Description), Author: string(f.Author), Help: string(f.HelpURL),
		Version:            Version{int(f.Version.Major), int(f.Version.Minor), int(f.Version.Patch)},
		InstanceNameFormat: string(f.InstanceNameFormat), MinimumAgentVersion: string(f.MinimumAgentVersion), Deprecated: bool(f.Deprecated),
		DeprecationMessage: string(f.DeprecationMessage), RunsOn: f.RunsOn, Demands: f.Demands, Inputs: []Input{},
		PreJob: f.PreJobExecution, Main: f.Execution, PostJob: f.PostJobExecution}
	if d.Help == "" {
		d.Help = string(f.HelpMarkDown)
	}
	groups := map[text]text{}
	for _, g := range f.Groups {
		groups[g.Name] = g.VisibleRule
	}
	for _, in := range f.Inputs {
		if name := strings.TrimSpace(string(in.Name)); name != "" {
			d.Inputs = append(d.Inputs, Input{name, in.Aliases, string(in.Type), string(in.Label), string(in.DefaultValue), bool(in.Required), string(in.VisibleRule), string(groups[in.GroupName]), in.Options})
		}
	}
	for _, o := range f.OutputVariables {
		if o.Name != "" {
			d.OutputVariables = append(d.OutputVariables, Output{string(o.Name), string(o.Description)})
		}
	}
	if r := f.Restrictions; r != nil {
		d.Restrictions = &Restrictions{Commands: strings.ToLower(string(r.Commands.Mode))}
		if r.SettableVariables != nil {
			d.Restrictions.Limited, d.Restrictions.Variables = true, r.SettableVariables.Allowed
		}
	}
	return d
}

// text takes any scalar.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		var s string
		err := json.Unmarshal(data, &s)
		*t = text(s)
		return err
	case '{', '[', 'n':
		*t = "" // a comment somebody left, or null
	default:
		*t = text(data)
	}
	return nil
}

// truth takes true and "true".
type truth bool

func (b *truth) UnmarshalJSON(data []byte) error {
	*b = truth(strings.EqualFold(strings.Trim(string(data), `" `), "true"))
	return nil
}

// number takes 2 and "2"; -1 stands for what is neither.
type number int

func (n *number) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseUint(strings.Trim(string(data), `" `), 10, 31)
	*n = number(v)
	if err != nil {
		*n = -1
	}
	return nil
}

// texts takes a list of scalars, and one scalar for a list.
type texts []string

func (l *texts) UnmarshalJSON(data []byte) error {
	*l = nil
	if data[0] != '[' {
		data = slices.Concat([]byte("["), data, []byte("]"))
	}
	var list []text
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, t := range list {
		if t != "" {
			*l = append(*l, string(t))
		}
	}
	return nil
}

// handlers takes the object of handlers. Their order in the file means nothing.
type handlers []Handler

func (h *handlers) UnmarshalJSON(data []byte) error {
	*h = nil
	if data[0] != '{' {
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	for kind, value := range raw {
		var v struct {
			Target, WorkingDirectory, ArgumentFormat text
			Platforms                                texts
		}
		if value[0] == '{' {
			if err := json.Unmarshal(value, &v); err != nil {
				return err
			}
		}
		*h = append(*h, Handler{kind, string(v.Target), string(v.WorkingDirectory), string(v.ArgumentFormat), v.Platforms})
	}
	slices.SortFunc(*h, func(a, b Handler) int { return strings.Compare(a.Kind, b.Kind) })
	return nil
}

// options takes an object of value and label, in the order of the file, and a
// list of values.
type options []Option

func (o *options) UnmarshalJSON(data []byte) error {
	*o = nil
	if data[0] != '{' {
		var list texts
		err := list.UnmarshalJSON(data)
		for _, v := range list {
			*o = append(*o, Option{Value: v})
		}
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var label text
		if err := dec.Decode(&label); err != nil {
			return err
		}
		value, _ := key.(string)
		*o = append(*o, Option{value, string(label)})
	}
	return nil
}
