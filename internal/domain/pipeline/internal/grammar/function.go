package grammar

import "strings"

// Where a function may stand.
const (
	Everywhere     = "everywhere"
	InConditions   = "conditions"
	InRunVariables = "variables with $[ ]"
)

// Function is one function of expressions.
type Function struct {
	Name  string
	Form  string
	Doc   string
	Where string
	State State
	Note  string
}

// Functions are all functions of expressions.
var Functions = []Function{
	{Name: "always", Form: "always()", Where: InConditions, Doc: "True, also after a failure or a cancel."},
	{Name: "and", Form: "and(a, b, …)", Where: Everywhere, Doc: "Whether all are true; stops at the first that is not."},
	{Name: "canceled", Form: "canceled()", Where: InConditions, Doc: "Whether the run is being canceled."},
	{Name: "coalesce", Form: "coalesce(a, b, …)", Where: Everywhere, Doc: "The first that is not empty."},
	{Name: "contains", Form: "contains(text, part)", Where: Everywhere, Doc: "Whether the text has the part, ignoring case."},
	{Name: "containsValue", Form: "containsValue(collection, value)", Where: Everywhere, Doc: "Whether a list, or the values of a mapping, hold the value."},
	{Name: "convertToJson", Form: "convertToJson(value)", Where: Everywhere, Doc: "The value as JSON text."},
	{Name: "counter", Form: "counter(prefix, seed)", Where: InRunVariables, Doc: "A number that grows with every run that has the same prefix."},
	{Name: "endsWith", Form: "endsWith(text, part)", Where: Everywhere, Doc: "Whether the text ends with the part, ignoring case."},
	{Name: "eq", Form: "eq(a, b)", Where: Everywhere, Doc: "Whether both are equal; texts ignoring case."},
	{Name: "failed", Form: "failed(name, …)", Where: InConditions, Doc: "Whether something before, or one of those named, failed."},
	{Name: "format", Form: "format('{0} {1}', a, b)", Where: Everywhere, Doc: "The text with its numbered places filled."},
	{Name: "ge", Form: "ge(a, b)", Where: Everywhere, Doc: "Whether a is at least b."},
	{Name: "gt", Form: "gt(a, b)", Where: Everywhere, Doc: "Whether a is more than b."},
	{Name: "iif", Form: "iif(condition, a, b)", Where: Everywhere, Doc: "a when the condition is true, else b; both are computed."},
	{Name: "in", Form: "in(value, a, b, …)", Where: Everywhere, Doc: "Whether the value equals one of the others."},
	{Name: "join", Form: "join(separator, list)", Where: Everywhere, Doc: "The members of a list as one text."},
	{Name: "le", Form: "le(a, b)", Where: Everywhere, Doc: "Whether a is at most b."},
	{Name: "length", Form: "length(value)", Where: Everywhere, Doc: "How many characters, members or keys there are."},
	{Name: "lower", Form: "lower(text)", Where: Everywhere, Doc: "The text in small letters."},
	{Name: "lt", Form: "lt(a, b)", Where: Everywhere, Doc: "Whether a is less than b."},
	{Name: "ne", Form: "ne(a, b)", Where: Everywhere, Doc: "Whether both differ."},
	{Name: "not", Form: "not(a)", Where: Everywhere, Doc: "The opposite."},
	{Name: "notIn", Form: "notIn(value, a, b, …)", Where: Everywhere, Doc: "Whether the value equals none of the others."},
	{Name: "or", Form: "or(a, b, …)", Where: Everywhere, Doc: "Whether one is true; stops at the first that is."},
	{Name: "replace", Form: "replace(text, old, new)", Where: Everywhere, Doc: "The text with every old part exchanged."},
	{Name: "split", Form: "split(text, separator)", Where: Everywhere, Doc: "The parts of a text as a list."},
	{Name: "startsWith", Form: "startsWith(text, part)", Where: Everywhere, Doc: "Whether the text begins with the part, ignoring case."},
	{Name: "substring", Form: "substring(text, start, length)", Where: Everywhere, Doc: "A part of the text; to its end without a length."},
	{Name: "succeeded", Form: "succeeded(name, …)", Where: InConditions, Doc: "Whether everything before, or all those named, succeeded."},
	{Name: "succeededOrFailed", Form: "succeededOrFailed(name, …)", Where: InConditions, Doc: "True after success and failure, false after a cancel."},
	{Name: "trim", Form: "trim(text)", Where: Everywhere, Doc: "The text without white space at its ends."},
	{Name: "upper", Form: "upper(text)", Where: Everywhere, Doc: "The text in capital letters."},
	{Name: "xor", Form: "xor(a, b)", Where: Everywhere, Doc: "Whether exactly one is true."},
}

// FunctionNamed finds a function ignoring case.
func FunctionNamed(name string) (Function, bool) {
	for _, f := range Functions {
		if strings.EqualFold(f.Name, name) {
			return f, true
		}
	}
	return Function{}, false
}
