package pipeline

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Result is the outcome of a step, job or stage as expressions see it.
type Result string

// The results.
const (
	Succeeded           Result = "Succeeded"
	SucceededWithIssues Result = "SucceededWithIssues"
	Failed              Result = "Failed"
	Canceled            Result = "Canceled"
	Skipped             Result = "Skipped"
)

// Dependency is what is known of a finished job or stage. Outputs are keyed as
// an expression asks for them: "step.var" for jobs, "job.step.var" for stages.
type Dependency struct {
	Result  Result
	Outputs map[string]string
}

// RuntimeSlot is where an expression stands, which decides what it may name.
type RuntimeSlot int

// The slots.
const (
	SlotStepCondition RuntimeSlot = iota
	SlotJobCondition
	SlotStageCondition
	SlotJobVariable
	SlotStageVariable // also variables of the root
	SlotRunName
)

// RuntimeContext is what an expression can see while the run goes on.
type RuntimeContext struct {
	Slot         RuntimeSlot
	Variables    func(name string) (string, bool) // ignoring case is the caller's duty; nil: none
	Dependencies map[string]Dependency            // job slots: jobs this job depends on; stage slots: stages
	// Ancestors are all nodes before this one, direct or not, which the status
	// functions without arguments look at. nil: Dependencies.
	Ancestors         map[string]Dependency
	StageDependencies map[string]map[string]Dependency // [stage][job]
	JobStatus         Result                           // step conditions: the job so far; "" is Succeeded
	Canceled          bool                             // the run is being canceled
	Counter           func(prefix string, seed int) int
	Now               time.Time
	Parameters        map[string]any
	Resources         map[string]any // repositories → alias → name, ref, type, version
}

// EvaluateCondition decides whether a node runs; "" is succeeded().
func EvaluateCondition(expr string, rc RuntimeContext) (bool, error) {
	if strings.TrimSpace(expr) == "" {
		expr = "succeeded()"
	}
	v, err := evaluate(expr, rc)
	return expression.Truth(v), err
}

// TellCondition says how a condition came out, in the lines in which logs of the
// service say it. Their texts may hold values of variables, secrets among them.
func TellCondition(expr string, rc RuntimeContext) []string {
	if strings.TrimSpace(expr) == "" {
		expr = "succeeded()"
	}
	if body, ok := runtimeExpression(expr); ok {
		expr = body
	}
	env := rc.Env()
	node, err := expression.ParseIn(expr, env)
	if err != nil {
		return nil
	}
	_, told, err := node.EvalTold(env)
	if err != nil {
		return nil
	}
	lines := []string{"Evaluating: " + told.Written}
	if told.Expanded != told.Result {
		lines = append(lines, "Expanded: "+told.Expanded)
	}
	return append(lines, "Result: "+told.Result)
}

// EvaluateExpression computes an expression, with or without its `$[ ]`, as text.
func EvaluateExpression(expr string, rc RuntimeContext) (string, error) {
	v, err := evaluate(expr, rc)
	if err != nil {
		return "", err
	}
	text, ok := expression.ToString(v)
	if !ok {
		return "", fault.New(fault.Invalid, "expression-type", "the expression is %s, not a string", expression.TypeName(v)).Try("use convertToJson(…) or join(…)")
	}
	return text, nil
}

