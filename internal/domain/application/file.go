package application

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/pattern"
)

// Spec is a penstock.app.yml as written, with defaults filled in.
type Spec struct {
	Application  string              `yaml:"application" json:"application"`
	Description  string              `yaml:"description" json:"description,omitempty"`
	Names        map[string][]string `yaml:"names" json:"names"`
	Environments map[string]string   `yaml:"environments" json:"environments,omitempty"`
	Slots        []SlotSpec          `yaml:"slots" json:"slots"`
	Service      ServiceSpec         `yaml:"service" json:"service"`
	Health       HealthSpec          `yaml:"health" json:"health"`
	Routes       []RouteSpec         `yaml:"routes" json:"routes,omitempty"`
	TLS          string              `yaml:"tls" json:"tls,omitempty"`
	DNS          DNSSpec             `yaml:"dns" json:"dns"`
	Drain        DrainSpec           `yaml:"drain" json:"drain"`
	Swap         SwapSpec            `yaml:"swap" json:"swap"`
}

// SlotSpec names a slot and its VMs.
type SlotSpec struct {
	Slot string   `yaml:"slot" json:"slot"`
	VMs  []string `yaml:"vms" json:"vms"`
}

// ServiceSpec is what PenstockService@1 manages on each VM.
type ServiceSpec struct {
	Name     string            `yaml:"name" json:"name"`
	Folder   string            `yaml:"folder" json:"folder"`
	Command  []string          `yaml:"command" json:"command,omitempty"`
	User     string            `yaml:"user" json:"user,omitempty"`
	Port     int               `yaml:"port" json:"port"`
	Settings map[string]string `yaml:"settings" json:"settings,omitempty"`
	Stop     StopSpec          `yaml:"stop" json:"stop"`
}

// StopSpec is how a service is asked to end.
type StopSpec struct {
	Signal string   `yaml:"signal" json:"signal"`
	Grace  Duration `yaml:"grace" json:"grace"`
}

// HealthSpec is the probe of every VM.
type HealthSpec struct {
	Path     string      `yaml:"path" json:"path,omitempty"`
	TCP      bool        `yaml:"tcp" json:"tcp,omitempty"`
	Interval Duration    `yaml:"interval" json:"interval"`
	Timeout  Duration    `yaml:"timeout" json:"timeout"`
	Rise     int         `yaml:"rise" json:"rise"`
	Fall     int         `yaml:"fall" json:"fall"`
	Expect   string      `yaml:"expect" json:"expect"`
	Minimum  string      `yaml:"minimum" json:"minimum"`
	WarmUp   *WarmUpSpec `yaml:"warmUp" json:"warmUp,omitempty"`
}

// WarmUpSpec is the traffic a slot gets before it may become production.
type WarmUpSpec struct {
	Paths    []string `yaml:"paths" json:"paths"`
	Requests int      `yaml:"requests" json:"requests"`
	Within   Duration `yaml:"within" json:"within"`
	P99      Duration `yaml:"p99" json:"p99"`
}

// RouteSpec is one path of the application.
type RouteSpec struct {
	Path     string   `yaml:"path" json:"path"`
	Balance  string   `yaml:"balance" json:"balance,omitempty"`
	Affinity string   `yaml:"affinity" json:"affinity,omitempty"`
	Timeout  Duration `yaml:"timeout" json:"timeout"`
	Retry    string   `yaml:"retry" json:"retry,omitempty"`
}

// DNSSpec is how long answers may be cached.
type DNSSpec struct {
	Profile string   `yaml:"profile" json:"profile,omitempty"`
	TTL     Duration `yaml:"ttl" json:"ttl"`
}

// DrainSpec bounds the end of the old side.
type DrainSpec struct {
	Requests   Duration `yaml:"requests" json:"requests"`
	WebSockets Duration `yaml:"webSockets" json:"webSockets"`
	Total      Duration `yaml:"total" json:"total"`
}

// SwapSpec is how a swap behaves.
type SwapSpec struct {
	KeepPrevious Duration `yaml:"keepPrevious" json:"keepPrevious"`
	TakePrevious *bool    `yaml:"takePrevious" json:"takePrevious,omitempty"`
	InPlace      string   `yaml:"inPlace" json:"inPlace,omitempty"`
}

// Duration reads 10s, 5m, 24h.
type Duration time.Duration

// UnmarshalYAML reads a duration.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		return fmt.Errorf("line %d: %q is not a duration such as 10s, 5m or 24h", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// MarshalText prints a duration as it is written.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText is the inverse.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MaxFile is the largest application file, in bytes.
const MaxFile = 256 << 10

// ParseFile reads an application file. Every finding is reported at once, each
// with its line; the error's kind is Invalid.
func ParseFile(name string, data []byte) (*Spec, error) {
	bad := func(format string, args ...any) *fault.Error {
		return fault.New(fault.Invalid, "invalid-application", format, args...).At("%s", name).Try("penstock explain application")
	}
	if len(data) > MaxFile {
		return nil, bad("the file is too large").Want("at most %d bytes", MaxFile)
	}
	s := defaults()
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, bad("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if problems := s.check(); len(problems) > 0 {
		return nil, bad("%s", strings.Join(problems, "; "))
	}
	return s, nil
}

