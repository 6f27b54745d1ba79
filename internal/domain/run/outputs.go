package run

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Sealer encrypts values for the database. Binding names what a value belongs
// to: opening under another name fails.
type Sealer interface {
	Seal(plain []byte, binding string) ([]byte, error)
	Open(sealed []byte, binding string) ([]byte, error)
}

// sealedMark begins the stored value of a secret output variable. A variable's
// own value cannot begin like this: it holds no NUL.
const sealedMark = "\x00sealed:"

// sealOutputs replaces the values of secret output variables by sealed ones.
func (s *Service) sealOutputs(runID string, outputs map[string]string, secret []string) (map[string]string, error) {
	sealed := make(map[string]string, len(outputs))
	for name, value := range outputs {
		sealed[name] = strings.ReplaceAll(value, "\x00", "")
	}
	for _, name := range secret {
		value, ok := outputs[name]
		if !ok {
			continue
		}
		raw, err := s.Sealer.Seal([]byte(value), "output/"+runID)
		if err != nil {
			return nil, err
		}
		sealed[name] = sealedMark + base64.StdEncoding.EncodeToString(raw)
	}
	return sealed, nil
}

// open returns the value of an output variable as it is stored. What was sealed
// is kept in mind, because a value that is made from it is a secret, too.
func (g *graph) open(value string) string {
	text, sealed := strings.CutPrefix(value, sealedMark)
	if !sealed {
		return value
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		raw, err = g.sealer.Open(raw, "output/"+g.run.ID)
	}
	if err != nil {
		g.broken = fmt.Errorf("a secret output variable of run %s: %w", g.run.ID, err)
		return ""
	}
	g.opened = append(g.opened, string(raw))
	return string(raw)
}

// outputsOf are the output variables of a phase as expressions see them.
func (g *graph) outputsOf(p *Phase) map[string]string {
	plain := make(map[string]string, len(p.Outputs))
	for name, value := range p.Outputs {
		plain[name] = g.open(value)
	}
	return plain
}
