// Package agentapi is the server's side of the agents' connection: register,
// the long poll, and what agents report. Every call but the first two names the
// fencing number of the job it speaks of.
package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// Bounds of requests, in bytes, and of the long poll.
const (
	maxBody  = 8 << 20
	pollTime = 50 * time.Second
)

// API serves agents.
type API struct {
	Identity     *identity.Service
	Pools        *agentpool.Service
	Environments *environment.Service
	Runs         *run.Service
	Log          *slog.Logger
	// Joined is told of an agent that registered for a VM.
	Joined func(ctx context.Context, vmID string) error
	// Stopping ends long polls, so that the server can stop.
	Stopping <-chan struct{}
}

// Handler serves below /{organization}/_apis/penstock/agent/.
func (a *API) Handler(organization string) http.Handler {
	mux := http.NewServeMux()
	base := "POST /" + organization + "/_apis/penstock/agent/"
	mux.HandleFunc(base+"register", a.answer(a.register))
	mux.HandleFunc(base+"poll", a.answer(a.poll))
	mux.HandleFunc(base+"goodbye", a.answer(a.goodbye))
	mux.HandleFunc(base+"jobs/{job}/renew", a.answer(a.renew))
	mux.HandleFunc(base+"jobs/{job}/log", a.answer(a.log))
	mux.HandleFunc(base+"jobs/{job}/steps", a.answer(a.steps))
	mux.HandleFunc(base+"jobs/{job}/complete", a.answer(a.complete))
	return mux
}

func (a *API) answer(h func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := h(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			a.fail(w, r, err)
			return
		}
		if out == nil {
			out = struct{}{}
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

var statusOf = map[fault.Kind]int{fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409, fault.Unavailable: 503, fault.Internal: 500}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *fault.Error
	if !errors.As(err, &e) {
		if r.Context().Err() == nil {
			a.Log.Error("agent request failed", "path", r.URL.Path, "error", err)
		}
		e = fault.New(fault.Internal, "internal", "the server could not do that")
	}
	w.WriteHeader(statusOf[e.Kind])
	_ = json.NewEncoder(w).Encode(map[string]string{"message": e.Message, "code": e.Code, "kind": e.Kind.String(),
		"expected": e.Expected, "found": e.Found, "do": e.Do})
}

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// agent returns who calls: the owner of an agent's key, nobody else.
func (a *API) agent(r *http.Request) (*agentpool.Agent, error) {
	sub, err := a.Identity.SubjectOf(r.Context(), bearer(r))
	if err != nil {
		return nil, err
	}
	if err := identity.Check(sub, identity.AgentConnection, ""); err != nil || sub.Kind != identity.AgentKind {
		return nil, fault.New(fault.Denied, "denied", "only an agent may do that")
	}
	agent, err := a.Pools.Agents.Get(r.Context(), sub.ID)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.New(fault.Denied, "agent-removed", "this agent was removed").Try("register it again with a new join token")
	}
	return agent, err
}

// register makes an agent from a join token, which is used up.
func (a *API) register(r *http.Request) (any, error) {
	var in struct {
		Token, Name, Version string
		Capabilities         map[string]string
		Jobs                 int
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-json", "the request cannot be read")
	}
	ctx := r.Context()
	t, err := a.Identity.FindToken(ctx, in.Token)
	if err != nil || t.Kind != identity.JoinToken {
		return nil, fault.New(fault.Denied, "join-token", "the join token is not valid (any more)").Try("make a new one: penstock agent join-token")
	}
	ctx = identity.With(ctx, identity.Subject{Kind: identity.SystemKind, ID: t.ID, Name: "join token " + t.Name})
	if len(in.Capabilities) > 1000 {
		return nil, fault.New(fault.Invalid, "too-many-capabilities", "an agent has at most 1000 capabilities")
	}
	reg := agentpool.Registration{Name: in.Name, Version: in.Version, Capabilities: in.Capabilities, Jobs: in.Jobs}
	var vm *environment.VM
	if t.Environment != "" || t.VM != "" {
		if vm, err = a.joinVM(ctx, t, in.Name); err != nil {
			return nil, err
		}
		reg.VM, reg.Scope, reg.Jobs = vm.ID, "vm/"+vm.ProjectID, 1
	} else {
		pool, err := a.Pools.FindPool(ctx, t.Pool)
		if err != nil {
			return nil, err
		}
		reg.PoolID, reg.Scope = pool.ID, "pool/"+pool.ID
	}
	agent, key, err := a.Pools.Register(ctx, reg)
	if err != nil {
		return nil, err
	}
	if err := a.Identity.Tokens.Delete(ctx, t.ID); err != nil {
		return nil, err
	}
	if vm != nil {
		if _, err := a.Environments.ChangeVM(ctx, vm.ID, func(v *environment.VM) { v.AgentID = agent.ID }); err != nil {
			return nil, err
		}
		if a.Joined != nil {
			if err := a.Joined(ctx, vm.ID); err != nil {
				return nil, err
			}
		}
	}
	return map[string]string{"id": agent.ID, "key": key}, nil
}

