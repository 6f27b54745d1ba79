package webdeploy

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// limits bound what an archive may contain.
type limits struct {
	entries int
	file    uint64 // bytes of one file
	total   uint64 // bytes of all files
	ratio   uint64 // unpacked : packed, for anything above small
	small   uint64
	xml     uint64 // bytes of a manifest
}

// The first two are the format's own. Deflate reaches 1000 : 1 only for
// constant bytes; programs and pages stay below 20 : 1.
var defaultLimits = limits{entries: 65536, file: 1<<31 - 1, total: 8 << 30, ratio: 200, small: 16 << 20, xml: 16 << 20}

// The root entries of a package.
const (
	archiveEntry    = "archive.xml"
	parametersEntry = "parameters.xml"
	systemEntry     = "systemInfo.xml"
	filesEntry      = "penstock.files.json"
	contentFolder   = "Content/"
)

// File is one file of a package's content.
type File struct {
	Path       string // slash separated, relative to the content's root
	Size       int64
	Executable bool
	SHA256     string // from penstock.files.json; "" if the package has none

	entry *zip.File
}

// Package is an opened package. Close it after use.
type Package struct {
	manifest   Manifest
	parameters []Parameter
	files      []File
	folders    []string
	digest     string
	limits     limits
	close      func() error
}

// Manifest returns what archive.xml says.
func (p *Package) Manifest() Manifest { return p.manifest }

// Parameters returns the declared parameters in their order.
func (p *Package) Parameters() []Parameter { return p.parameters }

// Files returns the content, sorted by path.
func (p *Package) Files() []File { return p.files }

// Digest identifies the package's bytes: sha256:<hexadecimal>.
func (p *Package) Digest() string { return p.digest }

// Close releases the archive.
func (p *Package) Close() error { return p.close() }

// Open reads a package's directory and manifests and checks every name and size
// in it. Nothing is unpacked.
func Open(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "package-unreadable", "the package cannot be opened").At("%s", path)
	}
	p, err := openFile(f)
	if err != nil {
		_ = f.Close()
		var e *fault.Error
		if errors.As(err, &e) && e.Where == "" {
			e.Where = path
		}
		return nil, err
	}
	p.close = f.Close
	return p, nil
}

func openFile(f *os.File) (*Package, error) {
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "package-unreadable", "the package cannot be read")
	}
	p, err := read(f, size, defaultLimits)
	if err != nil {
		return nil, err
	}
	p.digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	return p, nil
}

// read makes a Package of an archive.
func read(r io.ReaderAt, size int64, l limits) (*Package, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fault.Wrap(err, fault.Invalid, "not-a-package", "this is not a zip archive")
	}
	p := &Package{limits: l, close: func() error { return nil }}
	entries, err := p.checkEntries(z.File)
	if err != nil {
		return nil, err
	}
	if entries[archiveEntry] == nil {
		do := "make the package with penstock webdeploy pack, or msdeploy -dest:package=…"
		if entries["Manifest.xml"] != nil {
			do = "a gallery package (Manifest.xml) is not supported; deploy it with msdeploy once and package the result"
		}
		return nil, fault.New(fault.Invalid, "not-a-package", "the archive has no archive.xml").Try("%s", do)
	}
	data, err := p.bytes(entries[archiveEntry], l.xml)
	if err != nil {
		return nil, err
	}
	if p.manifest, err = parseManifest(data); err != nil {
		return nil, err
	}
	if e := entries[parametersEntry]; e != nil {
		if data, err = p.bytes(e, l.xml); err != nil {
			return nil, err
		}
		if p.parameters, err = parseParameters(bytes.NewReader(data)); err != nil {
			return nil, err
		}
	}
	if err := p.collect(z.File); err != nil {
		return nil, err
	}
	return p, p.readFileList(entries[filesEntry])
}

