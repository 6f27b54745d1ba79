package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"penstock.dev/penstock/internal/edge/agentapi"
	"penstock.dev/penstock/internal/edge/devopsapi"
	"penstock.dev/penstock/internal/edge/gitserver"
	"penstock.dev/penstock/internal/edge/webui"
)

// routes is what the HTTP port answers, and where each part of it lives.
func (s *Server) routes() http.Handler {
	agents := &agentapi.API{Identity: s.identity, Pools: s.pools, Environments: s.environments, Runs: s.runs, Log: s.log, Stopping: s.stopping,
		Joined: func(ctx context.Context, vmID string) error { return s.repin(ctx, vmID) }}
	agentHandler := agents.Handler(s.cfg.Organization)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "ok", "version": s.version, "generation": s.planes.Generation()})
	})
	mux.Handle("GET /metrics", s.metrics())
	mux.Handle("/"+s.cfg.Organization+"/_apis/penstock/agent/", agentHandler)
	api := devopsapi.New(s.apiServices())
	git := gitserver.New(s.projects, s.repos, s.identity, s.git, s.cfg.Organization, s.log)
	pages := webui.New(s.pageServices())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.ToLower(r.URL.Path); {
		case strings.Contains(path, "/_git/"):
			git.ServeHTTP(w, r)
		case strings.Contains(path, "/_apis/") || strings.HasSuffix(path, "/_apis"):
			api.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})
	return mux
}

func (s *Server) pageServices() webui.Services {
	return webui.Services{Organization: s.cfg.Organization, Version: s.version, Clock: s.clock, Log: s.log, Identity: s.identity, Audit: s.audit,
		Projects: s.projects, Repos: s.repos, PullRequests: s.prs, Pools: s.pools, Environments: s.environments, Applications: s.apps, Runs: s.runs, Connections: s.connections, SecureFiles: s.secureFiles,
		Artifacts: s.artifacts, Links: s.links, Attachments: s.attachments, Tests: s.tests, Monitor: s.monitor, Watch: s.planes, Hub: s.hub, GatewayPort: func() string { return portSuffix(s.ports.Gateway) }, Stopping: s.stopping}
}

func (s *Server) apiServices() devopsapi.Services {
	v := devopsapi.Services{Organization: s.cfg.Organization, Version: s.version, Clock: s.clock, Log: s.log, Identity: s.identity, Audit: s.audit,
		Projects: s.projects, Repos: s.repos, PullRequests: s.prs, Pools: s.pools, Environments: s.environments, Applications: s.apps, Vaults: s.vaults,
		VariableGroups: s.groups, Connections: s.connections, SecureFiles: s.secureFiles, Runs: s.runs, Artifacts: s.artifacts, Links: s.links, Attachments: s.attachments, Tests: s.tests, Monitor: s.monitor, Watch: s.planes, Hub: s.hub,
		GatewayPort: func() string { return portSuffix(s.ports.Gateway) }}
	if s.cfg.VMs.Local.Enabled {
		v.Machines = s.machines
	}
	return v
}

// repin brings the targets of an application up to date after a machine joined.
func (s *Server) repin(context.Context, string) error {
	s.hub.Publish("apps")
	return nil
}
