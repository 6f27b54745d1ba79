package server

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// Config is everything that can be configured: key http.listen is environment
// variable PENSTOCK_HTTP_LISTEN. The `key` tags are the names people write.
type Config struct {
	Data         string        `key:"data"`
	Organization string        `key:"organization"`
	Ports        string        `key:"ports"` // auto: a port that is taken is replaced; default: that is an error
	HTTP         HTTP          `key:"http"`
	DNS          DNS           `key:"dns"`
	Gateway      Gateway       `key:"gateway"`
	Orchestrator Orchestrator  `key:"orchestrator"`
	Agent        AgentConfig   `key:"agent"`
	VMs          VMs           `key:"vms"`
	Git          Git           `key:"git"`
	Log          Log           `key:"log"`
	Trace        Trace         `key:"trace"`
	Shutdown     time.Duration `key:"shutdown"`
}

// HTTP is the address of pages, API and Git.
type HTTP struct {
	Listen string `key:"listen"`
}

// DNS is the name server.
type DNS struct {
	Listen string `key:"listen"`
	Zones  string `key:"zones"` // comma separated
}

// Gateway is the data plane of HTTP.
type Gateway struct {
	HTTP   string `key:"http"`
	Fronts string `key:"fronts"` // CIDR of the addresses DNS gives out for slots
}

// Orchestrator holds the timing of jobs.
type Orchestrator struct {
	LeaseTTL         time.Duration `key:"leaseTtl"`
	LostAfter        time.Duration `key:"lostAfter"` // an agent silent for longer has lost its jobs
	ImpliedCITrigger bool          `key:"impliedCiTrigger"`
}

// AgentConfig is the embedded agent.
type AgentConfig struct {
	Jobs int `key:"jobs"` // 0 = one per CPU, at least 4
}

// VMs holds the providers of machines.
type VMs struct {
	Local LocalVMs `key:"local"`
}

// LocalVMs is the provider of the embedded default.
type LocalVMs struct {
	Enabled   bool   `key:"enabled"`
	Addresses string `key:"addresses"`
}

// Git is the program that keeps repositories.
type Git struct {
	Binary string `key:"binary"`
}

// Log is the server's own log.
type Log struct {
	Level  string `key:"level"`
	Format string `key:"format"` // auto, text, json
}

// Trace writes the spans of the chain to a file; "" = off.
type Trace struct {
	File string `key:"file"`
}

// Defaults are those of `penstock up`.
func Defaults() Config {
	return Config{Organization: "default", Ports: "auto",
		HTTP: HTTP{Listen: "127.0.0.1:7420"}, DNS: DNS{Listen: "127.0.0.1:7453", Zones: "localhost"},
		Gateway:      Gateway{HTTP: "127.0.0.1:7480", Fronts: "127.0.2.0/24"},
		Orchestrator: Orchestrator{LeaseTTL: 30 * time.Second, LostAfter: 5 * time.Minute, ImpliedCITrigger: true},
		VMs:          VMs{Local: LocalVMs{Enabled: runtime.GOOS == "linux", Addresses: "127.0.1.0/24"}},
		Git:          Git{Binary: "git"}, Log: Log{Level: "info", Format: "auto"}, Shutdown: 30 * time.Second}
}

// Load fills a configuration: defaults, then environment, then the settings
// given by name (flags).
func Load(env func(string) string, set map[string]string) (Config, error) {
	c := Defaults()
	known := map[string]reflect.Value{}
	walk(reflect.ValueOf(&c).Elem(), "", known)
	for key, field := range known {
		if v := env("PENSTOCK_" + envKey(key)); v != "" {
			if err := assign(field, key, v); err != nil {
				return c, err
			}
		}
	}
	for key, v := range set {
		field, ok := known[key]
		if !ok {
			return c, fault.New(fault.Invalid, "unknown-setting", "there is no setting %s", key).Try("penstock up --help")
		}
		if err := assign(field, key, v); err != nil {
			return c, err
		}
	}
	if c.Data == "" {
		c.Data = DefaultData(env)
	}
	var err error
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return c, err
	}
	if c.Agent.Jobs <= 0 {
		c.Agent.Jobs = max(runtime.NumCPU(), 4)
	}
	return c, nil
}

// DefaultData is where data lies if nobody says otherwise.
func DefaultData(env func(string) string) string {
	for _, name := range []string{"STATE_DIRECTORY"} {
		if v := env(name); v != "" {
			return v
		}
	}
	if v := env("XDG_DATA_HOME"); v != "" {
		return filepath.Join(v, "penstock")
	}
	home := env("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return filepath.Join(home, ".local", "share", "penstock")
}

func walk(v reflect.Value, prefix string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("key")
		if v.Field(i).Kind() == reflect.Struct {
			walk(v.Field(i), key+".", into)
			continue
		}
		into[key] = v.Field(i)
	}
}

// envKey turns orchestrator.leaseTtl into ORCHESTRATOR_LEASE_TTL.
func envKey(key string) string {
	var b strings.Builder
	for i, r := range key {
		switch {
		case r == '.':
			b.WriteByte('_')
		case r >= 'A' && r <= 'Z' && i > 0:
			b.WriteByte('_')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ToUpper(b.String())
}

func assign(field reflect.Value, key, text string) error {
	bad := func(want string) error {
		return fault.New(fault.Invalid, "invalid-setting", "setting %s cannot be read", key).Want("%s", want).Got("%q", text)
	}
	switch field.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return bad("a duration such as 30s or 5m")
		}
		field.SetInt(int64(d))
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return bad("a number")
		}
		field.SetInt(int64(n))
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return bad("true or false")
		}
		field.SetBool(b)
	case string:
		field.SetString(text)
	default:
		return fmt.Errorf("setting %s has a type that cannot be set", key)
	}
	return nil
}
