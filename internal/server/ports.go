package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/rootfs"
)

// Ports are the addresses this process listens on.
type Ports struct {
	HTTP    string `json:"http"`
	Gateway string `json:"gateway"`
	DNS     string `json:"dns"`
}

// URL is the address of pages and API as a browser on this machine reaches it.
func (p Ports) URL() string {
	host, port, err := net.SplitHostPort(p.HTTP)
	if err != nil {
		return "http://" + p.HTTP
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return fmt.Sprintf("http://%s:%s", host, port)
}

// UpFile is up.json: how `down`, `login` and the CLI find a local server.
type UpFile struct {
	PID          int    `json:"pid"`
	URL          string `json:"url"`
	Organization string `json:"organization"`
	Version      string `json:"version"`
	Ports        Ports  `json:"ports"`
}

func upFile(data string) string { return filepath.Join(data, "up.json") }

// ReadUpFile returns what a server left in its data folder; nil if none did.
func ReadUpFile(data string) (*UpFile, error) {
	raw, err := os.ReadFile(upFile(data))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &UpFile{}
	if err := json.Unmarshal(raw, u); err != nil {
		return nil, fmt.Errorf("read up.json: %w", err)
	}
	return u, nil
}

func (s *Server) writeUpFile(pid int) error {
	raw, err := json.MarshalIndent(UpFile{PID: pid, URL: s.URL(), Organization: s.cfg.Organization, Version: s.version, Ports: s.ports}, "", "  ")
	if err != nil {
		return err
	}
	return rootfs.WriteFile(upFile(s.cfg.Data), raw, 0o600)
}

// listenHTTP opens a free port of this machine for the API alone.
func (s *Server) listenHTTP() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener, s.ports.HTTP = l, l.Addr().String()
	return nil
}

// listen opens every socket: where it was the last time, else where the
// configuration says, else (ports: auto) on a free port, which is said.
func (s *Server) listen(ctx context.Context) (notes []string, err error) {
	last := Ports{}
	if u, err := ReadUpFile(s.cfg.Data); err == nil && u != nil {
		last = u.Ports
	}
	bind := func(what, before, want string, open func(address string) (string, error)) (string, error) {
		tries := []string{want}
		if before != "" && before != want {
			tries = []string{before, want}
		}
		for _, address := range tries {
			if got, err := open(address); err == nil {
				return got, nil
			}
		}
		host, port, err := net.SplitHostPort(want)
		if err != nil {
			return "", fault.Wrap(err, fault.Invalid, "invalid-setting", "the address of %s cannot be read", what).Got("%s", want)
		}
		if s.cfg.Ports != "auto" {
			return "", fault.New(fault.Unavailable, "port-taken", "port %s for %s is taken", port, what).Try("end what uses it, or: penstock up --ports auto")
		}
		got, err := open(net.JoinHostPort(host, "0"))
		if err == nil {
			notes = append(notes, fmt.Sprintf("%s: %s (%s is taken by another program)", what, got, port))
		}
		return got, err
	}
	if s.ports.HTTP, err = bind("Pages", last.HTTP, s.cfg.HTTP.Listen, func(a string) (string, error) {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return "", err
		}
		s.listener = l
		return l.Addr().String(), nil
	}); err != nil {
		return nil, err
	}
	if s.ports.Gateway, err = bind("Gateway", last.Gateway, s.cfg.Gateway.HTTP, func(a string) (string, error) { return s.planes.gateway.Listen(ctx, a) }); err != nil {
		return nil, err
	}
	s.ports.DNS, err = bind("DNS", last.DNS, s.cfg.DNS.Listen, func(a string) (string, error) { return s.planes.dns.Listen(ctx, a) })
	return notes, err
}
