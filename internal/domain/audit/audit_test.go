package audit

import (
	"context"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/memstore"
)

func TestChain(t *testing.T) {
	ctx := context.Background()
	tx := &memstore.Runner{}
	table := memstore.NewTable[Record](tx, "audit record")
	s := &Service{Records: table, Tx: tx}
	for _, action := range []string{"a", "b", "c"} {
		if err := s.Record(ctx, "ada", action, "thing", ""); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Verify(ctx); err != nil || n != 3 {
		t.Fatalf("%d records, %v", n, err)
	}
	second, err := table.Get(ctx, "000000000002")
	if err != nil {
		t.Fatal(err)
	}
	second.Actor = "somebody else"
	if err := table.Save(ctx, second); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Verify(ctx); fault.CodeOf(err) != "audit-broken" || n != 1 {
		t.Errorf("an altered record: %d, %v", n, err)
	}
	if err := table.Delete(ctx, second.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(ctx); fault.CodeOf(err) != "audit-broken" {
		t.Errorf("a record taken out: %v", err)
	}
}
