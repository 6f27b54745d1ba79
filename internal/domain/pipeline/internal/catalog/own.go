package catalog

// ownTasks are the tasks that only Penstock has.
var ownTasks = []Task{
	{Name: "PenstockSwap", Version: "1.0.0", Inputs: []Input{
		application, {Name: "from", Type: "string", Default: "staging"}, {Name: "to", Type: "string", Default: "production"},
		{Name: "expectRelease", Type: "string"}, {Name: "canary", Type: "string"}, {Name: "every", Type: "string"},
		{Name: "waitFor", Type: "radio", Default: "published", Options: []string{"published", "drained"}},
		{Name: "unconfirmed", Type: "string"}, {Name: "timeout", Type: "string", Default: "15m"},
	}},
	{Name: "PenstockRollback", Version: "1.0.0", Inputs: []Input{
		application, {Name: "onlyThisRun", Type: "boolean", Default: "true"}, {Name: "expectGeneration", Type: "string"},
		{Name: "timeout", Type: "string", Default: "5m"},
	}},
	{Name: "PenstockService", Version: "1.0.0", Inputs: []Input{
		application, {Name: "action", Type: "radio", Default: "restart", Options: []string{"restart", "start", "stop", "reload", "status", "log"}},
		{Name: "settings", Type: "multiLine"}, {Name: "lines", Type: "int", Default: "200"},
	}},
	{Name: "PenstockHealth", Version: "1.0.0", Inputs: []Input{
		application, {Name: "role", Type: "string"}, {Name: "expectRelease", Type: "string"}, {Name: "timeout", Type: "string", Default: "1m"},
	}},
	{Name: "PenstockDrain", Version: "1.0.0", Inputs: []Input{
		application, {Name: "vm", Type: "string"}, {Name: "grace", Type: "string", Default: "30s"}, {Name: "end", Type: "boolean", Default: "false"},
	}},
	{Name: "PenstockWebDeploy", Version: "1.0.0", Inputs: []Input{
		{Name: "action", Type: "radio", Required: true, Options: []string{"pack", "show", "apply"}},
		{Name: "package", Type: "filePath", Required: true}, {Name: "source", Type: "filePath", Required: true, Visible: []string{"action = pack"}},
		{Name: "site", Type: "string"}, {Name: "declareParameters", Type: "filePath"}, {Name: "setParameters", Type: "filePath"},
	}},
}

var application = Input{Name: "application", Type: "string", Required: true}
