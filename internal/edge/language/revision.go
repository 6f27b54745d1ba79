package language

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// readRevision reads a file as a revision of the checkout has it. The path is
// relative to the folder, which need not be the top of the checkout.
func readRevision(ctx context.Context, folder, revision, path string) ([]byte, error) {
	if strings.HasPrefix(revision, "-") {
		return nil, fault.New(fault.Invalid, "revision", "%s is no revision", revision)
	}
	cmd := exec.CommandContext(ctx, "git", "cat-file", "blob", revision+":./"+filepath.ToSlash(path))
	cmd.Dir = folder
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	var exit *exec.ExitError
	switch text := problem.String(); {
	case err == nil:
		return out.Bytes(), nil
	case !errors.As(err, &exit):
		return nil, fault.Wrap(err, fault.Unavailable, "git-missing", "git cannot be run")
	case strings.Contains(text, "does not exist in") || strings.Contains(text, "exists on disk, but not in"):
		return nil, fault.New(fault.NotFound, "file-not-found", "there is no file %s at %s", path, revision)
	default:
		return nil, fault.New(fault.Invalid, "revision", "the checkout has no revision %s", revision).Got("%s", strings.TrimSpace(text)).Try("git log --oneline")
	}
}

// Diff compares two expanded files as unified text; "" when they are equal.
func Diff(before, after *pipeline.Expanded, beforeName, afterName string) (string, error) {
	a, err := before.YAML()
	if err != nil {
		return "", err
	}
	b, err := after.YAML()
	if err != nil {
		return "", err
	}
	return udiff.Unified(beforeName, afterName, a, b), nil
}
