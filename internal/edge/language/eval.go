package language

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/evaluate"
)

// maxLine is how long a line of EvalLines may be. What is read from it can take
// forty times as much.
const maxLine = 2 << 20

// evalLine is one question of EvalLines.
type evalLine struct {
	ID      json.RawMessage `json:"id"`
	Expr    *string         `json:"expr"`
	Slot    string          `json:"slot"`
	Context json.RawMessage `json:"context"`
}

// EvalLines answers questions, one JSON object on each line, with one line each
// in the same order: {"id","value"}, or {"id","error"}. It ends with its input.
// now is when pipelines start unless a context says otherwise.
func EvalLines(r io.Reader, w io.Writer, now time.Time) error {
	in, out := bufio.NewReaderSize(r, 64<<10), bufio.NewWriter(w)
	var long []byte
	for {
		line, err := readLine(in, &long)
		if err != nil && !errors.Is(err, errLineTooLong) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fault.Wrap(err, fault.Invalid, "input-unreadable", "the lines cannot be read")
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		answer(out, line, err, now)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

var errLineTooLong = errors.New("the line is too long")

// readLine returns the next line, which is overwritten by the one after it. What
// is too long is skipped to its end.
func readLine(in *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, ended(line, err)
	}
	*long = append((*long)[:0], line...)
	size := len(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = in.ReadSlice('\n')
		if size += len(line); size <= maxLine {
			*long = append(*long, line...)
		}
	}
	if size > maxLine {
		return nil, errLineTooLong
	}
	return *long, ended(*long, err)
}

// ended forgives a last line its missing end.
func ended(line []byte, err error) error {
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return nil
	}
	return err
}

func answer(out *bufio.Writer, line []byte, err error, now time.Time) {
	var q evalLine
	var result evaluate.Result
	if err == nil {
		if err = json.Unmarshal(line, &q); err != nil || q.Expr == nil {
			err = fault.New(fault.Invalid, "line-unreadable", `the line is not {"id","expr","slot","context"}`)
		}
	}
	if err == nil {
		var context *evaluate.Context
		if context, err = evaluate.ParseContext(q.Context); err == nil {
			result, err = evaluate.Evaluate(evaluate.Request{Expr: *q.Expr, Slot: evaluate.Slot(q.Slot), Context: context, Now: now})
		}
	}
	_, _ = out.WriteString(`{"id":`)
	if len(q.ID) == 0 {
		q.ID = json.RawMessage("null")
	}
	_, _ = out.Write(q.ID)
	if err != nil {
		_, _ = out.WriteString(`,"error":`)
		writeText(out, err.Error())
	} else {
		_, _ = out.WriteString(`,"value":`)
		writeText(out, result.Text)
	}
	_, _ = out.WriteString("}\n")
}

func writeText(out *bufio.Writer, s string) {
	e := json.NewEncoder(unended{out})
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // text always encodes; the writer keeps its error for Flush
}

// unended drops the line end that the encoder writes.
type unended struct{ out *bufio.Writer }

func (u unended) Write(p []byte) (int, error) {
	_, err := u.out.Write(bytes.TrimSuffix(p, []byte("\n")))
	return len(p), err
}