// checkEntries checks names, sizes and collisions of all entries and returns
// those at the root by name.
func (p *Package) checkEntries(files []*zip.File) (map[string]*zip.File, error) {
	if len(files) > p.limits.entries {
		return nil, tooLarge("entries", p.limits.entries, len(files))
	}
	root, folded := map[string]*zip.File{}, map[string]string{}
	var total, packed uint64
	for _, f := range files {
		name := strings.ReplaceAll(f.Name, `\`, "/")
		if err := checkName(f.Name, name); err != nil {
			return nil, err
		}
		if f.Mode()&(fs.ModeSymlink|fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			return nil, badEntry(f.Name, "files and folders only", f.Mode().String())
		}
		key := strings.ToLower(strings.TrimSuffix(name, "/"))
		if other, twice := folded[key]; twice {
			return nil, badEntry(f.Name, "names that differ by more than capitals", other)
		}
		folded[key] = f.Name
		total += f.UncompressedSize64
		packed += f.CompressedSize64
		if f.UncompressedSize64 > p.limits.file || total > p.limits.total {
			return nil, tooLarge("bytes", p.limits.total, total)
		}
		if p.limits.bomb(f.UncompressedSize64, f.CompressedSize64) {
			return nil, badEntry(f.Name, "files packed at most 200 : 1", "more")
		}
		if !strings.Contains(name, "/") {
			root[name] = f
		}
	}
	if p.limits.bomb(total, packed) {
		return nil, tooLarge("times the packed size", p.limits.ratio, total/(packed+1))
	}
	return root, nil
}

func (l limits) bomb(unpacked, packed uint64) bool {
	return unpacked > l.small && unpacked/(packed+1) > l.ratio
}

// checkName refuses names that could leave the target or mean something else
// on another system.
func checkName(original, name string) error {
	plain := strings.TrimSuffix(name, "/")
	if plain == "" || strings.ContainsAny(name, "\x00:") {
		return badEntry(original, "relative names without a drive or control characters", original)
	}
	for part := range strings.SplitSeq(plain, "/") {
		if part == "" || part == "." || part == ".." {
			return badEntry(original, "relative names without . and ..", original)
		}
		if strings.IndexFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
			return badEntry(original, "relative names without a drive or control characters", original)
		}
	}
	return nil
}

// collect lists the content below the manifest's source path.
func (p *Package) collect(files []*zip.File) error {
	if p.manifest.Source == "" {
		return nil // nothing to deploy, or several roots: Apply says so
	}
	encoded, err := encodePath(p.manifest.Source)
	if err != nil {
		return err
	}
	prefix := contentFolder + encoded + "/"
	isFile := map[string]bool{}
	for _, f := range files {
		name := strings.ReplaceAll(f.Name, `\`, "/")
		if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		rel := name[len(prefix):]
		if strings.HasSuffix(rel, "/") {
			p.folders = append(p.folders, strings.TrimSuffix(rel, "/"))
			continue
		}
		unix := f.CreatorVersion>>8 == 3
		p.files = append(p.files, File{Path: rel, Size: int64(f.UncompressedSize64), Executable: unix && f.Mode()&0o111 != 0, entry: f})
		isFile[strings.ToLower(rel)] = true
	}
	slices.SortFunc(p.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(p.folders)
	for _, f := range p.files {
		for at := strings.LastIndexByte(f.Path, '/'); at > 0; at = strings.LastIndexByte(f.Path[:at], '/') {
			if isFile[strings.ToLower(f.Path[:at])] {
				return badEntry(f.Path, "a folder above a file", "a file "+f.Path[:at])
			}
		}
	}
	return nil
}

// fileList is penstock.files.json.
type fileList struct {
	Version int         `json:"version"`
	Files   []listEntry `json:"files"`
}

type listEntry struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"`
	SHA256     string `json:"sha256"`
	Executable bool   `json:"executable,omitempty"`
}

// readFileList takes over hashes and executable bits. A list that does not
// describe exactly the content is refused: something was added or lost.
func (p *Package) readFileList(entry *zip.File) error {
	if entry == nil {
		return nil
	}
	data, err := p.bytes(entry, p.limits.xml)
	if err != nil {
		return err
	}
	var list fileList
	if err := json.Unmarshal(data, &list); err != nil || list.Version != 1 {
		return badEntry(filesEntry, "a file list of version 1", "something else")
	}
	byPath := map[string]listEntry{}
	for _, e := range list.Files {
		byPath[e.Path] = e
	}
	for i := range p.files {
		f := &p.files[i]
		e, ok := byPath[f.Path]
		if !ok || e.Size != f.Size || e.SHA256 == "" {
			return badEntry(f.Path, "the files that "+filesEntry+" lists", "another file")
		}
		f.Executable, f.SHA256 = e.Executable, e.SHA256
	}
	if len(byPath) != len(p.files) {
		return badEntry(filesEntry, "a list of exactly the files in the package", "files that are missing")
	}
	return nil
}

// bytes unpacks an entry of a bounded size.
func (p *Package) bytes(f *zip.File, limit uint64) ([]byte, error) {
	if f.UncompressedSize64 > limit {
		return nil, tooLarge("bytes in "+f.Name, limit, f.UncompressedSize64)
	}
	r, err := openEntry(f, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// content unpacks a file as a stream that ends with an error unless it is the
// file that was packed.
func (p *Package) content(f File) (io.ReadCloser, error) { return openEntry(f.entry, f.SHA256) }

// entryReader checks an entry while it is read. The header may lie about the
// size; no more is read than it says.
type entryReader struct {
	io.ReadCloser
	name   string
	left   uint64
	hash   hash.Hash
	sha256 string // expected; "" for any
}

func openEntry(f *zip.File, sum string) (*entryReader, error) {
	r, err := f.Open()
	if err != nil {
		return nil, damaged(f.Name, err)
	}
	return &entryReader{ReadCloser: r, name: f.Name, left: f.UncompressedSize64, hash: sha256.New(), sha256: sum}, nil
}

// Read implements io.Reader.
func (e *entryReader) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if uint64(n) > e.left || errors.Is(err, io.EOF) && uint64(n) != e.left {
		return 0, damaged(e.name, errors.New("the size in the directory is wrong"))
	}
	e.left -= uint64(n)
	e.hash.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		return n, damaged(e.name, err)
	}
	if err == nil || e.sha256 == "" {
		return n, err
	}
	if got := hex.EncodeToString(e.hash.Sum(nil)); got != e.sha256 {
		return n, damaged(e.name, errors.New("it is not the file that was packed")).Want("sha256 %s", e.sha256).Got("%s", got)
	}
	return n, err
}

func damaged(name string, err error) *fault.Error {
	return fault.Wrap(err, fault.Invalid, "package-damaged", "%s cannot be unpacked", name).
		Try("take the package from the run's artifacts again")
}

func badEntry(where, expected, found string) *fault.Error {
	return fault.New(fault.Invalid, "package-unsafe", "the package is refused").At("%s", where).Want("%s", expected).Got("%q", found)
}

func tooLarge(what string, limit, found any) *fault.Error {
	return fault.New(fault.Invalid, "package-too-large", "the package is refused").Want("at most %v %s", limit, what).Got("%v", found)
}
