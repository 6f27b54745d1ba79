// Package cache holds the task Cache.
package cache

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
)

// split cuts a key at its bars; segments with nothing at all do not count, as on
// the service.
func split(key string) (list []string, err error) {
	for text := range strings.SplitSeq(key, "|") {
		if text == "" {
			continue
		}
		text = strings.TrimSpace(text)
		if err := check(key, text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, "cache-key", "the key has no segment").Got("%q", key)
	}
	return list, nil
}

// check refuses segments that mean something else to who wrote them.
func check(key, text string) error {
	switch {
	case text == "":
		return fault.New(fault.Invalid, "cache-key", "the key has an empty segment").Got("%q", key).Try("remove a |, or give the variable of the segment a value")
	case text == "*" || text == "**":
		return fault.New(fault.Invalid, "cache-key", "a segment of the key cannot be %s alone", text).Try("write ./%s for the files of the folder", text)
	case text[0] == '\'' || text[0] == '`':
		return fault.New(fault.Invalid, "cache-key", "a segment of the key cannot begin with %c", text[0]).Got("%s", text).Try("write text in double quotes")
	}
	return nil
}

// segments computes the parts of a key. A part in quotes is text, one that
// looks like a path or a pattern stands for the content of files, anything else
// is text. What each one is goes to show, line by line.
func segments(list []string, base, salt string, show func(string)) (parts []string, err error) {
	if salt != "" {
		parts = append(parts, "salt="+salt)
		show(" - AZP_CACHING_SALT=" + salt + " [string]")
	}
	for _, text := range list {
		quoted := len(text) > 1 && strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`)
		if quoted || !isFiles(text) {
			show(" - " + text + " [string]")
			if quoted {
				text = text[1 : len(text)-1]
			}
			parts = append(parts, text)
			continue
		}
		sum, files, err := fingerprint(text, base)
		if err != nil {
			show(" - " + text + " [file] (not found)")
			return nil, err
		}
		if len(files) == 1 && !strings.ContainsAny(text, "*?[]") {
			show(" - " + text + " [file] --> " + files[0].sum)
		} else {
			show(" - " + text + " [file pattern; matches: " + strconv.Itoa(len(files)) + "]")
			for _, f := range files {
				show("   - " + f.name + " --> " + f.sum)
			}
		}
		parts = append(parts, sum)
	}
	return parts, nil
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
func fingerprint(text, base string) (sum string, files []keyFile, err error) {
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
		line, f, err := fileLine(file, base)
		if err != nil {
			return "", nil, err
		}
		lines, files = append(lines, line), append(files, f)
	}
	slices.Sort(lines)
	h := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(h[:]), files, nil
}

// keyFile is a file that a key is made from, and the digest of its content.
type keyFile struct{ name, sum string }

func fileLine(file, base string) (line string, f keyFile, err error) {
	name, err := filepath.Rel(base, file)
	if err != nil {
		name = file
	}
	name = filepath.ToSlash(name)
	in, err := os.Open(file)
	if err != nil {
		return "", f, err
	}
	defer func() { _ = in.Close() }()
	content := sha256.New()
	size, err := io.Copy(content, in)
	if err != nil {
		return "", f, err
	}
	path := sha256.Sum256([]byte(name))
	all := append(binary.BigEndian.AppendUint64(path[:], uint64(size)), content.Sum(nil)...)
	return base64.StdEncoding.EncodeToString(all), keyFile{name, hex.EncodeToString(content.Sum(nil))}, nil
}
