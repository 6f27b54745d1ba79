package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/routing"
)

// trafficCollector turns the gateway's counters into metrics when asked.
type trafficCollector struct{ planes *planes }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_"+name, help, labels, nil)
}

var (
	errorsDesc     = desc("gateway_errors_total", "Answers of 500 and above, and requests that met no backend.", "application", "slot")
	inFlightDesc   = desc("gateway_requests_in_flight", "Requests being answered now.", "application", "slot")
	durationDesc   = desc("gateway_request_duration_seconds", "Time to answer a request.", "application", "slot")
	healthyDesc    = desc("backend_healthy", "1 if the probe of a machine's service passes.", "application", "slot", "vm")
	generationDesc = desc("traffic_generation", "Generation the data planes serve.")
)

// Describe implements prometheus.Collector.
func (c trafficCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{errorsDesc, inFlightDesc, durationDesc, healthyDesc, generationDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c trafficCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.planes.Stats() {
		app, slot, _ := strings.Cut(s.Pool, "/")
		buckets, sum := map[float64]uint64{}, uint64(0)
		for i, bound := range routing.LatencyBounds {
			if i < len(s.Buckets) {
				sum += s.Buckets[i]
			}
			buckets[bound] = sum
		}
		ch <- prometheus.MustNewConstHistogram(durationDesc, s.Requests, s.Sum, buckets, app, slot)
		ch <- prometheus.MustNewConstMetric(errorsDesc, prometheus.CounterValue, float64(s.Errors), app, slot)
		ch <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(s.InFlight), app, slot)
	}
	for _, h := range c.planes.Health() {
		app, slot, _ := strings.Cut(h.Pool, "/")
		healthy := 0.0
		if h.State == "healthy" {
			healthy = 1
		}
		ch <- prometheus.MustNewConstMetric(healthyDesc, prometheus.GaugeValue, healthy, app, slot, h.Backend)
	}
	ch <- prometheus.MustNewConstMetric(generationDesc, prometheus.GaugeValue, float64(c.planes.Generation()))
}

// metrics answers Prometheus: anybody on this machine, elsewhere a server
// administrator's token.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), trafficCollector{s.planes}, s.ended)
	answer := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			sub, err := s.identity.SubjectOf(r.Context(), token)
			if err != nil || identity.Check(sub, identity.AuditRead, "") != nil {
				http.Error(w, "metrics need a server administrator's token", http.StatusUnauthorized)
				return
			}
		}
		answer.ServeHTTP(w, r)
	})
}

func newEnded() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_runs_completed_total", Help: "Runs that have ended, by pipeline and result."}, []string{"pipeline", "result"})
}
