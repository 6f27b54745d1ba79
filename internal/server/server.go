// Package server builds a process from its configuration: adapters, use cases,
// edges and loops. It is the only package that imports all of them.
package server

//go:generate go test . -run StateDiagrams -update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock.dev/penstock/internal/adapter/blobstore"
	"penstock.dev/penstock/internal/adapter/gitcli"
	"penstock.dev/penstock/internal/adapter/outbound"
	"penstock.dev/penstock/internal/adapter/seal"
	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/base/startstop"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/agentpool"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/audit"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/keyvault"
	"penstock.dev/penstock/internal/domain/monitor"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/pullrequest"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/securefile"
	"penstock.dev/penstock/internal/domain/serviceconnection"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/domain/variablegroup"
	"penstock.dev/penstock/internal/edge/dnsserver"
	"penstock.dev/penstock/internal/edge/gateway"
)

// Server is one process with every role.
type Server struct {
	cfg     Config
	version string
	log     *slog.Logger
	clock   store.Clock

	db      *storage
	blobs   *blobstore.Store
	git     *gitcli.Git
	hub     *broadcast.Hub
	outbox  *outbox.Dispatcher
	planes  *planes
	monitor *monitor.Recorder

	identity     *identity.Service
	audit        *audit.Service
	projects     *project.Service
	repos        *repos.Service
	prs          *pullrequest.Service
	pools        *agentpool.Service
	environments *environment.Service
	apps         *application.Service
	vaults       *keyvault.Service
	groups       *variablegroup.Service
	connections  *serviceconnection.Service
	secureFiles  *securefile.Service
	runs         *run.Service
	artifacts    *artifact.Service
	links        *artifact.Links
	attachments  *attachment.Service
	tests        *testresult.Service
	machines     *machines
	agent        embedded

	http     *http.Server
	listener net.Listener
	ports    Ports
	stopping chan struct{}
	ended    *prometheus.CounterVec
}

// open builds the server on a data folder without starting anything.
func open(ctx context.Context, cfg Config, database opener, version string, log *slog.Logger) (*Server, error) {
	if err := writable(cfg.Data); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, version: version, log: log, hub: &broadcast.Hub{}, monitor: &monitor.Recorder{}, stopping: make(chan struct{}), ended: newEnded()}
	var err error
	if s.db, err = database(ctx, cfg.Data); err != nil {
		return nil, err
	}
	if s.blobs, err = blobstore.OpenFolder(filepath.Join(cfg.Data, "blobs")); err != nil {
		return nil, err
	}
	sealer, err := s.sealer()
	if err != nil {
		return nil, err
	}
	s.git = &gitcli.Git{Binary: cfg.Git.Binary, Folder: filepath.Join(cfg.Data, "git")}
	gatewayFile, dnsFile, err := s.snapshots()
	if err != nil {
		return nil, err
	}
	s.planes = &planes{client: &http.Client{Timeout: 10 * time.Second},
		gateway: gateway.New(gateway.Options{Logger: log, SnapshotFile: gatewayFile}),
		dns:     dnsserver.New(dnsserver.Options{Logger: log, SnapshotFile: dnsFile})}
	s.build(sealer)
	s.handle()
	return s, nil
}

// sealer keeps its key as long as the documents that it seals are kept.
func (s *Server) sealer() (*seal.Sealer, error) {
	if s.db.memory != nil {
		return seal.Ephemeral()
	}
	return seal.OpenFile(filepath.Join(s.cfg.Data, "keys", "kek"))
}

// snapshots are the files from which traffic is served before anything else is
// ready; "" where nothing outlives the process.
func (s *Server) snapshots() (gateway, dns string, err error) {
	if s.db.memory != nil {
		return "", "", nil
	}
	folder := filepath.Join(s.cfg.Data, "snapshots")
	return filepath.Join(folder, "gateway.json"), filepath.Join(folder, "dns.json"), os.MkdirAll(folder, 0o700)
}

func writable(folder string) error {
	bad := func(err error) error {
		return fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", folder).
			Want("a folder this user can write, with 200 MB free").Try("make it writable, or choose another: penstock up --data DIR. Nothing was changed")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return bad(err)
	}
	f, err := os.CreateTemp(folder, ".write-*")
	if err != nil {
		return bad(err)
	}
	_, err = f.Write(make([]byte, 4096))
	err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	if err != nil {
		return bad(err)
	}
	return nil
}

