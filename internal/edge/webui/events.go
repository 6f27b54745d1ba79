package webui

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/broadcast"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/identity"
)

const (
	maxKeys   = 40
	eventGap  = 250 * time.Millisecond // at most four events per second
	heartbeat = 15 * time.Second
	// A stream ends after a while and the browser asks anew, so that a session
	// that was ended, or a role that was taken, ends the stream too.
	streamLife = 10 * time.Minute
)

// events streams the names of what changed. Every key is checked for permission
// on its project before the first byte.
func events(c *call) error {
	keys := strings.FieldsFunc(c.r.FormValue("keys"), func(r rune) bool { return r == ',' })
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) == 0 || len(keys) > maxKeys {
		return fault.New(fault.Invalid, "keys", "say what to listen to: ?keys=runs,run/12").Want("1 to %d keys", maxKeys)
	}
	for _, k := range keys {
		if err := c.mayListen(k); err != nil {
			return err
		}
	}
	sub := c.s.Hub.Subscribe(keys...)
	defer sub.Close()
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(c.w)
	_ = out.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(c.ctx(), streamLife)
	defer cancel()
	c.stream(ctx, sub, func(text string) error {
		if _, err := fmt.Fprint(c.w, text); err != nil {
			return err
		}
		return out.Flush()
	})
	return nil
}

// stream sends until the browser goes, the stream's life is over, or the server
// stops.
func (c *call) stream(ctx context.Context, sub *broadcast.Subscription, send func(string) error) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	gap := time.NewTicker(eventGap)
	defer gap.Stop()
	text := ": here\nretry: 2000\n\n"
	for send(text) == nil {
		text = ""
		select {
		case <-ctx.Done():
			return
		case <-c.s.Stopping:
			return
		case <-beat.C:
			text = "event: beat\ndata: \n\n"
		case <-sub.C:
			// What else changes within the gap goes out with it.
			select {
			case <-ctx.Done():
				return
			case <-gap.C:
			}
			if changed := sub.Take(); len(changed) > 0 {
				slices.Sort(changed)
				text = "event: changed\ndata: " + strings.Join(changed, " ") + "\n\n"
			}
		}
	}
}

// mayListen checks a key: the lists tell only that something changed somewhere,
// everything else belongs to a project.
func (c *call) mayListen(key string) error {
	kind, rest, _ := strings.Cut(key, "/")
	id, _, _ := strings.Cut(rest, "/")
	ctx, projectID := c.ctx(), ""
	refused := fault.New(fault.NotFound, "not-found", "nothing is called %s", key)
	switch kind {
	case "runs", "approvals", "apps":
		if rest == "" {
			return nil
		}
		return refused
	case "run":
		if r, err := c.s.Runs.Runs.Get(ctx, id); err == nil {
			projectID = r.ProjectID
		}
	case "log":
		if j, err := c.s.Runs.Jobs.Get(ctx, id); err == nil {
			if r, err := c.s.Runs.Runs.Get(ctx, j.RunID); err == nil {
				projectID = r.ProjectID
			}
		}
	case "pr":
		if pr, err := c.s.PullRequests.PullRequests.Get(ctx, id); err == nil {
			projectID = pr.ProjectID
		}
	case "app":
		if a, err := c.s.Applications.Apps.Get(ctx, id); err == nil {
			projectID = a.ProjectID
		}
	}
	if projectID == "" || !identity.Can(c.subject, identity.ProjectView, projectID) {
		return refused
	}
	return nil
}
