package pipeline

// Result is the result of a stage, job or step as expressions spell it.
type Result string
