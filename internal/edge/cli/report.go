package cli

import (
	"penstock.dev/penstock/docs"

	"context"
	_ "embed" // for errors.md
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
)

var errHelp = pflag.ErrHelp

// exitCode ends a command without a message: what it had to say is printed.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

var exitOf = map[fault.Kind]int{fault.Invalid: 2, fault.Denied: 3, fault.NotFound: 4, fault.Unavailable: 5, fault.Conflict: 6, fault.Internal: 70}

// answered are codes with which the thing asked about has failed, rather than
// the asking: the exit code is 1.
var answered = map[string]bool{"not-healthy": true, "too-slow": true, "tests-failed": true, "demo-step-failed": true}

// report prints an error and returns the exit code.
func (c *cli) report(ctx context.Context, err error) int {
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 130
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fault.New(fault.Unavailable, "timed-out", "no answer within %s", c.flags.timeout).Try("try again with a larger --timeout")
	}
	e := asFault(err)
	if c.flags.output == "json" {
		data, _ := json.Marshal(struct {
			Kind string `json:"kind"`
			*fault.Error
		}{e.Kind.String(), e})
		_, _ = fmt.Fprintf(c.Stderr, "%s\n", data)
	} else {
		_, _ = fmt.Fprint(c.Stderr, render(e))
	}
	if answered[e.Code] {
		return 1
	}
	return exitOf[e.Kind]
}

func asFault(err error) *fault.Error {
	var e *fault.Error
	if !errors.As(err, &e) {
		// Whatever cobra finds wrong with a command line has no type.
		if text := err.Error(); strings.HasPrefix(text, "unknown command") || strings.Contains(text, "arg(s)") || strings.HasPrefix(text, "required flag") {
			return usage("%s", text).Try("penstock --help")
		}
		return fault.New(fault.Internal, "internal", "%s", err).Got("report %s", id.New()).Try("this is our fault: report it with what you typed")
	}
	if e.Err != nil {
		copied := *e
		copied.Message = e.Error()
		return &copied
	}
	return e
}

// render writes an error the one way errors look.
func render(e *fault.Error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "error %s: %s\n", e.Code, printable(e.Message))
	for _, answer := range []struct{ label, text string }{{"where", e.Where}, {"expected", e.Expected}, {"found", e.Found}, {"do", e.Do}} {
		if answer.text != "" {
			fmt.Fprintf(&b, "  %-10s%s\n", answer.label, printable(answer.text))
		}
	}
	if _, known := explanations()[e.Code]; known {
		fmt.Fprintf(&b, "  %-10spenstock explain %s\n", "see", e.Code)
	}
	return b.String()
}

// explanations are the sections of errors.md by their code.
func explanations() map[string]string {
	all := map[string]string{}
	for _, section := range strings.Split("\n"+docs.Errors, "\n## ")[1:] {
		code, text, _ := strings.Cut(section, "\n")
		all[strings.TrimSpace(code)] = strings.TrimSpace(text)
	}
	return all
}
