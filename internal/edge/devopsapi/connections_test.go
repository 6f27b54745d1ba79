package devopsapi

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

func TestConnectionsThroughREST(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	const body = `{"name":"hub","type":"dockerregistry","url":"https://r.example","authorization":{"scheme":"UsernamePassword","parameters":{"username":"ci","password":"s3cret-value"}},
		"serviceEndpointProjectReferences":[{"projectReference":{"name":"shop"},"name":"hub"}]}`
	var made endpointShape
	if status := w.call(h, "projectadministrator", "POST", "/default/_apis/serviceendpoint/endpoints?api-version=7.1", body, &made); status != 200 || made.ID == "" || made.Data == nil || made.Projects[0].ProjectReference.ID != w.shop.ID {
		t.Fatalf("%d %+v", status, made)
	}
	one := "/default/shop/_apis/serviceendpoint/endpoints/" + made.ID
	for _, who := range []string{"reader", "contributor", "job"} {
		if status := w.call(h, who, "DELETE", one, "", nil); status != 403 {
			t.Errorf("%s deletes: %d", who, status)
		}
		var got endpointShape
		if status := w.call(h, who, "GET", one, "", &got); status != 200 || got.Authorization.Parameters["password"] != nil || *got.Authorization.Parameters["username"] != "ci" {
			t.Errorf("%s sees %d %+v", who, status, got)
		}
	}
	// What was read can be sent back: a secret that is null stays.
	update := strings.Replace(strings.Replace(body, `"s3cret-value"`, "null", 1), `"ci"`, `"ci2"`, 1)
	if status := w.call(h, "projectadministrator", "PUT", "/default/_apis/serviceendpoint/endpoints/"+made.ID, update, nil); status != 200 {
		t.Errorf("update: %d", status)
	}
	k, err := w.Connections.Find(context.Background(), w.shop.ID, "hub")
	w.must(err)
	o, err := w.Connections.Open(context.Background(), k, "test")
	w.must(err)
	if o.Parameter("password") != "s3cret-value" || o.Parameter("username") != "ci2" {
		t.Errorf("%+v", o)
	}
	var p problem
	if status := w.call(h, "serveradministrator", "POST", "/default/_apis/serviceendpoint/endpoints", `{"name":"x","type":"generic"}`, &p); status != 400 || p.Code != "connection-project" {
		t.Errorf("without a project: %d %+v", status, p)
	}
	theirs := strings.Replace(body, `"shop"`, `"`+w.other.Name+`"`, 1)
	if status := w.call(h, "projectadministrator", "POST", "/default/_apis/serviceendpoint/endpoints", theirs, nil); status != 404 {
		t.Errorf("in a project of others: %d", status)
	}
	if status := w.call(h, "projectadministrator", "DELETE", "/default/_apis/serviceendpoint/endpoints/"+made.ID+"?projectIds="+w.shop.ID, "", nil); status != 204 {
		t.Errorf("delete: %d", status)
	}
	r := httptest.NewRequest("GET", one, nil)
	r.Header.Set("Authorization", "Bearer "+w.tokens["reader"])
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, r); rec.Code != 200 || rec.Body.String() != "null" {
		t.Errorf("a deleted one: %d %s", rec.Code, rec.Body)
	}
}

func TestSecureFilesThroughREST(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	w.withRun(w.shop.ID, "1")
	const files = "/default/shop/_apis/distributedtask/securefiles"
	var made secureFileShape
	if status := w.call(h, "contributor", "POST", files+"?name=a.p12", "certificate", nil); status != 403 {
		t.Errorf("a contributor uploads: %d", status)
	}
	if status := w.call(h, "projectadministrator", "POST", files+"?name=a.p12", "certificate", &made); status != 200 || made.Size != 11 {
		t.Fatalf("%d %+v", status, made)
	}
	f, err := w.SecureFiles.Find(context.Background(), w.shop.ID, "a.p12")
	w.must(err)
	g, err := w.SecureFiles.Grant(f, "job-1")
	w.must(err)
	content := "?download=true&ticket=" + g.Ticket
	for who, want := range map[string]int{"reader": 403, "projectadministrator": 403, "serveradministrator": 403, "agent": 404, "job": 200} {
		r := httptest.NewRequest("GET", files+"/"+f.ID+content, nil)
		r.Header.Set("Authorization", "Bearer "+w.tokens[who])
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); rec.Code != want || strings.Contains(rec.Body.String(), "certificate") != (want == 200) {
			t.Errorf("%s downloads: %d %s, want %d", who, rec.Code, rec.Body, want)
		}
	}
	for _, query := range []string{"?download=true", "?download=true&ticket=x", "?ticket=" + g.Ticket + "x"} {
		if status := w.call(h, "job", "GET", files+"/"+f.ID+query, "", nil); status != 403 {
			t.Errorf("%s: %d", query, status)
		}
	}
	var list struct{ Value []secureFileShape }
	if w.call(h, "reader", "GET", files+"?namePattern=*.P12", "", &list); len(list.Value) != 1 || list.Value[0].ID != f.ID {
		t.Errorf("%+v", list)
	}
	if status := w.call(h, "projectadministrator", "POST", files+"?name=large", strings.Repeat("x", 10<<20+2), nil); status != 400 {
		t.Errorf("too large: %d", status)
	}
}

