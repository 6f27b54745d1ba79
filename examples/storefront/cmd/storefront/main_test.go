package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// log hands every line of the program's log to a channel.
type log chan string

func (l log) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestServesUntilToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	env := map[string]string{"PORT": "0"}
	lines, ended := make(log, 16), make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-web", "../../web"}, func(name string) string { return env[name] }, lines)
	}()
	var line string
	select {
	case line = <-lines:
	case err := <-ended:
		t.Fatal(err)
	}
	_, address, ok := strings.Cut(strings.TrimSpace(line), "address=")
	if !ok {
		t.Fatalf("log %q", line)
	}
	res, err := http.Get("http://" + address + "/version")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if strings.TrimSpace(string(body)) != version {
		t.Errorf("version %q", body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutPages(t *testing.T) {
	if err := run(t.Context(), []string{"-web", t.TempDir()}, func(string) string { return "" }, io.Discard); err == nil {
		t.Error("it served without pages")
	}
}
