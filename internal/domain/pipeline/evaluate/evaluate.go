// Package evaluate computes one expression as it would be at a place of a
// pipeline: what it may name there, when it is computed, and what becomes of
// its value.
package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
)

// Slot is a place of a pipeline that can hold an expression.
type Slot string

// The slots.
const (
	Any                    Slot = "any" // everything can be named
	CompileVariable        Slot = "compile-variable"
	IfDirective            Slot = "if-directive"
	RuntimeVariable        Slot = "runtime-variable" // of the root or a stage
	JobVariable            Slot = "job-scoped-runtime-var"
	StepCondition          Slot = "step-condition"
	JobCondition           Slot = "job-condition"
	DeploymentJobCondition Slot = "deployment-job-condition"
	StageCondition         Slot = "stage-condition"
	RunName                Slot = "run-name"
)

// Slots are all of them.
var Slots = []Slot{Any, CompileVariable, IfDirective, RuntimeVariable, JobVariable, StepCondition, JobCondition, DeploymentJobCondition, StageCondition, RunName}

// runtimeSlots are those that are computed while the run goes on.
var runtimeSlots = map[Slot]pipeline.RuntimeSlot{
	RuntimeVariable: pipeline.SlotStageVariable, JobVariable: pipeline.SlotJobVariable, StepCondition: pipeline.SlotStepCondition,
	JobCondition: pipeline.SlotJobCondition, DeploymentJobCondition: pipeline.SlotJobCondition, StageCondition: pipeline.SlotStageCondition,
}

// Request is one expression to compute. Now is the start of the run unless the
// context says otherwise.
type Request struct {
	Expr    string
	Slot    Slot // "" is Any
	Context *Context
	Trace   bool
	Now     time.Time
}

// Result is a value: its type, and its text as a pipeline would show it. That of
// a mapping or sequence is JSON.
type Result struct {
	Type  string
	Text  string
	Steps []Step
	value expression.Value
}

// JSON is the value as indented JSON.
func (r Result) JSON() string {
	text, _ := expression.JSON(r.value) // Evaluate has tried it
	return text
}

// Step is one part that was computed. The parts of a step follow it, one level
// deeper.
type Step struct {
	Depth      int
	Expression string
	Value      string // as a literal
	Failed     bool
}

// Evaluate computes an expression, bare or in `${{ }}` or `$[ ]`.
func Evaluate(r Request) (Result, error) {
	if r.Slot == "" {
		r.Slot = Any
	}
	if !slices.Contains(Slots, r.Slot) {
		names := make([]string, len(Slots))
		for i, s := range Slots {
			names[i] = string(s)
		}
		return Result{}, fault.New(fault.Invalid, "unknown-slot", "there is no slot %s", r.Slot).Want("%s", strings.Join(names, ", "))
	}
	if r.Context == nil {
		r.Context, _ = ParseContext(nil)
	}
	if r.Context.started {
		r.Now = r.Context.start
	}
	e := &evaluator{Request: r}
	v, err := e.value()
	out := Result{Steps: e.steps}
	if err != nil {
		return out, err
	}
	out.Type, out.value = typeOf(v), v
	text, ok := expression.ToString(v)
	if !ok {
		if text, ok = expression.JSON(v); !ok {
			return out, tooLarge()
		}
	}
	out.Text = text
	return out, nil
}

func tooLarge() error {
	return fault.New(fault.Invalid, "expression-memory", "the value is too large to be written as JSON").Want("at most 20 MB")
}

func typeOf(v expression.Value) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case expression.Number:
		return "number"
	case string:
		return "string"
	case expression.Version:
		return "version"
	case time.Time:
		return "datetime"
	case expression.Array:
		return "array"
	default:
		return "object"
	}
}

type evaluator struct {
	Request
	steps []Step
}

