// Command penstock is the product: one binary with every role.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"penstock.dev/penstock/internal/agent"
	"penstock.dev/penstock/internal/edge/demo"
	"penstock.dev/penstock/internal/server"
)

var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("penstock", flag.ExitOnError)
	data := fs.String("data", "", "")
	purge := fs.Bool("purge", false, "")
	name := fs.String("name", "", "")
	folder := fs.String("folder", "", "")
	vm := fs.String("vm-data", "", "")
	sup := fs.Bool("supervise", false, "")
	srv := fs.String("server", "", "")
	org := fs.String("org", "default", "")
	join := fs.String("join-token-file", "", "")
	jobs := fs.Int("jobs", 1, "")
	_ = fs.Parse(args[1:])
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	set := map[string]string{}
	if *data != "" {
		set["data"] = *data
	}
	cfg, err := server.Load(os.Getenv, set)
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return server.Up(ctx, server.Options{Config: cfg, Version: version, Out: os.Stdout, Log: log})
	case "demo":
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return server.Up(ctx, server.Options{Config: cfg, Version: version, Out: os.Stdout, Log: log, Ready: func(url, password string) {
			go func() {
				defer cancel()
				if err := demoWith(ctx, cfg.Data, url, password); err != nil {
					fmt.Fprintf(os.Stderr, "%+v\n", err)
				}
			}()
		}})
	case "down":
		return server.Down(ctx, cfg.Data, *purge, os.Stdout)
	case "agent":
		token := ""
		if *join != "" {
			raw, err := os.ReadFile(*join)
			if err == nil {
				token = strings.TrimSpace(string(raw))
			}
		}
		return agent.Run(ctx, agent.Config{Server: *srv, Organization: *org, Name: *name, Folder: *folder, JoinToken: token, Jobs: *jobs, VMData: *vm, Supervise: *sup,
			ToolCache: filepath.Join(*folder, "tools"), Version: version, Log: log})
	}
	return fmt.Errorf("unknown")
}

func demoWith(ctx context.Context, data, url, password string) error {
	u, err := server.ReadUpFile(data)
	if err != nil {
		return err
	}
	token := os.Getenv("PENSTOCK_TOKEN")
	if password != "" {
		if token, err = demo.SignIn(ctx, url, u.Organization, "admin", password); err != nil {
			return err
		}
	}
	return demo.Run(ctx, demo.Options{Server: url, Organization: u.Organization, Token: token, DNS: u.Ports.DNS, Gateway: u.Ports.Gateway,
		Folder: filepath.Join(data, "demo"), Out: os.Stdout, Fast: true})
}
