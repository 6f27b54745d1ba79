// Package audit keeps the record of every change: who did what to which object
// and when. Each record holds the hash of the one before it, so that a record
// taken out or altered shows.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
)

// Record is one entry.
type Record struct {
	store.Revision
	ID     string    `col:"id" json:"id"` // number, zero-padded so that it sorts
	Time   time.Time `col:"time" json:"time"`
	Actor  string    `col:"actor" json:"actor"`
	Action string    `col:"action" json:"action"` // noun.verb
	Object string    `col:"object" json:"object"`
	Detail string    `json:"detail"`
	Prev   string    `json:"prev"`
	Hash   string    `json:"hash"`
}

// Service appends and verifies records.
type Service struct {
	Records store.Table[Record]
	Tx      store.Runner
	Clock   store.Clock
}

// Record appends a record in the transaction of ctx.
func (s *Service) Record(ctx context.Context, actor, action, object, detail string) error {
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		last, err := store.First(ctx, s.Records, store.Query{}.Latest("id"))
		if err != nil {
			return err
		}
		n, err := s.Tx.Next(ctx, "audit")
		if err != nil {
			return err
		}
		r := &Record{ID: fmt.Sprintf("%012d", n), Time: s.Clock.Now(), Actor: actor, Action: action, Object: object, Detail: detail}
		if last != nil {
			r.Prev = last.Hash
		}
		r.Hash = r.sum()
		return s.Records.Insert(ctx, r)
	})
}

func (r *Record) sum() string {
	h := sha256.Sum256([]byte(strings.Join([]string{r.ID, r.Time.Format(time.RFC3339Nano), r.Actor, r.Action, r.Object, r.Detail, r.Prev}, "\x00")))
	return hex.EncodeToString(h[:])
}

// Verify checks the whole chain; it returns how many records it read, and an
// error that names the first record that does not fit.
func (s *Service) Verify(ctx context.Context) (int, error) {
	records, err := s.Records.Find(ctx, store.Query{})
	if err != nil {
		return 0, err
	}
	prev := ""
	for i, r := range records {
		if r.Prev != prev || r.Hash != r.sum() {
			return i, fault.New(fault.Conflict, "audit-broken", "audit record %s does not follow from the one before it", r.ID).
				Try("compare with a backup; records before it are intact")
		}
		prev = r.Hash
	}
	return len(records), nil
}
