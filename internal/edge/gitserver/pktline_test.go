package gitserver

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/repos"
)

var (
	one = strings.Repeat("1", 40)
	two = strings.Repeat("2", 40)
)

func TestReadHead(t *testing.T) {
	good := encode("shallow "+two) + encode(one+" "+two+" refs/heads/main\x00 report-status side-band-64k object-format=sha1 agent=git/2") +
		encode(repos.Zero+" "+one+" refs/heads/topic\n") + flushPacket
	in := strings.NewReader(good + "PACK…")
	h, err := readHead(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.updates) != 2 || h.updates[0].Ref != "refs/heads/main" || h.updates[1].New != one || !h.able["side-band-64k"] {
		t.Errorf("read %+v", h)
	}
	if string(h.raw) != good {
		t.Errorf("raw differs: %q", h.raw)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no flush":          encode(one + " " + two + " refs/heads/a\x00"),
		"bad length":        "zzzz",
		"delimiter":         "0001",
		"empty line":        "0004",
		"cut line":          "00ff" + one,
		"short id":          encode("123 "+two+" refs/heads/a\x00") + flushPacket,
		"capital id":        encode(strings.Repeat("A", 40)+" "+two+" refs/heads/a\x00") + flushPacket,
		"no ref":            encode(one+" "+two+" \x00") + flushPacket,
		"certificate":       encode("push-cert\x00x") + flushPacket,
		"twice":             encode(one+" "+two+" refs/heads/a\x00") + encode(one+" "+two+" refs/heads/a") + flushPacket,
		"late capabilities": encode(one+" "+two+" refs/heads/a\x00x") + encode(one+" "+two+" refs/heads/b\x00y") + flushPacket,
		"other hash":        encode(one+" "+two+" refs/heads/a\x00object-format=sha256") + flushPacket,
		"too many":          manyCommands(),
	} {
		if h, err := readHead(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func manyCommands() string {
	var b strings.Builder
	for i := range maxCommands + 1 {
		b.WriteString(encode(one + " " + two + " refs/heads/" + strings.Repeat("x", i%100) + string(rune('0'+i/100))))
	}
	return b.String() + flushPacket
}

func TestRefusalHasNoLineOfAnotherAuthor(t *testing.T) {
	h := &pushHead{able: map[string]bool{"report-status": true}, updates: []repos.RefUpdate{{Ref: "refs/heads/a"}, {Ref: "refs/heads/b"}}}
	out := string(h.refusal(map[string]error{"refs/heads/a": errors.New("no\nok refs/heads/b")}))
	if strings.Count(out, "\n") != 3 || !strings.Contains(out, "ng refs/heads/b whole push refused\n") {
		t.Errorf("report %q", out)
	}
	h.able["side-band-64k"] = true
	if ok := h.reported(h.refusal(map[string]error{"refs/heads/a": errors.New("no")})); len(ok) != 0 {
		t.Errorf("a refusal reads as accepted: %v", ok)
	}
	if out := (&pushHead{able: map[string]bool{}}).refusal(nil); len(out) != 0 {
		t.Errorf("a client that asked for no report gets %q", out)
	}
}

func FuzzReadHead(f *testing.F) {
	f.Add([]byte(encode(one+" "+two+" refs/heads/main\x00report-status") + flushPacket + "PACK"))
	f.Add([]byte(encode("shallow "+one) + "0001"))
	f.Add([]byte("0005a0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := readHead(bytes.NewReader(data))
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		if !bytes.HasPrefix(data, h.raw) {
			t.Fatal("what is passed on is not what came")
		}
		again, err := readHead(bytes.NewReader(h.raw))
		if err != nil || len(again.updates) != len(h.updates) {
			t.Fatalf("reads differently a second time: %v", err)
		}
		h.reported(data)
		refused := map[string]error{}
		for _, u := range h.updates {
			if !objectID(u.Old) || !objectID(u.New) || u.Ref == "" {
				t.Fatalf("accepted %+v", u)
			}
			refused[u.Ref] = errors.New("no")
		}
		h.refusal(refused)
	})
}
