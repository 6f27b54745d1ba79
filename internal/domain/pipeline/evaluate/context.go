package evaluate

import (
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// Context is what an expression can read.
type Context struct {
	names     []string // in lower case, of values
	values    []expression.Value
	variables *expression.Map
	status    pipeline.Result
	canceled  bool
	start     time.Time
	started   bool // start was given
}

// ParseContext reads a context: an object with the members parameters,
// variables, dependencies, stageDependencies, pipeline and resources, further
// named values, and status and canceled of what the expression stands in.
func ParseContext(raw []byte) (*Context, error) {
	c := &Context{variables: expression.NewMap(), status: pipeline.Succeeded}
	if len(raw) == 0 {
		return c, nil
	}
	v, err := readJSON(raw)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "context-unreadable", "the context is not JSON").Want("an object")
	}
	if v == nil {
		return c, nil
	}
	object, ok := v.(*expression.Map)
	if !ok {
		return nil, fault.New(fault.Invalid, "context-unreadable", "the context is not an object").Got("%s", expression.TypeName(v))
	}
	for _, p := range object.Pairs() {
		if err := c.member(strings.ToLower(p.Key), p.Value); err != nil {
			return nil, err
		}
	}
	if status, ok := c.variables.Get("Agent.JobStatus"); ok {
		c.status = result(status)
	}
	return c, nil
}

func (c *Context) member(name string, v expression.Value) error {
	switch name {
	case "variables":
		if object, ok := v.(*expression.Map); ok {
			var err error
			if c.variables, err = texts(object); err != nil {
				return err
			}
			v = c.variables
		}
	case "pipeline":
		object, ok := v.(*expression.Map)
		if !ok {
			break
		}
		var err error
		if v, err = c.pipeline(object); err != nil {
			return err
		}
	case "status":
		if _, ok := v.(string); ok {
			c.status = result(v)
			return nil
		}
	case "canceled":
		if canceled, ok := v.(bool); ok {
			c.canceled = canceled
			return nil
		}
	}
	c.names = append(c.names, name)
	c.values = append(c.values, v)
	return nil
}

// texts makes the values of variables text, as they are in a pipeline.
func texts(m *expression.Map) (*expression.Map, error) {
	pairs := make([]expression.Pair, len(m.Pairs()))
	for i, p := range m.Pairs() {
		pairs[i] = expression.Pair{Key: p.Key, Value: p.Value}
		switch v := p.Value.(type) {
		case string:
		case nil:
			pairs[i].Value = ""
		case expression.Number:
			pairs[i].Value = v.Exact()
		default:
			text, ok := expression.JSON(v)
			if !ok {
				return nil, tooLarge()
			}
			pairs[i].Value = text
		}
	}
	return expression.NewMap(pairs...), nil
}

// pipeline reads the start time; the other members stay as they are.
func (c *Context) pipeline(m *expression.Map) (expression.Value, error) {
	pairs := make([]expression.Pair, len(m.Pairs()))
	for i, p := range m.Pairs() {
		pairs[i] = p
		text, isText := p.Value.(string)
		if !expression.EqualFold(p.Key, "startTime") || !isText {
			continue
		}
		at, ok := expression.ParseTime(text)
		if !ok {
			var err error
			if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return nil, fault.New(fault.Invalid, "context-unreadable", "pipeline.startTime is not a date").Want("2026-01-31T04:05:06Z").Got("%s", text)
			}
		}
		c.start, c.started = at, true
		pairs[i].Value = at
	}
	return expression.NewMap(pairs...), nil
}

var results = []pipeline.Result{pipeline.Succeeded, pipeline.SucceededWithIssues, pipeline.Failed, pipeline.Canceled, pipeline.Skipped}

func result(v expression.Value) pipeline.Result {
	text, _ := expression.ToString(v)
	for _, r := range results {
		if expression.EqualFold(text, string(r)) {
			return r
		}
	}
	return pipeline.Result(text)
}

func (c *Context) get(name string) (expression.Value, bool) {
	for i, n := range c.names {
		if n == name {
			return c.values[i], true
		}
	}
	return nil, false
}

func (c *Context) variable(name string) (string, bool) {
	v, ok := c.variables.Get(name)
	text, _ := v.(string)
	return text, ok
}

// dependencies reads {name: {result, outputs}} for the status functions. What
// an expression reads itself is the value as it was given.
func (c *Context) dependencies() map[string]pipeline.Dependency {
	v, _ := c.get("dependencies")
	object, ok := v.(expression.Object)
	if !ok {
		return nil
	}
	out := map[string]pipeline.Dependency{}
	for _, p := range object.Pairs() {
		var d pipeline.Dependency
		if inner, ok := p.Value.(expression.Object); ok {
			r, _ := inner.Get("result")
			d.Result = result(r)
		}
		out[p.Key] = d
	}
	return out
}
