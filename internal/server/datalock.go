package server

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"penstock.dev/penstock/internal/base/fault"
)

// endingLimit is how long a new server waits for one that is ending.
const endingLimit = 5 * time.Second

// lockData makes sure that one process works on a data folder.
func lockData(data string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "data-not-writable", "cannot write in the data folder").At("%s", data)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		e := fault.New(fault.Conflict, "already-up", "Penstock runs on this data folder already").At("%s", data)
		if u, err := ReadUpFile(data); err == nil && u != nil {
			e = e.Got("process %d at %s", u.PID, u.URL)
		}
		return nil, e.Try("use it, end it with: penstock down, or choose another folder: penstock up --data DIR")
	}
	return func() { _ = f.Close() }, nil
}

// takeData is lockData for a new server. The lock of one that was killed goes
// with the last of its threads, and one that stops finishes its work first:
// whoever holds the folder and does not answer is given time to end.
func takeData(ctx context.Context, data string) (func(), error) {
	limit := time.NewTimer(endingLimit)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		unlock, err := lockData(data)
		if err == nil || fault.CodeOf(err) != "already-up" || answers(ctx, data) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-limit.C:
			return nil, err
		case <-tick.C:
		}
	}
}

// answers reports whether the server of a data folder responds.
func answers(ctx context.Context, data string) bool {
	u, err := ReadUpFile(data)
	if err != nil || u == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
