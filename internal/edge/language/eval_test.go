package language

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// TestEvalLines: one answer a line, whatever the line is.
func TestEvalLines(t *testing.T) {
	for question, want := range map[string]string{
		`{"id":1,"expr":"eq(1, '1.0')"}`:     `{"id":1,"value":"True"}`,
		`{"id":"a","expr":"1.50"}`:           `{"id":"a","value":"1.5"}`,
		`{"id":{"x":1},"expr":"'<\"é\\n>'"}`: `{"id":{"x":1},"value":"<\"é\\n>"}`,
		`{"expr":"variables.none"}`:          `{"id":null,"value":""}`,
		`{"id":2,"expr":"$[ dependencies.A.outputs['s.v'] ]","slot":"job-scoped-runtime-var","context":{"dependencies":{"A":{"result":"Succeeded","outputs":{"s.v":"x"}}}}}`: `{"id":2,"value":"x"}`,
		`{"id":3,"expr":"obj","context":{"obj":{"b":[1],"a":null}}}`: `{"id":3,"value":"{\n  \"b\": [\n    1\n  ],\n  \"a\": null\n}"}`,
		`{"id":4,"expr":"nope"}`:                                     `{"id":4,"error":"Unrecognized value: 'nope'. Located at position 1 within expression: nope"}`,
		`{"id":5,"expr":"1","slot":"x"}`:                             `{"id":5,"error":"there is no slot x"}`,
		`{"id":6,"expr":"1","context":[]}`:                           `{"id":6,"error":"the context is not an object"}`,
		`{"id":7}`:                                                   `{"id":7,"error":"the line is not {\"id\",\"expr\",\"slot\",\"context\"}"}`,
		`not json`:                                                   `{"id":null,"error":"the line is not {\"id\",\"expr\",\"slot\",\"context\"}"}`,
		`[]`:                                                         `{"id":null,"error":"the line is not {\"id\",\"expr\",\"slot\",\"context\"}"}`,
		`{"id":8,"expr":"pipeline.startTime"}`:                       `{"id":8,"value":"2026-11-02 12:00:00+00:00"}`,
		`{"id":9,"expr":"'` + strings.Repeat("x", 20) + `'"` + strings.Repeat(" ", 100_000) + `}`: `{"id":9,"value":"` + strings.Repeat("x", 20) + `"}`,
		strings.Repeat("x", maxLine+1): `{"id":null,"error":"the line is too long"}`,
	} {
		var out bytes.Buffer
		// The line after it shows that the loop goes on.
		if err := EvalLines(strings.NewReader(question+"\n \n{\"id\":0,\"expr\":\"0\"}"), &out, start); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want+"\n{\"id\":0,\"value\":\"0\"}\n" {
			t.Errorf("%.100s:\n got %.300s\nwant %s", question, got, want)
		}
	}
}

// TestEvalLinesAnswersAtOnce: each answer is there before the next question.
func TestEvalLinesAnswersAtOnce(t *testing.T) {
	asks, asked := io.Pipe()
	answers, answered := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- EvalLines(asks, answered, start)
		_ = answered.Close()
	}()
	buf := make([]byte, 100)
	for range 3 {
		if _, err := io.WriteString(asked, "{\"id\":1,\"expr\":\"1\"}\n"); err != nil {
			t.Fatal(err)
		}
		n, err := answers.Read(buf)
		if err != nil || string(buf[:n]) != "{\"id\":1,\"value\":\"1\"}\n" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	_ = asked.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

type closedWriter struct{}

func (closedWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestEvalLinesEnds(t *testing.T) {
	if err := EvalLines(brokenReader{}, io.Discard, start); err == nil {
		t.Error("a broken input is overlooked")
	}
	if err := EvalLines(strings.NewReader("{}\n{}\n"), closedWriter{}, start); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func BenchmarkEvalLines(b *testing.B) {
	line := `{"id":"case-17","expr":"and(succeeded(), eq(variables['Build.Reason'], 'Manual'))","slot":"job-condition","context":{"variables":{"a":"1","Build.Reason":"Manual"},"dependencies":{"A":{"result":"Succeeded","outputs":{"s.v":"x"}}}}}` + "\n"
	b.ReportAllocs()
	lines := strings.Repeat(line, 1000)
	for b.Loop() {
		if err := EvalLines(strings.NewReader(lines), io.Discard, start); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "lines/s")
}
