package webdeploy

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
)

// entry is one entry of a hand-made archive.
type entry struct {
	name, text string
	mode       fs.FileMode
}

const aspNet = `<sitemanifest><iisApp path="C:\src\obj\PackageTmp"><createApp path="C:\src\obj\PackageTmp"/>` +
	`<contentPath path="C:\src\obj\PackageTmp"><MSDeploy.dirPath path="C:\src\obj\PackageTmp"/></contentPath></iisApp>` +
	`<setAcl path="C:\src\obj\PackageTmp" setAclAccess="Read"/></sitemanifest>`

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnsafeArchivesAreRefused(t *testing.T) {
	manifest := entry{name: "archive.xml", text: aspNet}
	file := func(name string) entry { return entry{name: name, text: "x"} }
	tests := map[string]struct {
		entries []entry
		code    string
	}{
		"no manifest":    {[]entry{file("a")}, "not-a-package"},
		"gallery":        {[]entry{file("Manifest.xml")}, "not-a-package"},
		"traversal":      {[]entry{manifest, file("Content/C_C/src/obj/PackageTmp/../../../../../etc/passwd")}, "package-unsafe"},
		"backslashes":    {[]entry{manifest, file(`Content\C_C\..\..\x`)}, "package-unsafe"},
		"absolute":       {[]entry{manifest, file("/etc/passwd")}, "package-unsafe"},
		"drive":          {[]entry{manifest, file("C:/x")}, "package-unsafe"},
		"stream":         {[]entry{manifest, file("Content/x:y")}, "package-unsafe"},
		"link":           {[]entry{manifest, {"Content/l", "/etc", fs.ModeSymlink | 0o777}}, "package-unsafe"},
		"capitals":       {[]entry{manifest, file("Content/a"), file("Content/A")}, "package-unsafe"},
		"file as folder": {[]entry{manifest, file("Content/C_C/src/obj/PackageTmp/a"), file("Content/C_C/src/obj/PackageTmp/a/b")}, "package-unsafe"},
		"bomb":           {[]entry{manifest, {name: "Content/zeros", text: strings.Repeat("\x00", 17<<20)}}, "package-unsafe"},
		"document type":  {[]entry{{name: "archive.xml", text: `<!DOCTYPE x [<!ENTITY a "b">]><sitemanifest/>`}}, "package-xml"},
		"laughs":         {[]entry{manifest, {name: "parameters.xml", text: `<!DOCTYPE x [<!ENTITY a "b">]><parameters/>`}}, "package-xml"},
		"deep":           {[]entry{{name: "archive.xml", text: strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)}}, "package-xml"},
		"broken":         {[]entry{{name: "archive.xml", text: "<sitemanifest>"}}, "package-xml"},
		"wrong list":     {[]entry{manifest, {name: filesEntry, text: `{"version":1,"files":[{"path":"a","size":1,"sha256":"x"}]}`}}, "package-unsafe"},
	}
	for name, tt := range tests {
		data := archive(t, tt.entries...)
		if _, err := read(bytes.NewReader(data), int64(len(data)), defaultLimits); fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
	}
	small := defaultLimits
	small.entries, small.total = 2, 1000
	for name, entries := range map[string][]entry{
		"entries": {manifest, file("a"), file("b")},
		"total":   {manifest, {name: "a", text: strings.Repeat("x", 900)}},
	} {
		data := archive(t, entries...)
		if _, err := read(bytes.NewReader(data), int64(len(data)), small); fault.CodeOf(err) != "package-too-large" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing.zip")); !fault.Is(err, fault.Invalid) {
		t.Errorf("missing file: %v", err)
	}
}

