package agent

import (
	"context"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/agent/nodetask/nodetest"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
)

const (
	hubID  = "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0001"
	fileID = "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0002"
)

func connected(t *testing.T, machine Machine, steps ...pipeline.Step) (run.JobReport, *memory) {
	t.Helper()
	m := newMemory()
	machine.AgentName, machine.Work = "a", t.TempDir()
	return RunJob(context.Background(), &run.JobMessage{JobID: "j", PipelineID: "1", Steps: steps, AccessToken: "token-of-the-job",
		Connections: []serviceconnection.Opened{
			{ID: hubID, Name: "Hub", Type: "generic", URL: "https://hub.example/", Scheme: "UsernamePassword", Parameters: map[string]string{"username": "ci-user", "password": "hub-password"}, Data: map[string]string{"region": "eu", "ApiKey": "hub-api-key"}},
			{ID: "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0003", Name: "away", Type: "azurerm", Scheme: "None", Stub: true}},
		SecureFiles: []securefile.Grant{{ID: fileID, Name: "signing.p12", Ticket: "ticket-of-the-file"}}}, machine, m), m
}

// A package gets the connection and the file that its inputs name, by the
// contract that it was written for, and a step may change the connection.
func TestPackagesGetWhatTheyName(t *testing.T) {
	const definition = `{"id":"11111111-1111-2222-3333-111111111111","name":"Publish","version":{"Major":1,"Minor":0,"Patch":0},
		"inputs":[{"name":"target","type":"connectedService:generic"},{"name":"file","type":"secureFile"}],"execution":{"Node20_1":{"target":"main.js"}}}`
	show := func(names ...string) string {
		script := ""
		for _, n := range names {
			script += "//> env " + n + "\n"
		}
		return script
	}
	auth := "ENDPOINT_AUTH_PARAMETER_" + hubID + "_"
	machine := Machine{Tasks: shelf(t, map[string]string{"task.json": definition, "main.js": show("INPUT_TARGET", "INPUT_FILE", "ENDPOINT_URL_"+hubID, "ENDPOINT_AUTH_SCHEME_"+hubID, "ENDPOINT_AUTH_"+hubID,
		auth+"USERNAME", auth+"PASSWORD", "ENDPOINT_DATA_"+hubID+"_REGION", "SECUREFILE_NAME_"+fileID, "SECUREFILE_TICKET_"+fileID)}), NodeFolder: nodetest.Install(t, 20)}
	step := pipeline.Step{Task: "Publish", Version: "1", Inputs: map[string]string{"target": "hub", "file": "SIGNING.p12"}}
	change := bash("echo '##vso[task.setendpoint id=" + strings.ToUpper(hubID) + ";field=url]https://other.example/'\n" +
		"echo '##vso[task.setendpoint id=" + hubID + ";field=authParameter;key=Password]changed-password'\n" +
		"echo '##vso[task.setendpoint id=" + hubID + ";field=dataParameter;key=region]us'")
	rep, m := connected(t, machine, step, change, step, bash("echo hub-password hub-api-key changed-password ticket-of-the-file ci-user eu"))
	if rep.Result != run.Succeeded {
		t.Errorf("%s\n%s\n%s", rep.Result, m.logs[1], m.logs[2])
	}
	needs(t, m.logs[1], "INPUT_TARGET="+hubID, "INPUT_FILE="+fileID, "=https://hub.example/", "=UsernamePassword", "_USERNAME=ci-user", "_PASSWORD=***", "_REGION=eu", "=signing.p12", "SECUREFILE_TICKET_"+fileID+"=***")
	needs(t, m.logs[3], "=https://other.example/", "_USERNAME=ci-user", "_PASSWORD=***", "_REGION=us")
	needs(t, m.logs[4], "*** *** *** *** ci-user eu")
}

func TestSetEndpointRefuses(t *testing.T) {
	for command, want := range map[string]string{
		"id=" + hubID + ";field=url]relative/address":                 "absolute",
		"id=" + hubID + ";field=authParameter]x":                      "needs the property key",
		"id=" + hubID + ";field=name]x":                               "there is no field",
		"id=0192aaaa-0000-7ccc-8ddd-eeeeffff0009;field=url]https://x": "no service connection",
	} {
		rep, m := connected(t, Machine{}, bash("echo '##vso[task.setendpoint "+command+"'"))
		if rep.Result != run.Failed || !strings.Contains(m.logs[1], want) {
			t.Errorf("%s: %s\n%s", command, rep.Result, m.logs[1])
		}
	}
}

// A step that names a stub is skipped with a warning, and so are its parts
// before and after the job: it never passes for done.
func TestStubsSkipTheirSteps(t *testing.T) {
	vault := pipeline.Step{Task: "AzureKeyVault", Version: "2", Inputs: map[string]string{"azureSubscription": "AWAY", "KeyVaultName": "kv", "RunAsPreJob": "true"}}
	rep, m := connected(t, Machine{}, vault, bash("echo went on"))
	if rep.Result != run.Succeeded || m.steps[1].Result != run.Skipped || len(m.steps[1].Warnings) != 1 || strings.Contains(m.logs[1], "Pre-job") {
		t.Errorf("%s, step %+v\n%s", rep.Result, m.steps[1], m.logs[1])
	}
	needs(t, m.logs[1], "the step is skipped: service connection away is a stub")
	needs(t, m.logs[2], "went on")
}

func TestUnknownConnectionFailsItsStep(t *testing.T) {
	rep, m := connected(t, Machine{}, pipeline.Step{Task: "SSH", Version: "0", Inputs: map[string]string{"sshEndpoint": "nowhere", "commands": "echo"}})
	if rep.Result != run.Failed {
		t.Error(rep.Result)
	}
	needs(t, m.logs[1], "this job has no service connection nowhere")
}

// The engine gets the credentials of the image's registry by its input and a
// folder of the job, which goes with the pull.
func TestImagesOfPrivateRegistries(t *testing.T) {
	m := &run.JobMessage{Container: "tools", Containers: map[string]pipeline.ContainerResource{"tools": {Alias: "tools", Image: "r.example/missing:1", Endpoint: "hub"}}, Steps: []pipeline.Step{bash("echo never")},
		Connections: []serviceconnection.Opened{{ID: hubID, Name: "Hub", Type: "dockerregistry", Parameters: map[string]string{"registry": "https://r.example/", "username": "ci-user", "password": "hub-password"}}}}
	text, rep, engine := inContainers(t, m, "", atOnce)
	if rep.Result != run.Failed { // the engine of the test pulls nothing
		t.Errorf("%s\n%s", rep.Result, text)
	}
	needs(t, engine, "login --username ci-user --password-stdin r.example", "pull r.example/missing:1")
	if strings.Contains(engine+text, "hub-password") || strings.Index(engine, "login") > strings.Index(engine, "pull") {
		t.Errorf("%s\n%s", engine, text)
	}
	m.Connections = nil
	text, rep, engine = inContainers(t, m, "", atOnce)
	if needs(t, text, "no service connection hub"); rep.Result != run.Failed || strings.Contains(engine, "pull") {
		t.Errorf("%s\n%s", rep.Result, engine)
	}
}
