// Package format reads what test runners and coverage tools write.
package format

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/testresult"
)

// MaxFile is the largest file that is read, in bytes.
const MaxFile = 64 << 20

// File is what one file of results holds.
type File struct {
	Duration time.Duration
	Results  []testresult.Result
}

var readers = map[string]func(*xml.Decoder, xml.StartElement) (*File, error){
	"junit": readJUnit, "nunit": readNUnit, "vstest": readTRX, "xunit": readXUnit, "ctest": readCTest,
}

// Names of the formats, as pipelines write them.
var Names = []string{"JUnit", "NUnit", "VSTest", "XUnit", "CTest"}

// Known says whether a format can be read.
func Known(name string) bool { return readers[strings.ToLower(name)] != nil }

// Read reads results in a format.
func Read(name string, r io.Reader) (*File, error) {
	read := readers[strings.ToLower(name)]
	if read == nil {
		return nil, fault.New(fault.Invalid, "unsupported-format", "results of format %s cannot be read", name).Want("%s", strings.Join(Names, ", "))
	}
	d, root, err := open(r)
	if err != nil {
		return nil, err
	}
	f, err := read(d, root)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "results-unreadable", "the file is not readable as %s", name)
	}
	for i := range f.Results {
		f.Results[i].Name = cut(f.Results[i].Name, maxName)
	}
	return f, nil
}

// maxName is how long the name of a test may be, in bytes.
const maxName = 512

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// open reads a document up to its first element. Entities that a document
// declares itself are refused by the decoder, so none of them can grow; a
// document is no larger than MaxFile.
func open(r io.Reader) (*xml.Decoder, xml.StartElement, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, xml.StartElement{}, err
	}
	if len(data) > MaxFile {
		return nil, xml.StartElement{}, fault.New(fault.Invalid, "results-too-large", "the file is too large").Want("at most %d bytes", MaxFile)
	}
	d := xml.NewDecoder(bytes.NewReader(toUTF8(data)))
	d.CharsetReader = charset
	for {
		token, err := d.Token()
		if err != nil {
			return nil, xml.StartElement{}, fault.Wrap(err, fault.Invalid, "results-unreadable", "the file is not XML")
		}
		if start, ok := token.(xml.StartElement); ok {
			return d, start, nil
		}
	}
}

// toUTF8 reads the mark by which tools on Windows tell UTF-16.
func toUTF8(data []byte) []byte {
	big := bytes.HasPrefix(data, []byte{0xfe, 0xff})
	if !big && !bytes.HasPrefix(data, []byte{0xff, 0xfe}) {
		return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		if big {
			units = append(units, uint16(data[i])<<8|uint16(data[i+1]))
		} else {
			units = append(units, uint16(data[i+1])<<8|uint16(data[i]))
		}
	}
	return []byte(string(utf16.Decode(units)))
}

func charset(name string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "utf-8", "utf8", "us-ascii", "ascii", "utf-16": // the last is UTF-8 by now
		return r, nil
	case "iso-8859-1", "latin1", "windows-1252":
		data, err := io.ReadAll(r)
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		return strings.NewReader(string(runes)), err
	}
	return nil, fmt.Errorf("character set %s is not supported", name)
}

// seconds reads 1.5 and 1,234.5.
func seconds(s string) time.Duration {
	n, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(s), ",", ""), 64)
	if err != nil || n < 0 || n > 1e9 || n != n {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// clock reads 00:00:01.2345678, with days before it if there are any.
func clock(s string) time.Duration {
	days, rest, _ := strings.Cut(strings.TrimSpace(s), ".")
	var d time.Duration
	if n, err := strconv.Atoi(days); err == nil && strings.Count(rest, ":") == 2 && n >= 0 && n < 10000 {
		d, s = time.Duration(n)*24*time.Hour, rest
	}
	parts := strings.Split(strings.TrimSpace(s), ":")
	if len(parts) != 3 {
		return 0
	}
	hours, err1 := strconv.Atoi(parts[0])
	minutes, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || hours < 0 || hours > 1e6 || minutes < 0 || minutes > 59 {
		return 0
	}
	return d + time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + seconds(parts[2])
}

// moment reads the times that files write; zero where it cannot.
func moment(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "01/02/2006 15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t
		}
	}
	return time.Time{}
}

// between is the time between two moments that are known.
func between(start, end string) time.Duration {
	from, to := moment(start), moment(end)
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from)
}

func total(results []testresult.Result) time.Duration {
	var d time.Duration
	for _, r := range results {
		d += r.Duration
	}
	return d
}

func wrongRoot(root xml.StartElement, want string) error {
	return fmt.Errorf("the root element is %s, not %s", cut(root.Name.Local, 80), want)
}