func (e *evaluator) value() (expression.Value, error) {
	switch e.Slot {
	case Any:
		if body, ok := pipeline.RuntimeBody(e.Expr); ok {
			return e.compute(body, e.anyEnv())
		}
		return e.expand(e.Expr, e.anyEnv())
	case CompileVariable, IfDirective:
		return e.compiled()
	case RunName:
		text, err := e.expandText()
		if err != nil {
			return nil, err
		}
		return pipeline.FormatRunNumber(text, pipeline.NumberTokens{Now: e.Now, Lookup: e.Context.variable})
	case RuntimeVariable, JobVariable:
		return e.runtimeVariable()
	default:
		return e.condition()
	}
}

// compiled is a value that the expansion of the file computes. `$[ ]` is plain
// text then.
func (e *evaluator) compiled() (expression.Value, error) {
	text := e.Expr
	if _, ok := pipeline.RuntimeBody(text); ok && e.Slot == CompileVariable {
		return text, nil
	}
	if e.Slot == IfDirective {
		text = condition(text)
	}
	v, err := e.expand(text, e.compileEnv())
	if err == nil && e.Slot == IfDirective {
		return expression.Truth(v), nil
	}
	return v, err
}

// condition takes the word of a directive away.
func condition(text string) string {
	body := strings.TrimSpace(text)
	inner, wrapped := strings.CutPrefix(body, "${{")
	if wrapped {
		inner = strings.TrimSpace(strings.TrimSuffix(inner, "}}"))
	}
	for _, word := range []string{"if ", "elseif "} {
		if rest, ok := strings.CutPrefix(inner, word); ok {
			return rest
		}
	}
	return text
}

// runtimeVariable is computed only if nothing stands around its `$[ ]`. What
// `${{ }}` made before is text.
func (e *evaluator) runtimeVariable() (expression.Value, error) {
	text, err := e.expandText()
	if err != nil {
		return nil, err
	}
	if body, ok := pipeline.RuntimeBody(text); ok {
		return e.compute(body, e.runtimeEnv())
	}
	if text != e.Expr || strings.Contains(text, "$[") || strings.Contains(text, "${{") {
		return text, nil
	}
	return e.compute(text, e.runtimeEnv())
}

func (e *evaluator) condition() (expression.Value, error) {
	text, err := e.expandText()
	if err != nil {
		return nil, err
	}
	if body, ok := pipeline.RuntimeBody(text); ok {
		text = body
	}
	if strings.TrimSpace(text) == "" {
		text = "succeeded()"
	}
	v, err := e.compute(text, e.runtimeEnv())
	return expression.Truth(v), err
}

// expandText computes what `${{ }}` are in a text.
func (e *evaluator) expandText() (string, error) {
	if !strings.Contains(e.Expr, "${{") {
		return e.Expr, nil
	}
	v, err := e.expand(e.Expr, e.compileEnv())
	if err != nil {
		return "", err
	}
	return asText(v)
}

func asText(v expression.Value) (string, error) {
	text, ok := expression.ToString(v)
	if !ok {
		return "", fault.New(fault.Invalid, "expression-type", "the expression is %s, which cannot be part of a text", expression.TypeName(v)).Try("use convertToJson(…) or join(…)")
	}
	return text, nil
}

// expand computes a bare expression, or the `${{ }}` of a text: a single one
// keeps its type.
func (e *evaluator) expand(text string, env expression.Env) (expression.Value, error) {
	if !strings.Contains(text, "${{") {
		if e.Slot == Any && strings.Contains(text, "$[") {
			return text, nil // text around it makes it text
		}
		return e.compute(text, env)
	}
	segments, err := expression.SplitText(text)
	if err != nil {
		return nil, pipeline.FaultOf(err, text)
	}
	if s, ok := only(segments); ok {
		return e.compute(s.Text, env)
	}
	var b strings.Builder
	for _, s := range segments {
		part := s.Text
		if s.Expr {
			v, err := e.compute(s.Text, env)
			if err == nil {
				part, err = asText(v)
			}
			if err != nil {
				return nil, err
			}
		}
		b.WriteString(part)
	}
	return b.String(), nil
}

// only returns the expression of a text that holds nothing else.
func only(segments []expression.Segment) (found expression.Segment, ok bool) {
	count := 0
	for _, s := range segments {
		if s.Expr {
			found = s
			count++
		} else if strings.TrimSpace(s.Text) != "" {
			return found, false
		}
	}
	return found, count == 1
}

