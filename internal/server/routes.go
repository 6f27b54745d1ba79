package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"penstock.dev/penstock/internal/edge/agentapi"
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
	mux.Handle("/"+s.cfg.Organization+"/_apis/penstock/agent/", agentHandler)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/_git/"):
			http.NotFound(w, r)
		default:
			http.NotFound(w, r)
		}
	})
	return mux
}

// repin brings the targets of an application up to date after a machine joined.
func (s *Server) repin(context.Context, string) error {
	s.hub.Publish("apps")
	return nil
}
