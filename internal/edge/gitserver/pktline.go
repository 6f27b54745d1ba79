package gitserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/repos"
)

// Bounds of the part of a push that is read before anybody is asked.
const (
	maxLine     = 65520 // of a pkt-line with its length, as Git has it
	maxCommands = 4096
	maxHead     = 4 << 20
)

// line reads one pkt-line; flush is the packet without content. Every other
// special packet has no place in a push and is an error.
func line(r io.Reader) (payload []byte, flush bool, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, false, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("pkt-line length %q", head[:])
	case n == 0:
		return nil, true, nil
	case n <= 4 || n > maxLine:
		return nil, false, fmt.Errorf("pkt-line length %d", n)
	}
	payload = make([]byte, n-4)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, false, io.ErrUnexpectedEOF
	}
	return payload, false, nil
}

// encode makes a pkt-line.
func encode(payload string) string { return fmt.Sprintf("%04x%s", len(payload)+4, payload) }

const flushPacket = "0000"

// pushHead is what stands before the pack: the commands, and what the client
// understands.
type pushHead struct {
	updates []repos.RefUpdate
	able    map[string]bool
	raw     []byte // as it came, to be passed on
}

func malformed(format string, args ...any) error {
	return fault.New(fault.Invalid, "invalid-push", "the push cannot be read").Got(format, args...)
}

// readHead reads the commands of a push, strictly.
func readHead(r io.Reader) (*pushHead, error) {
	var raw bytes.Buffer
	h := &pushHead{able: map[string]bool{}}
	in := io.TeeReader(io.LimitReader(r, maxHead), &raw)
	for {
		payload, flush, err := line(in)
		if err != nil {
			return nil, malformed("%s", err)
		}
		if flush {
			h.raw = raw.Bytes()
			return h, nil
		}
		if err := h.command(payload); err != nil {
			return nil, err
		}
	}
}

func (h *pushHead) command(payload []byte) error {
	text, able, more := strings.Cut(strings.TrimSuffix(string(payload), "\n"), "\x00")
	if id, ok := strings.CutPrefix(text, "shallow "); ok && !more {
		if !objectID(id) {
			return malformed("shallow %q", id)
		}
		return nil
	}
	if more {
		if len(h.updates) > 0 {
			return malformed("capabilities after the first command")
		}
		for _, word := range strings.Fields(able) {
			h.able[word] = true
			if format, ok := strings.CutPrefix(word, "object-format="); ok && format != "sha1" {
				return malformed("object format %q", format)
			}
		}
	}
	parts := strings.SplitN(text, " ", 3)
	if len(parts) != 3 || !objectID(parts[0]) || !objectID(parts[1]) || parts[2] == "" {
		return malformed("command %.200q", text)
	}
	u := repos.RefUpdate{Old: parts[0], New: parts[1], Ref: parts[2]}
	for _, other := range h.updates {
		if other.Ref == u.Ref {
			return malformed("two commands for %.200q", u.Ref)
		}
	}
	if len(h.updates) == maxCommands {
		return malformed("more than %d commands", maxCommands)
	}
	h.updates = append(h.updates, u)
	return nil
}

func objectID(s string) bool {
	if len(s) != 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// refusal is the answer to a push of which nothing may happen: each refused ref
// with its reason, the others as part of the whole, and what to do as a remark.
func (h *pushHead) refusal(refused map[string]error) []byte {
	var report, remarks strings.Builder
	report.WriteString(encode("unpack ok\n"))
	for _, u := range h.updates {
		reason := "whole push refused"
		if err := refused[u.Ref]; err != nil {
			reason = oneLine(err.Error())
			var e *fault.Error
			if errors.As(err, &e) && e.Do != "" {
				remarks.WriteString(oneLine(e.Do) + "\n")
			}
		}
		report.WriteString(encode("ng " + oneLine(u.Ref) + " " + reason + "\n"))
	}
	report.WriteString(flushPacket)
	var out strings.Builder
	switch {
	case h.able["side-band-64k"]:
		band(&out, 2, remarks.String())
		if h.reports() {
			band(&out, 1, report.String())
		}
		out.WriteString(flushPacket)
	case h.reports():
		out.WriteString(report.String())
	}
	return []byte(out.String())
}

func (h *pushHead) reports() bool { return h.able["report-status"] || h.able["report-status-v2"] }

// band wraps data for the side-band; bands are 1 for data and 2 for remarks.
func band(out *strings.Builder, number byte, data string) {
	for len(data) > 0 {
		n := min(len(data), maxLine-5)
		out.WriteString(encode(string(rune(number)) + data[:n]))
		data = data[n:]
	}
}

func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 1000)]
}

// reported reads which refs Git says it moved.
func (h *pushHead) reported(answer []byte) map[string]bool {
	ok := map[string]bool{}
	report := answer
	if h.able["side-band-64k"] {
		report = nil
		for r := bytes.NewReader(answer); ; {
			payload, flush, err := line(r)
			if err != nil || flush {
				break
			}
			if payload[0] == 1 {
				report = append(report, payload[1:]...)
			}
		}
	}
	for r := bytes.NewReader(report); ; {
		payload, flush, err := line(r)
		if err != nil || flush {
			return ok
		}
		if ref, is := strings.CutPrefix(strings.TrimSuffix(string(payload), "\n"), "ok "); is {
			ok[ref] = true
		}
	}
}