// joinVM returns the VM a token is for: one that exists, or a new one of an
// environment under the agent's name.
func (a *API) joinVM(ctx context.Context, t *identity.Token, name string) (*environment.VM, error) {
	if t.VM != "" {
		return a.Environments.VMs.Get(ctx, t.VM)
	}
	env, err := a.Environments.Environments.Get(ctx, t.Environment)
	if err != nil {
		return nil, err
	}
	vm, err := a.Environments.FindVM(ctx, env.ProjectID, name)
	if fault.Is(err, fault.NotFound) {
		return a.Environments.AddVM(ctx, &environment.VM{ProjectID: env.ProjectID, EnvironmentID: env.ID, Name: name, Tags: t.Tags, State: environment.VMRunning})
	}
	return vm, err
}

type held struct {
	JobID string `json:"jobId"`
	Fence int    `json:"fence"`
}

// pollRequest is a question of an agent. The session is one process of it, and
// the number counts its questions.
type pollRequest struct {
	Session string
	Number  int
	Free    int
	Held    []held
}

type pollAnswer struct {
	Message *run.JobMessage `json:"message,omitempty"`
	Cancel  []string        `json:"cancel,omitempty"`
	Lost    []string        `json:"lost,omitempty"`
}

// poll waits for a job, or for news of those that run.
func (a *API) poll(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err != nil {
		return nil, err
	}
	var in pollRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-json", "the request cannot be read")
	}
	ctx, cancel := context.WithTimeout(r.Context(), pollTime)
	defer cancel()
	told := map[string]bool{}
	a.Pools.Saw(agent.ID)
	for {
		if in.Session != "" && !a.Pools.Attend(agent.ID, in.Session, in.Number) {
			return &pollAnswer{}, nil // the agent has asked again since
		}
		a.Pools.Waits(agent.ID)
		woken := a.Pools.Woken()
		out, err := a.news(ctx, agent, in, told)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if out != nil {
			return out, nil
		}
		timer := time.NewTimer(5 * time.Second)
		select {
		case <-ctx.Done():
			timer.Stop()
			return &pollAnswer{}, nil
		case <-a.Stopping:
			timer.Stop()
			return &pollAnswer{}, nil
		case <-woken:
		case <-timer.C: // a wake-up may come from another server
		}
		timer.Stop()
	}
}

func (a *API) news(ctx context.Context, agent *agentpool.Agent, in pollRequest, told map[string]bool) (*pollAnswer, error) {
	out, mine := &pollAnswer{}, map[string]bool{}
	for _, h := range in.Held {
		mine[h.JobID] = true
		req, err := a.Pools.Hold(ctx, agent.ID, h.JobID, h.Fence)
		switch {
		case fault.CodeOf(err) == "lease-lost" || fault.Is(err, fault.NotFound):
			out.Lost = append(out.Lost, h.JobID)
		case err != nil:
			return nil, err
		case req.CancelRequested && !told[h.JobID]:
			out.Cancel, told[h.JobID] = append(out.Cancel, h.JobID), true
		}
	}
	if len(out.Cancel)+len(out.Lost) > 0 {
		return out, nil
	}
	var req *agentpool.Request
	var err error
	if in.Session != "" {
		req, err = a.Runs.SettleJobs(ctx, agent.ID, func(jobID string) bool { return mine[jobID] }, in.Free > 0)
	}
	if req == nil && err == nil && in.Free > 0 {
		req, err = a.Pools.AssignJob(ctx, agent.ID)
	}
	if err != nil || req == nil {
		return nil, ignoreConflict(err)
	}
	m, err := a.Runs.BuildJob(context.WithoutCancel(ctx), req, agent)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, nil // the job could not be built and has ended
	}
	return &pollAnswer{Message: m}, nil
}

// ignoreConflict: somebody else took the job in the meantime.
func ignoreConflict(err error) error {
	if fault.Is(err, fault.Conflict) {
		return nil
	}
	return err
}

func (a *API) goodbye(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err == nil {
		a.Pools.Gone(agent.ID)
	}
	return nil, err
}

func (a *API) renew(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err != nil {
		return nil, err
	}
	var in struct{ Fence int }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-json", "the request cannot be read")
	}
	a.Pools.Saw(agent.ID)
	cancel, err := a.Pools.Renew(r.Context(), agent.ID, r.PathValue("job"), in.Fence)
	return map[string]bool{"cancel": cancel}, err
}

func (a *API) log(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	fence, err1 := strconv.Atoi(q.Get("fence"))
	step, err2 := strconv.Atoi(q.Get("step"))
	offset, err3 := strconv.ParseInt(q.Get("offset"), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || step < 0 || step > 100_000 || offset < 0 {
		return nil, fault.New(fault.Invalid, "invalid-query", "fence, step and offset are numbers")
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "body-too-large", "a chunk of a log is too large").Want("at most %d bytes", maxBody)
	}
	end, err := a.Runs.AppendLog(r.Context(), agent.ID, r.PathValue("job"), fence, step, offset, data)
	return map[string]int64{"end": end}, err
}

func (a *API) steps(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Fence   int
		Reports []run.StepReport
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-json", "the request cannot be read")
	}
	return nil, a.Runs.ReportSteps(r.Context(), agent.ID, r.PathValue("job"), in.Fence, in.Reports)
}

func (a *API) complete(r *http.Request) (any, error) {
	agent, err := a.agent(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Fence  int
		Report run.JobReport
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "invalid-json", "the request cannot be read")
	}
	return nil, a.Runs.CompleteJob(r.Context(), agent.ID, r.PathValue("job"), in.Fence, in.Report)
}
