// Command storefront is a small shop: the example that Penstock releases.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"storefront.example/shop"
)

// version is set when the program is built: -ldflags "-X main.version=1.0.2".
var version = "0.0.0-dev"

// stopTime is how long running requests may take after SIGTERM.
const stopTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "storefront:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then finishes what was asked.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	flags := flag.NewFlagSet("storefront", flag.ContinueOnError)
	flags.SetOutput(stderr)
	web := flags.String("web", "", "folder with the pages (default: web beside the program, else ./web)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	handler, err := shop.New(shop.Options{Web: webFolder(*web), Version: version, PaymentKey: getenv("PAYMENT_KEY"), Logger: logger})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(or(getenv("HOST"), "127.0.0.1"), or(getenv("PORT"), "8080")))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 120 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	logger.Info("serving", "version", version, "address", l.Addr().String())
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	logger.Info("stopping: running requests may finish", "within", stopTime)
	limit, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

// webFolder is where the pages are: a deployed package has them beside the program.
func webFolder(given string) string {
	if given != "" {
		return given
	}
	if program, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(program), "web")
		if info, err := os.Stat(beside); err == nil && info.IsDir() {
			return beside
		}
	}
	return "web"
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