func defaults() *Spec {
	sec := func(n int) Duration { return Duration(time.Duration(n) * time.Second) }
	return &Spec{
		Service: ServiceSpec{Folder: "site", Port: 8080, Stop: StopSpec{Signal: "SIGTERM", Grace: sec(30)}},
		Health:  HealthSpec{Path: "/healthz", Interval: sec(5), Timeout: sec(2), Rise: 2, Fall: 3, Expect: "200-299", Minimum: "all"},
		TLS:     "off",
		DNS:     DNSSpec{TTL: sec(10)},
		Drain:   DrainSpec{Requests: sec(30), WebSockets: sec(10), Total: sec(600)},
		Swap:    SwapSpec{KeepPrevious: sec(86400), InPlace: "refuse"},
	}
}

var (
	appName  = pattern.Lazy(`^[a-z][a-z0-9-]{0,62}$`)
	hostName = pattern.Lazy(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	envName  = pattern.Lazy(`^[A-Z_][A-Z0-9_]*$`)
)

func (s *Spec) check() []string {
	var p []string
	add := func(ok bool, format string, args ...any) {
		if !ok {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	add(appName().MatchString(s.Application), "application: %q is not a name such as storefront", s.Application)
	add(len(s.Names[Production]) > 0, "names.production: at least one host name is needed")
	if len(s.Names[Staging]) == 0 && len(s.Names[Production]) > 0 {
		s.Names[Staging] = []string{"staging." + s.Names[Production][0]}
	}
	seen := map[string]string{}
	for role, names := range s.Names {
		add(role == Production || role == Staging, "names.%s: names belong to production or staging", role)
		for _, n := range names {
			add(hostName().MatchString(n) && len(n) <= 253 && net.ParseIP(n) == nil, "names.%s: %q is not a host name in lower case", role, n)
			add(seen[n] == "", "names: %s stands for two roles", n)
			seen[n] = role
		}
	}
	p = append(p, s.checkSlots()...)
	if s.Service.Name == "" {
		s.Service.Name = s.Application
	}
	add(s.Service.Port >= 1 && s.Service.Port <= 65535, "service.port: %d is not 1 to 65535", s.Service.Port)
	for k := range s.Service.Settings {
		add(envName().MatchString(k), "service.settings: %q is not a name such as LOG_LEVEL", k)
	}
	add(s.Health.TCP || strings.HasPrefix(s.Health.Path, "/"), "health.path: %q does not begin with /", s.Health.Path)
	add(s.Health.Timeout <= s.Health.Interval || s.Health.Interval == 0, "health.timeout: must not exceed health.interval")
	add(s.Health.Rise >= 1 && s.Health.Rise <= 10 && s.Health.Fall >= 1 && s.Health.Fall <= 10, "health.rise and health.fall: 1 to 10")
	_, err := s.MinimumOf(2)
	add(err == nil, "health.minimum: %q is not all, a number or a percentage", s.Health.Minimum)
	_, _, err = s.ExpectRange()
	add(err == nil, "health.expect: %q is not a range such as 200-299", s.Health.Expect)
	add(s.TLS == "off", "tls: only off is supported by this version")
	add(s.Swap.InPlace == "refuse" || s.Swap.InPlace == "rolling", "swap.inPlace: %q is not refuse or rolling", s.Swap.InPlace)
	add(time.Duration(s.Drain.Total) <= 24*time.Hour, "drain.total: at most 24h")
	return p
}

func (s *Spec) checkSlots() []string {
	var p []string
	if len(s.Slots) < 2 || len(s.Slots) > 16 {
		p = append(p, fmt.Sprintf("slots: %d given, 2 to 16 are needed", len(s.Slots)))
	}
	slots, vms := map[string]bool{}, map[string]bool{}
	for i, slot := range s.Slots {
		if !appName().MatchString(slot.Slot) || slots[slot.Slot] {
			p = append(p, fmt.Sprintf("slots[%d].slot: %q is not a name of its own", i, slot.Slot))
		}
		slots[slot.Slot] = true
		if len(slot.VMs) == 0 {
			p = append(p, fmt.Sprintf("slots[%d].vms: slot %s has no VM", i, slot.Slot))
		}
		for _, v := range slot.VMs {
			if vms[strings.ToLower(v)] {
				p = append(p, fmt.Sprintf("slots[%d].vms: %s stands twice", i, v))
			}
			vms[strings.ToLower(v)] = true
		}
	}
	return p
}

// MinimumOf is how many of n VMs must be healthy for a swap.
func (s *Spec) MinimumOf(n int) (int, error) {
	m := s.Health.Minimum
	if m == "all" || m == "" {
		return n, nil
	}
	percent, isPercent := strings.CutSuffix(m, "%")
	v, err := strconv.Atoi(percent)
	if err != nil || v < 1 || isPercent && v > 100 {
		return 0, fmt.Errorf("minimum %q", m)
	}
	if isPercent {
		return (n*v + 99) / 100, nil
	}
	return min(v, n), nil
}

// ExpectRange is the range of status codes that count as healthy.
func (s *Spec) ExpectRange() (from, to int, err error) {
	a, b, isRange := strings.Cut(s.Health.Expect, "-")
	if !isRange {
		b = a
	}
	if from, err = strconv.Atoi(a); err == nil {
		to, err = strconv.Atoi(b)
	}
	if err == nil && (from < 100 || to > 599 || from > to) {
		err = fmt.Errorf("range %d-%d", from, to)
	}
	return from, to, err
}

// Environment is the environment bound to a role.
func (s *Spec) Environment(role string) string {
	if e := s.Environments[role]; e != "" {
		return e
	}
	return role
}

// TakesPrevious reports whether a deployment to staging may take the slot that
// is kept for rollback: by default only where there is no third one.
func (s *Spec) TakesPrevious() bool {
	if s.Swap.TakePrevious != nil {
		return *s.Swap.TakePrevious
	}
	return len(s.Slots) == 2
}
