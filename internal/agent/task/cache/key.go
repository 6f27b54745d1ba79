// Package cache holds the task Cache.
package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// segments computes the parts of a key. A part in quotes is text, one that
// looks like a path or a pattern stands for the content of files, anything else
// is text. Each is described for the log.
func segments(key, base, salt string) (parts, described []string, err error) {
	if salt != "" {
		parts, described = append(parts, "salt="+salt), append(described, "salt")
	}
	for text := range strings.SplitSeq(key, "|") {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
			return nil, nil, fault.New(fault.Invalid, "cache-key", "the key has an empty segment").Got("%q", key).Try("remove a | at its begin or end, or give the variable of the segment a value")
		case len(text) > 1 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`):
			parts, described = append(parts, text[1:len(text)-1]), append(described, text[1:len(text)-1]+" (text)")
		case !isFiles(text):
			parts, described = append(parts, text), append(described, text+" (text)")
		default:
			sum, files, err := fingerprint(text, base)
			if err != nil {
				return nil, nil, err
			}
			parts, described = append(parts, sum), append(described, text+" ("+strings.Join(files, ", ")+") = "+sum)
		}
	}
	return parts, described, nil
}

// isFiles says whether a segment names files.
func isFiles(text string) bool {
	separators, bad := "/", "\x00"
	if runtime.GOOS == "windows" {
		separators, bad = `/\`, "\"<>|:\x00"
	}
	if !strings.ContainsAny(text, "."+separators) || strings.HasSuffix(text, ".") {
		return false
	}
	return !strings.ContainsAny(text, bad) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' })
}

// fingerprint is over the files that patterns select: names, sizes and content.
func fingerprint(text, base string) (sum string, names []string, err error) {
	var include, exclude []string
	for p := range strings.SplitSeq(text, ",") {
		p = strings.TrimSpace(p)
		if rest, not := strings.CutPrefix(p, "!"); not {
			exclude = append(exclude, "!"+rest)
		} else if p != "" {
			include = append(include, p)
		}
	}
	if len(include) == 0 {
		return "", nil, fault.New(fault.Invalid, "cache-key", "segment %q of the key only takes files away", text).Want("a pattern without ! too")
	}
	found, err := task.FindFiles(base, append(include, exclude...)...)
	if err != nil {
		return "", nil, err
	}
	if len(found) == 0 {
		return "", nil, fault.New(fault.Invalid, "cache-key", "segment %q of the key selects no files below %s", text, base).
			Try(`write it in double quotes, "%s", if it is text`, text)
	}
	var lines []string
	for _, file := range found {
		line, name, err := fileLine(file, base)
		if err != nil {
			return "", nil, err
		}
		lines, names = append(lines, line), append(names, name)
	}
	slices.Sort(lines)
	h := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(h[:]), names, nil
}

func fileLine(file, base string) (line, name string, err error) {
	name, err = filepath.Rel(base, file)
	if err != nil {
		name = file
	}
	name = filepath.ToSlash(name)
	f, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }()
	content := sha256.New()
	size, err := io.Copy(content, f)
	if err != nil {
		return "", "", err
	}
	path := sha256.Sum256([]byte(name))
	all := append(binary.BigEndian.AppendUint64(path[:], uint64(size)), content.Sum(nil)...)
	return base64.StdEncoding.EncodeToString(all), name, nil
}