// EvaluateMatrix computes an expression and reads text as the legs of a matrix:
// a JSON object of objects, also in single quotes, in the order in which they
// stand there. Values are text as it is written. Empty text has no legs, and
// neither has what is not there.
func EvaluateMatrix(expr string, rc RuntimeContext) ([]MatrixEntry, error) {
	v, err := evaluate(expr, rc)
	if err != nil {
		return nil, err
	}
	text, isText := v.(string)
	if !isText && v != nil {
		var ok bool
		if text, ok = expression.JSON(v); !ok {
			return nil, tooLarge()
		}
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	report := &syntax.Report{}
	root := syntax.Read(report, "self", "value", []byte(text)).Root
	if root == nil || root.Kind == syntax.Scalar || report.Failed() {
		return nil, fault.New(fault.Invalid, "expression-json", "the expression's value is not JSON").Got("%s", syntax.Describe(&syntax.Node{Text: text}))
	}
	if root.Kind != syntax.Mapping {
		return nil, fault.New(fault.Invalid, "matrix-not-object", "the matrix is not an object of objects").Got("%s", syntax.Describe(root))
	}
	var legs []MatrixEntry
	for _, leg := range root.Pairs {
		entry := MatrixEntry{Name: leg.Key.Text, Variables: map[string]string{}}
		if leg.Value.Kind != syntax.Mapping {
			return nil, fault.New(fault.Invalid, "matrix-not-object", "leg %s of the matrix is not an object", entry.Name).Got("%s", syntax.Describe(leg.Value))
		}
		for _, x := range leg.Value.Pairs {
			if x.Value.Kind != syntax.Scalar {
				return nil, fault.New(fault.Invalid, "matrix-not-object", "variable %s of leg %s of the matrix is not text", x.Key.Text, entry.Name).Got("%s", syntax.Describe(x.Value))
			}
			entry.Variables[x.Key.Text] = x.Value.Text
		}
		legs = append(legs, entry)
	}
	return legs, nil
}

func evaluate(expr string, rc RuntimeContext) (expression.Value, error) {
	if body, ok := runtimeExpression(expr); ok {
		expr = body
	}
	env := rc.Env()
	node, err := expression.ParseIn(expr, env)
	if err != nil {
		return nil, faultOf(err, expr)
	}
	v, err := node.Eval(env)
	if err != nil {
		return nil, faultOf(err, expr)
	}
	return v, nil
}

func faultOf(err error, expr string) error {
	out := fault.New(fault.Invalid, "expression-value", "%s", err.Error()).At("expression %s", strings.TrimSpace(expr))
	var e *expression.Error
	if errors.As(err, &e) {
		out.Code, out.Message, out.Expected, out.Found, out.Do = e.Code, e.Message, e.Expected, e.Found, e.Do
	}
	return out
}

func tooLarge() error {
	return fault.New(fault.Invalid, "expression-memory", "the expression's value is too large to be written as JSON").Want("at most 20 MB")
}

// variableContext looks variables up one by one: the run's own set is not ours.
type variableContext struct{ lookup func(string) (string, bool) }

// Get finds a variable.
func (v variableContext) Get(name string) (expression.Value, bool) {
	if v.lookup == nil {
		return nil, false
	}
	if text, ok := v.lookup(name); ok {
		return text, true
	}
	return nil, false
}

// Pairs is empty: the variables of a run cannot be listed.
func (v variableContext) Pairs() []expression.Pair { return nil }

// slotEnvs are what each slot offers. Values are made from the RuntimeContext
// in Env.State, and only those that an expression asks for.
var slotEnvs = func() (envs [SlotRunName + 1]expression.Env) {
	for slot := range envs {
		envs[slot] = slotEnv(RuntimeSlot(slot))
	}
	return envs
}()

func slotEnv(slot RuntimeSlot) expression.Env {
	env := expression.Env{Contexts: map[string]expression.Value{"variables": lazily((*RuntimeContext).variables)}, Functions: map[string]expression.Function{}}
	variable := slot == SlotJobVariable || slot == SlotStageVariable
	if !variable {
		addStatusFunctions(env.Functions, slot)
	}
	if slot == SlotStepCondition { // the agent knows nothing but variables
		return env
	}
	env.Contexts["pipeline"] = lazily((*RuntimeContext).pipeline)
	env.Contexts["resources"] = lazily(func(rc *RuntimeContext) expression.Value { return anyValue(rc.Resources) })
	env.Contexts["dependencies"] = lazily(func(rc *RuntimeContext) expression.Value { return dependencyMap(rc.Dependencies) })
	if slot != SlotStageCondition {
		env.Contexts["stagedependencies"] = lazily((*RuntimeContext).stageDependencies)
	}
	if variable {
		env.Functions["counter"] = expression.Function{Min: 0, Max: 2, Call: func(state any, args []expression.Value) (expression.Value, error) {
			return state.(*RuntimeContext).counter(args)
		}}
	}
	return env
}

func lazily(make func(*RuntimeContext) expression.Value) expression.Lazy {
	return func(state any) expression.Value { return make(state.(*RuntimeContext)) }
}

// Env is what an expression in the slot may name, with the values of the context.
func (rc *RuntimeContext) Env() expression.Env {
	env := slotEnvs[rc.Slot]
	env.State = rc
	if rc.Parameters != nil {
		env.Contexts = maps.Clone(env.Contexts)
		env.Contexts["parameters"] = anyValue(rc.Parameters)
	}
	return env
}

// checkEnv knows every name a slot offers. A condition of a stage that names
// stageDependencies fails its stage, but not the file: files in use have it.
func checkEnv(slot RuntimeSlot) expression.Env {
	env := slotEnvs[slot]
	if slot == SlotStageCondition {
		env.Contexts = slotEnvs[SlotJobCondition].Contexts
	}
	return env
}

func (rc *RuntimeContext) variables() expression.Value { return &variableContext{rc.Variables} }

func (rc *RuntimeContext) pipeline() expression.Value {
	return expression.NewMap(expression.Pair{Key: "startTime", Value: rc.Now.UTC()})
}

func (rc *RuntimeContext) stageDependencies() expression.Value {
	var stages []expression.Pair
	for _, name := range sortedKeys(rc.StageDependencies) {
		stages = append(stages, expression.Pair{Key: name, Value: dependencyMap(rc.StageDependencies[name])})
	}
	return expression.NewMap(stages...)
}

func (rc *RuntimeContext) counter(args []expression.Value) (expression.Value, error) {
	prefix, seed := "", 0
	if len(args) > 0 {
		text, ok := expression.ToString(args[0])
		if !ok {
			return nil, errors.New("the prefix of counter is a string")
		}
		prefix = text
	}
	if len(args) > 1 {
		number, ok := expression.ToNumber(args[1])
		if ok {
			seed, ok = number.Round()
		}
		if !ok || int(int32(seed)) != seed {
			return nil, errors.New("the seed of counter is a whole number of 32 bits")
		}
	}
	if rc.Counter == nil {
		return nil, errors.New("there is no counter here")
	}
	return expression.Int(rc.Counter(prefix, seed)), nil
}

func dependencyMap(deps map[string]Dependency) expression.Value {
	var out []expression.Pair
	for _, name := range sortedKeys(deps) {
		dep := deps[name]
		var outputs []expression.Pair
		for _, key := range sortedKeys(dep.Outputs) {
			outputs = append(outputs, expression.Pair{Key: key, Value: dep.Outputs[key]})
		}
		out = append(out, expression.Pair{Key: name, Value: expression.NewMap(
			expression.Pair{Key: "result", Value: string(dep.Result)},
			expression.Pair{Key: "outputs", Value: expression.NewMap(outputs...)})})
	}
	return expression.NewMap(out...)
}

// sortedKeys makes what an expression lists the same every time.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func anyValue(v any) expression.Value {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case float64:
		number, _ := expression.Float(v)
		return number
	case int:
		return expression.Int(v)
	case []any:
		items := make([]expression.Value, len(v))
		for i, item := range v {
			items[i] = anyValue(item)
		}
		return expression.NewList(items...)
	case map[string]any:
		var pairs []expression.Pair
		for _, key := range sortedKeys(v) {
			pairs = append(pairs, expression.Pair{Key: key, Value: anyValue(v[key])})
		}
		return expression.NewMap(pairs...)
	default:
		return nil
	}
}

// RuntimeBody returns the inside of a value that is nothing but a `$[ ]`.
func RuntimeBody(value string) (body string, ok bool) { return runtimeExpression(value) }

// FaultOf makes the error that people meet from a mistake in an expression.
func FaultOf(err error, expr string) error { return faultOf(err, expr) }