// Packages of other tools: Windows names, IIS paths, Unix permissions.
func TestForeignPackages(t *testing.T) {
	iis := `<MSDeploy.iisApp><iisApp path="Default Web Site/shop"><createApp path="Default Web Site/shop"/>` +
		`<contentPath path="Default Web Site/shop"><MSDeploy.dirPath path="Default Web Site/shop"/></contentPath></iisApp></MSDeploy.iisApp>`
	for name, data := range map[string][]byte{
		"ASP.NET": archive(t, entry{name: "archive.xml", text: "\xef\xbb\xbf" + aspNet},
			entry{name: `Content\C_C\src\obj\PackageTmp\bin\app.dll`, text: "dll"}, entry{name: "systemInfo.xml", text: "<systemInfo/>"},
			entry{name: "parameters.xml", text: `<parameters><parameter name="IIS Web Application Name" defaultValue="Default Web Site/shop" tags="IisApp">` +
				`<parameterEntry kind="ProviderPath" scope="IisApp" match="^C:\\src\\obj\\PackageTmp$"/>` +
				`<parameterEntry kind="ProviderPath" scope="setAcl" match="^C:\\src\\obj\\PackageTmp$"/></parameter></parameters>`}),
		"IIS": archive(t, entry{name: "archive.xml", text: iis}, entry{"Content/Default Web Site/shop/bin/app.dll", "dll", 0o755}),
	} {
		p := open(t, file(t, data))
		target := filepath.Join(t.TempDir(), "site")
		r, err := Apply(t.Context(), p, ApplyOptions{Target: target})
		if err != nil || r.Added != 1 {
			t.Errorf("%s: %+v %v", name, r, err)
		}
		info, err := os.Stat(filepath.Join(target, "bin", "app.dll"))
		if err != nil {
			t.Fatal(err)
		}
		if exec := info.Mode()&0o111 != 0; exec != (name == "IIS") {
			t.Errorf("%s: executable %v", name, exec)
		}
		if name == "ASP.NET" && (r.Application != "Default Web Site/shop" || len(r.Warnings) != 1) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestUnsupportedProvidersAreNamed(t *testing.T) {
	data := archive(t, entry{name: "archive.xml", text: `<sitemanifest><contentPath path="C:\app"/><dbFullSql path="x.sql"/><runCommand path="cmd"/></sitemanifest>`},
		entry{name: "Content/C_C/app/a", text: "x"})
	target := filepath.Join(t.TempDir(), "site")
	_, err := Apply(t.Context(), open(t, file(t, data)), ApplyOptions{Target: target})
	var e *fault.Error
	if fault.CodeOf(err) != "provider-unsupported" || !asFault(err, &e) || e.Found != "dbFullSql, runCommand" {
		t.Errorf("%v: %+v", err, e)
	}
	two := archive(t, entry{name: "archive.xml", text: `<sitemanifest><contentPath path="C:\a"/><contentPath path="C:\b"/></sitemanifest>`})
	if _, err := Apply(t.Context(), open(t, file(t, two)), ApplyOptions{Target: target}); fault.CodeOf(err) != "content-roots" {
		t.Errorf("two roots: %v", err)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a refused package made the folder")
	}
}

func asFault(err error, e **fault.Error) bool {
	f, ok := err.(*fault.Error) //nolint:errorlint
	*e = f
	return ok
}

func TestReplaceXML(t *testing.T) {
	tests := []struct{ name, in, path, want string }{
		{"self-closed", "<a><b x='1'/></a>", "/a/b", "<a><b x='1'>v&amp;\"</b></a>"},
		{"attribute", `<a b="1" c='2'/>`, "/a/@c", `<a b="1" c='v&amp;"'/>`},
		{"all matches", "<a><b>1</b><b>2</b></a>", "//b", "<a><b>v&amp;\"</b><b>v&amp;\"</b></a>"},
		{"text", "<a><b>1</b></a>", "/a/b/text()", "<a><b>v&amp;\"</b></a>"},
		{"predicate", `<c><add name="Db" cs="x"/><add name="E" cs="x"/></c>`, "/c/add[@name='Db']/@cs", `<c><add name="Db" cs="v&amp;&quot;"/><add name="E" cs="x"/></c>`},
		{"namespaces", `<x:a xmlns:x="urn:x"><x:b>1</x:b></x:a>`, "//*[local-name()='b']", `<x:a xmlns:x="urn:x"><x:b>v&amp;"</x:b></x:a>`},
		{"mark and comment", "\xef\xbb\xbf<?xml version=\"1.0\"?>\r\n<!-- <b>no</b> -->\r\n<a><b><![CDATA[1]]></b></a>", "/a/b", "\xef\xbb\xbf<?xml version=\"1.0\"?>\r\n<!-- <b>no</b> -->\r\n<a><b>v&amp;\"</b></a>"},
		{"trap in a value", `<a p="b='x'" b="1"/>`, "/a/@b", `<a p="b='x'" b="v&amp;&quot;"/>`},
	}
	for _, tt := range tests {
		got, err := replaceXML([]byte(tt.in), change{parameter: "P", entry: Entry{Match: tt.path}, value: `v&"`})
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s\nwant %s\n%v", tt.name, got, tt.want, err)
		}
	}
}

func TestReadSetParameters(t *testing.T) {
	got, err := ReadSetParameters(strings.NewReader(`<parameters><setParameter name="A" value="1 &amp; 2"/></parameters>`))
	if err != nil || got["A"] != "1 & 2" {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "<other/>", `<parameters><setParameter value="1"/></parameters>`, `<!DOCTYPE a><parameters/>`} {
		if _, err := ReadSetParameters(strings.NewReader(bad)); fault.CodeOf(err) != "package-xml" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whatever the archive holds, reading it ends, within its limits, and no file
// has a path that leaves the content.
func FuzzRead(f *testing.F) {
	good, err := os.ReadFile(pack(f, site, declared))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(archive(f, entry{name: "archive.xml", text: aspNet}, entry{name: `Content\C_C\src\obj\PackageTmp\a`, text: "x"}))
	f.Add(archive(f, entry{name: "archive.xml", text: aspNet}, entry{name: "Content/../a", text: "x"}))
	l := defaultLimits
	l.file, l.total, l.xml = 1<<20, 2<<20, 1<<16
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := read(bytes.NewReader(data), int64(len(data)), l)
		if err != nil {
			return
		}
		for _, file := range p.Files() {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Errorf("path %q", file.Path)
			}
			if r, err := p.content(file); err == nil {
				_, _ = io.Copy(io.Discard, r)
				_ = r.Close()
			}
		}
		_, _ = resolve(p.parameters, nil)
	})
}
