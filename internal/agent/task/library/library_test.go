package library_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "penstock.dev/penstock/internal/agent/task/library"
	"penstock.dev/penstock/internal/agent/task/tasktest"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/domain/securefile"
)

func desk(t *testing.T) *tasktest.Desk {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/p/_apis/penstock/vaults/kv/jobsecrets":
			list := []map[string]string{}
			for _, s := range []map[string]string{{"name": "One", "value": "first-value"}, {"name": "Two", "value": "{\n  \"a\": \"second value\"\n}\n"}, {"name": "Three", "value": "line one\nline two\n"}, {"name": "Bad", "error": "it is disabled"}} {
				names := r.URL.Query().Get("names")
				if names == "" && s["error"] == "" || strings.Contains(names, s["name"]) {
					if strings.Contains(names, s["name"]+"/v1") {
						s["name"] += "/v1"
					}
					list = append(list, s)
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"value": list})
		case "/p/_apis/distributedtask/securefiles/f1":
			if r.URL.Query().Get("ticket") == "t1" {
				_, _ = w.Write([]byte("certificate"))
				return
			}
			fallthrough
		default:
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "no", "code": "vault-not-named", "kind": "denied"})
		}
	}))
	t.Cleanup(server.Close)
	d := tasktest.New(t)
	d.Client = &rest.Client{Base: server.URL + "/p", HTTP: server.Client()}
	d.Files = []securefile.Grant{{ID: "f1", Name: "signing.p12", Ticket: "t1"}, {ID: "f1", Name: "wrong", Ticket: "t2"}}
	return d
}

func TestKeyVault(t *testing.T) {
	for name, k := range map[string]struct {
		inputs map[string]string
		vars   map[string]string // by lower-case name; "" = not set
		masked []string
		code   string
	}{
		"all":     {map[string]string{"KeyVaultName": "kv"}, map[string]string{"one": "first-value", "two": `{"a":"second value"}`, "three": "line one\nline two\n"}, []string{"first-value", "line one", "line two"}, ""},
		"some":    {map[string]string{"KeyVaultName": "kv", "SecretsFilter": "One"}, map[string]string{"one": "first-value", "two": ""}, []string{"first-value"}, ""},
		"version": {map[string]string{"KeyVaultName": "kv", "SecretsFilter": "One/v1"}, map[string]string{"one": "first-value", "one/v1": "first-value"}, nil, ""},
		"bad":     {map[string]string{"KeyVaultName": "kv", "SecretsFilter": "Bad, One"}, map[string]string{"one": "first-value", "bad": ""}, nil, "secret-not-found"},
		"denied":  {map[string]string{"KeyVaultName": "other"}, map[string]string{"one": ""}, nil, "vault-not-named"},
		"no name": {nil, nil, nil, "input-missing"},
	} {
		for _, version := range []string{"1", "2"} {
			d := desk(t)
			if err := d.Before("AzureKeyVault@"+version, k.inputs); err != nil || d.Vars["one"] != "" {
				t.Errorf("%s: before the job: %v, %q", name, err, d.Vars["one"])
			}
			err := d.Run("AzureKeyVault@"+version, k.inputs)
			if (err == nil) != (k.code == "") || err != nil && fault.CodeOf(err) != k.code {
				t.Errorf("%s: %v, want %q", name, err, k.code)
			}
			for v, want := range k.vars {
				if d.Vars[v] != want {
					t.Errorf("%s: %s is %q, want %q", name, v, d.Vars[v], want)
				}
			}
			for _, m := range k.masked {
				if !strings.Contains(strings.Join(d.Secrets, "|"), m) {
					t.Errorf("%s: %q is not masked", name, m)
				}
			}
			if len(d.Outputs) > 0 || strings.Contains(d.Log(), "first-value") {
				t.Errorf("%s: outputs %v, log %s", name, d.Outputs, d.Log())
			}
		}
	}
	d := desk(t)
	inputs := map[string]string{"KeyVaultName": "kv", "RunAsPreJob": "true", "SecretsFilter": "One"}
	if err := d.Before("AzureKeyVault@2", inputs); err != nil || d.Vars["one"] != "first-value" {
		t.Errorf("before the job: %v, %q", err, d.Vars["one"])
	}
	delete(d.Vars, "one")
	if err := d.Run("AzureKeyVault@2", inputs); err != nil || d.Vars["one"] != "" {
		t.Errorf("fetched twice: %v, %q", err, d.Vars["one"])
	}
}

func TestSecureFile(t *testing.T) {
	d := desk(t)
	inputs := map[string]string{"secureFile": "signing.p12"}
	if err := d.Before("DownloadSecureFile@1", inputs); err != nil {
		t.Fatal(err)
	}
	file := d.Outputs["secureFilePath"]
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || file != filepath.Join(d.Vars["agent.tempdirectory"], "signing.p12") {
		t.Fatalf("%s: %v, %v", file, info, err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "certificate" {
		t.Errorf("%q, %v", data, err)
	}
	if err := d.Run("DownloadSecureFile@1", inputs); err != nil {
		t.Error(err)
	}
	if err := d.After("DownloadSecureFile@1", inputs); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
	d.State = map[string]string{}
	for name, code := range map[string]string{"other": "no-secure-file", "wrong": "vault-not-named"} {
		if err := d.Before("DownloadSecureFile@1", map[string]string{"secureFile": name}); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", name, err, code)
		}
		if err := d.Run("DownloadSecureFile@1", map[string]string{"secureFile": name}); err == nil {
			t.Errorf("%s: the step passes", name)
		}
	}
}
