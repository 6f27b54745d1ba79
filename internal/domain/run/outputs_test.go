package run

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// turner is a sealer whose seal is enough to see whether one was made.
type turner struct{ lost bool }

func (turner) Seal(plain []byte, binding string) ([]byte, error) {
	sealed := []byte(binding + "\n")
	for _, b := range plain {
		sealed = append(sealed, b^0xff)
	}
	return sealed, nil
}

func (s turner) Open(sealed []byte, binding string) ([]byte, error) {
	text, ours := bytes.CutPrefix(sealed, []byte(binding+"\n"))
	if !ours || s.lost {
		return nil, errors.New("the seal is another's")
	}
	var plain []byte
	for _, b := range text {
		plain = append(plain, b^0xff)
	}
	return plain, nil
}

func TestSecretOutputsAreSealed(t *testing.T) {
	s := &Service{Sealer: turner{}}
	kept, err := s.sealOutputs("7", JobReport{Outputs: map[string]string{"set.key": "hidden-value", "set.url": "https://hidden-value@host", "set.plain": "open", "set.odd": sealedMark + "x", "set.even": holdingMark + "x"},
		Secret: []string{"set.key", "set.gone"}, Holding: []string{"set.url"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 5 || strings.Contains(kept["set.key"]+kept["set.url"], "hidden") || kept["set.plain"] != "open" || strings.Contains(kept["set.odd"]+kept["set.even"], "\x00") {
		t.Errorf("%q", kept)
	}
	p := &Phase{Outputs: kept}
	g := &graph{run: &Run{ID: "7"}, sealer: turner{}}
	if out := g.outputsOf(p); out["set.key"] != "hidden-value" || out["set.plain"] != "open" || out["set.url"] != "https://hidden-value@host" || g.broken != nil || len(g.opened) != 1 || g.opened[0] != "hidden-value" {
		t.Errorf("%q %v %q", out, g.broken, g.opened)
	}
	for name, other := range map[string]*graph{"another run": {run: &Run{ID: "8"}, sealer: turner{}}, "another key": {run: &Run{ID: "7"}, sealer: turner{lost: true}}} {
		if out := other.outputsOf(p); out["set.key"] != "" || other.broken == nil {
			t.Errorf("%s: %q %v", name, out, other.broken)
		}
	}
}

func TestReportsOnDiskHaveNoSecrets(t *testing.T) {
	rep := JobReport{Result: Succeeded, Outputs: map[string]string{"a.b": "hidden-value", "a.c": "open", "a.d": "hidden-value"}, Secret: []string{"a.b"}, Holding: []string{"a.d"}}
	disk := rep.WithoutSecrets()
	if len(disk.Outputs) != 1 || disk.Outputs["a.c"] != "open" || len(disk.Secret) != 1 || rep.Outputs["a.b"] != "hidden-value" {
		t.Errorf("%+v %+v", disk, rep)
	}
}