// build wires the use cases.
func (s *Server) build(sealer keyvault.Sealer) {
	db := s.db
	s.audit = &audit.Service{Records: table[audit.Record](db, "audit", "audit record"), Tx: db, Clock: s.clock}
	s.identity = identity.NewService(identity.Store{
		Users: table[identity.User](db, "users", "user"), Groups: table[identity.Group](db, "groups", "group"),
		Grants: table[identity.Grant](db, "grants", "grant"), Tokens: table[identity.Token](db, "tokens", "token")}, db, s.audit, s.clock)
	s.projects = &project.Service{Projects: table[project.Project](db, "projects", "project"), Tx: db, Audit: s.audit, Clock: s.clock}
	s.repos = &repos.Service{Repositories: table[repos.Repository](db, "repositories", "repository"),
		Pushes: table[repos.Push](db, "pushes", "push"), Tx: db, Audit: s.audit, Clock: s.clock, Git: s.git, History: s.git}
	s.pools = &agentpool.Service{Pools: table[agentpool.Pool](db, "pools", "pool"), Agents: table[agentpool.Agent](db, "agents", "agent"),
		Requests: table[agentpool.Request](db, "requests", "job request"), Tx: db, Audit: s.audit, Identity: s.identity, Clock: s.clock, LeaseTTL: s.cfg.Orchestrator.LeaseTTL, LostAfter: s.cfg.Orchestrator.LostAfter}
	s.environments = &environment.Service{Environments: table[environment.Environment](db, "environments", "environment"),
		VMs: table[environment.VM](db, "vms", "VM"), Checks: table[environment.Check](db, "checks", "check"),
		Approvals: table[environment.Approval](db, "approvals", "approval"), Locks: table[environment.Lock](db, "locks", "lock"),
		Deployments: table[environment.Deployment](db, "deployments", "deployment"), Tx: db, Audit: s.audit, Identity: s.identity, Clock: s.clock}
	s.vaults = &keyvault.Service{Vaults: table[keyvault.Vault](db, "vaults", "vault"),
		Secrets: table[keyvault.Secret](db, "secrets", "secret"), Tx: db, Audit: s.audit, Clock: s.clock, Sealer: sealer}
	s.groups = &variablegroup.Service{Groups: table[variablegroup.Group](db, "variable_groups", "variable group"), Tx: db, Audit: s.audit, Vaults: s.vaults}
	s.connections = &serviceconnection.Service{Connections: table[serviceconnection.Connection](db, "service_connections", "service connection"),
		Tx: db, Audit: s.audit, Clock: s.clock, Sealer: sealer}
	s.secureFiles = &securefile.Service{Files: table[securefile.File](db, "secure_files", "secure file"),
		Contents: table[securefile.Content](db, "secure_file_contents", "secure file"), Tx: db, Audit: s.audit, Clock: s.clock, Sealer: sealer}
	s.artifacts = &artifact.Service{Artifacts: table[artifact.Artifact](db, "artifacts", "artifact"), Uses: table[artifact.Use](db, "artifact_uses", "use of an artifact"),
		Tx: db, Blobs: s.blobs, Clock: s.clock}
	s.links = &artifact.Links{Links: table[artifact.Link](db, "artifact_links", "artifact"), Clock: s.clock}
	s.attachments = &attachment.Service{Attachments: table[attachment.Attachment](db, "attachments", "attachment"), Blobs: s.blobs, Tx: db, Clock: s.clock}
	s.tests = &testresult.Service{Runs: table[testresult.TestRun](db, "test_runs", "test run"), Results: table[testresult.Set](db, "test_results", "set of test results"),
		Reports: table[testresult.Coverage](db, "coverage", "coverage report"), Files: table[testresult.CoverageFiles](db, "coverage_files", "coverage report"), Tx: db, Clock: s.clock}
	s.machines = &machines{server: s}
	s.apps = &application.Service{Apps: table[application.Application](db, "applications", "application"),
		Swaps: table[application.Swap](db, "swaps", "swap"), Tx: db, Audit: s.audit, Environments: s.environments, VariableGroups: s.groups,
		Clock: s.clock, Switch: s.planes, Zones: strings.Split(s.cfg.DNS.Zones, ","), Fronts: s.cfg.Gateway.Fronts,
		GatewayPort: func() string { return portSuffix(s.ports.Gateway) }, DNSAddress: func() string { return s.ports.DNS }}
	if s.cfg.VMs.Local.Enabled {
		s.apps.Machines = s.machines
	}
	s.runs = &run.Service{Sealer: sealer, Store: run.Store{Pipelines: table[run.Pipeline](db, "pipelines", "pipeline"), Runs: table[run.Run](db, "runs", "run"),
		Plans: table[run.Planned](db, "plans", "plan"), Stages: table[run.Stage](db, "stages", "stage"),
		Phases: table[run.Phase](db, "phases", "phase"), Jobs: table[run.Job](db, "jobs", "job")},
		Tx: db, Audit: s.audit, Clock: s.clock, Identity: s.identity, Projects: s.projects, Repos: s.repos, Pools: s.pools, Environments: s.environments,
		Applications: s.apps, VariableGroups: s.groups, Connections: s.connections, SecureFiles: s.secureFiles, Artifacts: s.artifacts, Logs: db.logs, Hub: s.hub,
		Address: run.Address{Organization: s.cfg.Organization, BaseURL: s.URL}, ImpliedTrigger: s.cfg.Orchestrator.ImpliedCITrigger}
	s.runs.ServerTasks = s.tasks()
	s.prs = &pullrequest.Service{PullRequests: table[pullrequest.PullRequest](db, "pull_requests", "pull request"),
		Policies: table[pullrequest.Policy](db, "policies", "policy"), Tx: db, Audit: s.audit, Clock: s.clock, Repos: s.repos, Runs: s.runs, Hub: s.hub}
	s.repos.Protection = s.prs
}

