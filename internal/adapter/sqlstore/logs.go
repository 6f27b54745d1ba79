package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Logs keeps the output of steps in chunks that know their byte offset and
// their first line, so that any range of lines is found without reading what
// comes before.
type Logs struct{ DB *DB }

// Append implements run.Logs. Offset -1 means the end.
func (l Logs) Append(ctx context.Context, log string, offset int64, data []byte) (end int64, lines int, err error) {
	err = l.DB.InTx(ctx, func(ctx context.Context) error {
		q := l.DB.writer(ctx)
		var seq, start, size, line, count int64
		row := q.QueryRowContext(ctx, `SELECT seq, start, size, line, lines FROM log_chunks WHERE log = $1 ORDER BY seq DESC LIMIT 1`, log)
		if err := row.Scan(&seq, &start, &size, &line, &count); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return classify(err)
		}
		end, lines = start+size, int(line+count)
		switch {
		case offset < 0:
		case offset > end:
			return fault.New(fault.Conflict, "log-gap", "bytes of the log are missing").Want("offset %d", end).Got("%d", offset)
		case offset+int64(len(data)) <= end:
			return nil // all of it is there already
		default:
			data = data[end-offset:]
		}
		if len(data) == 0 {
			return nil
		}
		n := int64(bytes.Count(data, []byte{'\n'}))
		_, err := q.ExecContext(ctx, `INSERT INTO log_chunks (log, seq, start, size, line, lines, data) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			log, seq+1, end, len(data), line+count, n, data)
		end, lines = end+int64(len(data)), int(line+count+n)
		return classify(err)
	})
	return end, lines, err
}

// Lines implements run.Logs. A last line without its end counts when it is
// alone.
func (l Logs) Lines(ctx context.Context, log string, from, limit int) ([]string, int, error) {
	q := l.DB.reader(ctx)
	var total sql.NullInt64
	if err := q.QueryRowContext(ctx, `SELECT MAX(line + lines) FROM log_chunks WHERE log = $1`, log).Scan(&total); err != nil {
		return nil, 0, classify(err)
	}
	from = max(from, 1)
	rows, err := q.QueryContext(ctx, `SELECT line, data FROM log_chunks WHERE log = $1 AND line + lines >= $2 AND line < $3 ORDER BY seq`,
		log, from-1, from-1+limit)
	if err != nil {
		return nil, 0, classify(err)
	}
	defer func() { _ = rows.Close() }()
	var text bytes.Buffer
	first := int64(-1)
	for rows.Next() {
		var line int64
		var data []byte
		if err := rows.Scan(&line, &data); err != nil {
			return nil, 0, classify(err)
		}
		if first < 0 {
			first = line
		}
		text.Write(data)
	}
	if err := rows.Err(); err != nil || first < 0 {
		return nil, int(total.Int64), classify(err)
	}
	all := strings.Split(text.String(), "\n")
	if last := len(all) - 1; all[last] == "" {
		all = all[:last]
	}
	// A chunk may begin inside a line: its first piece then belongs to a line
	// that an earlier chunk began.
	skip := from - 1 - int(first)
	if skip > len(all) {
		return nil, int(total.Int64), nil
	}
	all = all[max(skip, 0):]
	return all[:min(limit, len(all))], int(total.Int64), nil
}
