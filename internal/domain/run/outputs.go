package run

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// Sealer encrypts values for the database. Binding names what a value belongs
// to: opening under another name fails.
type Sealer interface {
	Seal(plain []byte, binding string) ([]byte, error)
	Open(sealed []byte, binding string) ([]byte, error)
}

// These begin the stored values of secret output variables, and of those that
// hold a secret. A variable's own value cannot begin like this: it holds no NUL.
const (
	sealedMark  = "\x00sealed:"
	holdingMark = "\x00holding:"
)

// sealOutputs replaces the values of hidden output variables by sealed ones.
func (s *Service) sealOutputs(runID string, rep JobReport) (map[string]string, error) {
	sealed := make(map[string]string, len(rep.Outputs))
	for name, value := range rep.Outputs {
		sealed[name] = strings.ReplaceAll(value, "\x00", "")
	}
	for _, name := range rep.Hidden() {
		value, ok := rep.Outputs[name]
		if !ok {
			continue
		}
		raw, err := s.Sealer.Seal([]byte(value), "output/"+runID)
		if err != nil {
			return nil, err
		}
		mark := holdingMark
		if slices.Contains(rep.Secret, name) {
			mark = sealedMark
		}
		sealed[name] = mark + base64.StdEncoding.EncodeToString(raw)
	}
	return sealed, nil
}

// open returns the value of an output variable as it is stored. That of a secret
// is kept in mind, because a value that is made from it is a secret, too.
func (g *graph) open(value string) string {
	text, secret := strings.CutPrefix(value, sealedMark)
	if !secret {
		var holding bool
		if text, holding = strings.CutPrefix(value, holdingMark); !holding {
			return value
		}
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		raw, err = g.sealer.Open(raw, "output/"+g.run.ID)
	}
	if err != nil {
		g.broken = fmt.Errorf("a secret output variable of run %s: %w", g.run.ID, err)
		return ""
	}
	if secret {
		g.opened = append(g.opened, string(raw))
	}
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