func (e *evaluator) compute(text string, env expression.Env) (expression.Value, error) {
	n, err := expression.ParseIn(text, env)
	if err != nil {
		return nil, pipeline.FaultOf(err, text)
	}
	if !e.Trace {
		v, err := n.Eval(env)
		if err != nil {
			return nil, pipeline.FaultOf(err, text)
		}
		return v, nil
	}
	v, steps, err := n.EvalTrace(env)
	for _, s := range steps {
		step := Step{Depth: s.Depth, Expression: s.Text, Value: expression.Literal(s.Value), Failed: s.Err != nil}
		e.steps = append(e.steps, step)
	}
	if err != nil {
		return nil, pipeline.FaultOf(err, text)
	}
	return v, nil
}

// compileEnv is what `${{ }}` may name.
func (e *evaluator) compileEnv() expression.Env {
	parameters, _ := e.Context.get("parameters")
	contexts := map[string]expression.Value{"variables": e.Context.variables, "parameters": declared{parameters}, "resources": nil}
	if v, ok := e.Context.get("resources"); ok {
		contexts["resources"] = v
	}
	return expression.Env{Contexts: contexts}
}

// declared are parameters: one that was not declared cannot be read.
type declared struct{ v expression.Value }

// Get finds a parameter.
func (d declared) Get(name string) (expression.Value, bool) {
	if object, ok := d.v.(expression.Object); ok {
		return object.Get(name)
	}
	return nil, false
}

// Pairs lists the parameters.
func (d declared) Pairs() []expression.Pair {
	if object, ok := d.v.(expression.Object); ok {
		return object.Pairs()
	}
	return nil
}

// Missing is the mistake of reading a parameter that was not declared.
func (d declared) Missing(name string) error {
	return &expression.Error{Code: "unknown-parameter", Message: fmt.Sprintf("there is no parameter %s", name), Found: name, Do: "add it to parameters of the context"}
}

// runtimeEnv is what the slot offers; given contexts take the place of those
// that a run would have.
func (e *evaluator) runtimeEnv() expression.Env {
	c := e.Context
	rc := &pipeline.RuntimeContext{
		Slot: runtimeSlots[e.Slot], Variables: c.variable, JobStatus: c.status, Canceled: c.canceled, Now: e.Now, Dependencies: c.dependencies(),
		Counter: func(_ string, seed int) int { return seed },
	}
	if rc.Slot != pipeline.SlotStepCondition && c.status == pipeline.Canceled {
		rc.Canceled = true
	}
	env := rc.Env()
	return e.given(env, false)
}

// given puts the values of the context over those of the environment; with all
// set also those that the environment does not have.
func (e *evaluator) given(env expression.Env, all bool) expression.Env {
	contexts := make(map[string]expression.Value, len(env.Contexts)+len(e.Context.names))
	for name, v := range env.Contexts {
		contexts[name] = v
	}
	contexts["variables"] = e.Context.variables
	for i, name := range e.Context.names {
		if _, known := contexts[name]; known || all {
			contexts[name] = e.Context.values[i]
		}
	}
	env.Contexts = contexts
	return env
}

// anyEnv has every context and function. Everything has succeeded.
func (e *evaluator) anyEnv() expression.Env {
	rc := &pipeline.RuntimeContext{Slot: pipeline.SlotJobVariable, Now: e.Now, Counter: func(_ string, seed int) int { return seed }}
	env := rc.Env()
	functions := make(map[string]expression.Function, len(env.Functions)+len(succeeded))
	for name, f := range env.Functions {
		functions[name] = f
	}
	for name, value := range succeeded {
		functions[name] = expression.Function{Max: 255, Call: func(any, []expression.Value) (expression.Value, error) { return value, nil }}
	}
	env.Functions = functions
	env = e.given(env, true)
	if _, ok := env.Contexts["parameters"]; !ok {
		env.Contexts["parameters"] = expression.NewMap()
	}
	return env
}

// succeeded are the status functions of a run in which all went well.
var succeeded = map[string]bool{"always": true, "succeeded": true, "succeededorfailed": true, "failed": false, "canceled": false}