func (s *Server) tasks() map[string]run.ServerTask {
	traffic := func(back bool) run.ServerTask {
		return func(ctx context.Context, c run.ServerCall) ([]string, map[string]string, error) {
			ctx = identity.With(ctx, identity.Subject{Kind: identity.JobKind, ID: c.Job.ID, Name: "job " + c.Job.Name + " of run " + c.Run.ID, Project: c.Run.ProjectID, Run: c.Run.ID})
			lines, err := s.swapTask(ctx, c.Run.ProjectID, c.Inputs["application"], c.Environment, back, application.SwapRequest{RunID: c.Run.ID,
				Key: fmt.Sprintf("%s/%s/%d", c.Run.ID, c.Job.ID, c.Job.Attempt), ExpectRelease: c.Inputs["expectrelease"], OnlyThisRun: back && c.Inputs["onlythisrun"] != "false"})
			return lines, nil, err
		}
	}
	return map[string]run.ServerTask{"penstockswap": traffic(false), "penstockrollback": traffic(true), "invokerestapi": (&invoker{runs: s.runs, client: outbound.New()}).invoke}
}

// handle connects the outbox with the use cases.
func (s *Server) handle() {
	s.outbox = outbox.NewDispatcher(s.db, s.log)
	one := func(handlers ...func(context.Context, string) error) outbox.Handler {
		return func(ctx context.Context, m outbox.Message) error {
			var key string
			if err := m.Decode(&key); err != nil {
				return err
			}
			for _, h := range handlers {
				if err := h(identity.With(ctx, identity.System()), key); err != nil {
					return err
				}
			}
			return nil
		}
	}
	s.outbox.Handle(repos.TopicPushed, one(s.runs.QueueRunsForPush, s.prs.PushChanged))
	s.outbox.Handle(pullrequest.TopicRefresh, one(s.prs.Refresh))
	s.outbox.Handle(run.TopicAdvance, one(s.runs.AdvanceRun, s.runs.WakeServerJobs))
	s.outbox.Handle(run.TopicStage, one(s.runs.StartStageFollowers))
	s.outbox.Handle(run.TopicPin, one(s.runs.PinDeployment))
	s.outbox.Handle(run.TopicServerJob, one(s.runs.ServeJob))
	s.outbox.Handle(run.TopicCompleted, one(s.runs.StartFollowers, s.prs.RunEnded, func(ctx context.Context, id string) error {
		s.hub.Publish("run/"+id, "runs", "apps")
		if r, err := s.runs.Runs.Get(ctx, id); err == nil {
			s.ended.WithLabelValues(r.Pipeline, string(r.Result)).Inc()
		}
		return nil
	}))
	s.outbox.Handle(application.TopicDrain, one(func(ctx context.Context, id string) error { return s.apps.DrainOld(ctx, id, s.planes.cachedUntil) }))
	s.outbox.Handle(application.TopicExpire, one(s.apps.ExpirePrevious))
	s.outbox.Handle(application.TopicChanged, one(func(_ context.Context, id string) error {
		s.hub.Publish("app/"+id, "apps")
		return nil
	}))
	s.outbox.Handle(application.TopicPublish, func(ctx context.Context, m outbox.Message) error {
		var generation uint64
		if err := m.Decode(&generation); err != nil {
			return err
		}
		s.hub.Publish("apps")
		if s.planes.Generation() >= generation {
			return nil
		}
		return s.apps.Reconcile(ctx)
	})
}

// URL is where pages and API are reached on this machine.
func (s *Server) URL() string { return s.ports.URL() }

func portSuffix(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "80" {
		return ""
	}
	return ":" + port
}

// loops are the services that run until the server stops.
func (s *Server) loops(g *startstop.Group) {
	g.Go("outbox", s.outbox.Run)
	g.Go("lost jobs", every(time.Second, func(ctx context.Context) {
		if err := s.runs.EndLostJobs(ctx); err != nil {
			s.log.Error("lost jobs cannot be looked for", "error", err)
		}
	}))
	g.Go("monitor", every(monitor.FineStep, func(context.Context) {
		s.monitor.Observe(time.Now().UTC(), s.planes.Stats())
	}))
	g.Go("loose chunks", every(time.Hour, func(ctx context.Context) {
		if _, err := s.artifacts.Collect(ctx); err != nil {
			s.log.Error("chunks that no artifact uses cannot be collected", "error", err)
		}
	}))
	g.Go("http", func(context.Context) error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

func every(d time.Duration, fn func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				fn(ctx)
			}
		}
	}
}

// close ends what open began.
func (s *Server) close() error {
	return errors.Join(s.blobs.Close(), s.db.close())
}