// A job reads what a step of its own names, and only while it runs.
func TestJobsReadTheVaultsTheyName(t *testing.T) {
	w := newWorld(t)
	h := New(w.Services)
	ctx := identity.With(context.Background(), identity.System())
	w.withRun(w.shop.ID, "1")
	r, err := w.Runs.Runs.Get(ctx, "1")
	w.must(err)
	repo, err := w.Repos.Create(ctx, w.shop.ID, "app")
	w.must(err)
	r.RepoID = repo.ID
	w.must(w.Runs.Runs.Save(ctx, r))
	w.must(w.Runs.Pipelines.Insert(ctx, &run.Pipeline{ID: "1", ProjectID: w.shop.ID}))
	w.Runs.Address.BaseURL = func() string { return "http://localhost" }
	steps := []pipeline.Step{{Task: "AzureKeyVault", Version: "2", Inputs: map[string]string{"KeyVaultName": "$(which)", "SecretsFilter": "One,two/v1"}}}
	w.must(w.Runs.Plans.Insert(ctx, &run.Planned{ID: "1", Plan: &pipeline.Plan{Variables: []pipeline.Variable{{Name: "which", Value: "Shop-KV"}},
		Stages: []pipeline.Stage{{Name: "build", Jobs: []pipeline.Job{{Name: "one", Steps: steps}}}}}}))
	for _, name := range []string{"shop-kv", "other-kv"} {
		v, err := w.Vaults.CreateVault(ctx, w.shop.ID, name)
		w.must(err)
		for _, secret := range []string{"One", "Two"} {
			_, err = w.Vaults.SetSecret(ctx, v, secret, []byte("value of "+secret))
			w.must(err)
		}
	}
	for _, k := range []struct {
		who, query, want string
		status           int
	}{
		{"job", "shop-kv/jobsecrets?names=One", "value of One", 200}, {"job", "shop-kv/jobsecrets?names=ONE", "value of One", 200}, {"job", "shop-kv/jobsecrets?names=two/v1", "no enabled version", 200},
		{"job", "shop-kv/jobsecrets?names=Two", "vault-not-named", 403}, {"job", "shop-kv/jobsecrets", "vault-not-named", 403}, {"job", "other-kv/jobsecrets?names=One", "vault-not-named", 403},
		{"projectadministrator", "shop-kv/jobsecrets?names=One", "denied", 403}, {"reader", "shop-kv/jobsecrets?names=One", "denied", 403}, {"job", "shop-kv/secrets/One/value", "denied", 403},
	} {
		q := httptest.NewRequest("GET", "/default/shop/_apis/penstock/vaults/"+k.query, nil)
		q.Header.Set("Authorization", "Bearer "+w.tokens[k.who])
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, q); rec.Code != k.status || !strings.Contains(rec.Body.String(), k.want) {
			t.Errorf("%s %s: %d %s", k.who, k.query, rec.Code, rec.Body)
		}
	}
	j, err := w.Runs.Jobs.Get(ctx, "job-1")
	w.must(err)
	j.State = run.Completed
	w.must(w.Runs.Jobs.Save(ctx, j))
	if status := w.call(h, "job", "GET", "/default/shop/_apis/penstock/vaults/shop-kv/jobsecrets?names=One", "", nil); status != 403 {
		t.Errorf("a job that has ended: %d", status)
	}
}
