package webdeploy

import (
	"archive/zip"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/base/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

const declared = `<?xml version="1.0"?>
<parameters>
  <parameter name="Shop title" description="Shown on every page" defaultValue="Shop of {Owner}">
    <parameterEntry kind="XmlFile" scope="\\web\\shop\.xml$" match="/shop/title" />
    <parameterEntry type="TextFile" scope="\\web\\index\.html$" match="__TITLE__" />
  </parameter>
  <parameter name="Owner" value="Ada &amp; Co" />
  <parameter name="Theme" defaultValue="light">
    <parameterValidation kind="Enumeration" validationString="light,dark" />
    <parameterEntry kind="XmlFile" scope="\\web\\shop\.xml$" match="//set[@name='theme']/@value" />
  </parameter>
  <parameter name="Greeting" defaultValue="hi" tags="Password">
    <parameterEntry kind="TextFilePosition" scope="\\greeting\.txt$" match="2;3;5" />
  </parameter>
</parameters>`

var site = map[string]string{
	"storefront*":       "\x7fELF not really",
	"web/index.html":    "<h1>__TITLE__</h1>\n<p>__TITLE__</p>\n",
	"web/shop.xml":      "<?xml version=\"1.0\"?>\r\n<!-- keep -->\r\n<shop><title>old</title>\r\n  <set name='theme'  value = 'x' /><set name=\"other\" value=\"x\"/></shop>\r\n",
	"web/greeting.txt":  "first\nä\u00df12345rest\n",
	"web/css/site.css":  "body{}\n",
	"web/empty/.folder": "",
}

// folder writes files; a name that ends in * is executable.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "*") {
			name, mode = strings.TrimSuffix(name, "*"), 0o755
		}
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tree reads a folder back in the form that folder takes.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		data, err := os.ReadFile(path)
		info, _ := d.Info()
		name := filepath.ToSlash(rel)
		if info.Mode()&0o111 != 0 {
			name += "*"
		}
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func pack(t testing.TB, files map[string]string, parameters string) string {
	t.Helper()
	var b bytes.Buffer
	o := PackOptions{Source: folder(t, files), Site: "storefront"}
	if parameters != "" {
		o.Parameters = strings.NewReader(parameters)
	}
	if _, err := Pack(&b, o); err != nil {
		t.Fatal(err)
	}
	return file(t, b.Bytes())
}

func file(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "package.zip")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t testing.TB, name string) *Package {
	t.Helper()
	p, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestPackIsReproducible(t *testing.T) {
	var one, two bytes.Buffer
	a, err := Pack(&one, PackOptions{Source: folder(t, site), Site: "storefront", Parameters: strings.NewReader(declared)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Pack(&two, PackOptions{Source: folder(t, site), Site: "storefront", Parameters: strings.NewReader(declared)})
	if err != nil || a != b || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("%s and %s, %v", a, b, err)
	}
	if p := open(t, file(t, one.Bytes())); p.Digest() != a {
		t.Errorf("Open says %s, Pack said %s", p.Digest(), a)
	}
	z, err := zip.NewReader(bytes.NewReader(one.Bytes()), int64(one.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var listing strings.Builder
	for _, f := range z.File {
		fmt.Fprintf(&listing, "=== %s %d %d %d\n", f.Name, f.CreatorVersion, len(f.Extra), f.ExternalAttrs)
		if !strings.Contains(f.Name, "/") {
			r, _ := f.Open()
			text, _ := io.ReadAll(r)
			listing.Write(text)
		}
	}
	golden := filepath.Join("testdata", "package.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(listing.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), listing.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOpenShowsWhatIsInside(t *testing.T) {
	p := open(t, pack(t, site, declared))
	var names []string
	for _, f := range p.Files() {
		names = append(names, fmt.Sprint(f.Path, " ", f.Executable))
	}
	want := []string{"storefront true", "web/css/site.css false", "web/empty/.folder false", "web/greeting.txt false", "web/index.html false", "web/shop.xml false"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if m := p.Manifest(); m.Root != "sitemanifest" || m.Source != pseudoSource || len(m.Providers) != 1 {
		t.Errorf("manifest: %+v", m)
	}
	if ps := p.Parameters(); len(ps) != 5 || ps[0].Name != siteParameter || ps[2].Default != "Ada & Co" || ps[1].Entries[1].Kind != "TextFile" {
		t.Errorf("parameters: %+v", ps)
	}
}

func TestApplySubstitutes(t *testing.T) {
	p := open(t, pack(t, site, declared))
	target := filepath.Join(t.TempDir(), "srv", "site")
	values := filepath.Join(t.TempDir(), "set.xml")
	xml := "\xef\xbb\xbf<parameters><setParameter name=\"Owner\" value=\"Grace\"/><setParameter name='Theme' value='dark'/></parameters>"
	if err := os.WriteFile(values, []byte(xml), 0o644); err != nil {
		t.Fatal(err)
	}
	o := ApplyOptions{Target: target, SetParametersFile: values, SetParameters: map[string]string{"Owner": "$1 <Lin>", siteParameter: "storefront/eu"}}
	report, err := Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"storefront*":       site["storefront*"],
		"web/index.html":    "<h1>Shop of $1 <Lin></h1>\n<p>Shop of $1 <Lin></p>\n",
		"web/shop.xml":      "<?xml version=\"1.0\"?>\r\n<!-- keep -->\r\n<shop><title>Shop of $1 &lt;Lin&gt;</title>\r\n  <set name='theme'  value = 'dark' /><set name=\"other\" value=\"x\"/></shop>\r\n",
		"web/greeting.txt":  "first\näßhirest\n",
		"web/css/site.css":  site["web/css/site.css"],
		"web/empty/.folder": "",
	}
	if diff := cmp.Diff(want, tree(t, target)); diff != "" {
		t.Error(diff)
	}
	if report.Added != 6 || report.Application != "storefront/eu" {
		t.Errorf("report: %+v", report)
	}
	report, err = Apply(t.Context(), p, o)
	if err != nil || report.Unchanged != 6 || report.Added+report.Updated+report.Deleted != 0 {
		t.Errorf("again: %+v %v", report, err)
	}
	onlyEntry(t, filepath.Dir(target), "site")
}

// onlyEntry checks that nothing was left beside the target.
func onlyEntry(t *testing.T, dir, name string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != name {
		t.Errorf("%s holds %v, %v", dir, list, err)
	}
}

func TestApplyAdditionalFiles(t *testing.T) {
	old := map[string]string{"storefront*": "old", "web/css/site.css": "body{}\n", "App_Data/orders.db": "1", "log.txt": "l", "web": ""}
	delete(old, "web")
	tests := []struct {
		name   string
		o      ApplyOptions
		extra  []string
		counts [4]int // added, updated, deleted, unchanged
	}{
		{"keep", ApplyOptions{}, []string{"App_Data/orders.db", "log.txt"}, [4]int{4, 1, 0, 1}},
		{"remove", ApplyOptions{RemoveAdditionalFiles: true, TakeAppOffline: true}, nil, [4]int{4, 1, 2, 1}},
		{"skip", ApplyOptions{RemoveAdditionalFiles: true, Skip: []string{"app_data", "storefront", "web/*.xml"}}, []string{"App_Data/orders.db"}, [4]int{3, 0, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "site")
			if err := os.Rename(folder(t, old), target); err != nil {
				t.Fatal(err)
			}
			tt.o.Target = target
			r, err := Apply(t.Context(), open(t, pack(t, site, "")), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := [4]int{r.Added, r.Updated, r.Deleted, r.Unchanged}; got != tt.counts {
				t.Errorf("counts %v, want %v", got, tt.counts)
			}
			got := tree(t, target)
			var extra []string
			for name := range got {
				if _, ok := site[name]; !ok {
					extra = append(extra, name)
				}
			}
			slices.Sort(extra)
			if diff := cmp.Diff(tt.extra, extra); diff != "" {
				t.Error(diff)
			}
			if tt.name == "skip" && got["storefront*"] != "old" {
				t.Errorf("a skipped file was replaced: %q", got["storefront*"])
			}
			onlyEntry(t, filepath.Dir(target), "site")
		})
	}
}

// Whatever goes wrong, the folder is as it was and nothing is left beside it.
func TestFailedApplyLeavesOldContent(t *testing.T) {
	damaged := func() string {
		name := pack(t, site, "")
		data, _ := os.ReadFile(name)
		at := bytes.LastIndex(data[:bytes.Index(data, []byte("PK\x01\x02"))], []byte("Content/C_C/app/web/shop.xml"))
		data[at+40] ^= 0xff
		return file(t, data)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	wrap := func(entry string) string {
		return `<parameters><parameter name="X" defaultValue="v">` + entry + `</parameter></parameters>`
	}
	tests := map[string]struct {
		ctx        context.Context
		pkg        string
		parameters string
		set        map[string]string
		code       string
	}{
		"damaged":        {pkg: damaged(), code: "package-damaged"},
		"interrupted":    {ctx: canceled, code: "apply-interrupted"},
		"unknown value":  {set: map[string]string{"Nobody": "x"}, code: "parameter-unknown"},
		"no value":       {parameters: `<parameters><parameter name="X"/></parameters>`, code: "parameter-missing"},
		"cycle":          {parameters: `<parameters><parameter name="X" value="{Y}"/><parameter name="Y" value="{X}"/></parameters>`, code: "parameter-cycle"},
		"not allowed":    {parameters: declared, set: map[string]string{"Theme": "blue"}, code: "parameter-invalid"},
		"kind":           {parameters: wrap(`<parameterEntry kind="DestinationBinding" scope="x" match="y"/>`), code: "parameter-kind-unsupported"},
		"no file":        {parameters: wrap(`<parameterEntry kind="XmlFile" scope="Web\.config$" match="/a"/>`), code: "parameter-matches-nothing"},
		"no node":        {parameters: wrap(`<parameterEntry kind="XmlFile" scope="shop\.xml$" match="/nobody"/>`), code: "parameter-matches-nothing"},
		"bad path":       {parameters: wrap(`<parameterEntry kind="XmlFile" scope="shop\.xml$" match="/a["/>`), code: "xpath-invalid"},
		"not a text":     {parameters: wrap(`<parameterEntry kind="XmlFile" scope="shop\.xml$" match="/shop"/>`), code: "xml-not-replaceable"},
		"not XML":        {parameters: wrap(`<parameterEntry kind="XmlFile" scope="site\.css$" match="/a["/>`), code: "xpath-invalid"},
		"look-behind":    {parameters: wrap(`<parameterEntry kind="TextFile" scope="(?&lt;=x)y" match="a"/>`), code: "regex-unsupported"},
		"outside a line": {parameters: wrap(`<parameterEntry kind="TextFilePosition" scope="site\.css$" match="9;1;1"/>`), code: "parameter-matches-nothing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "site")
			old := map[string]string{"storefront*": "old", "web/x": "y"}
			if err := os.Rename(folder(t, old), target); err != nil {
				t.Fatal(err)
			}
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			if tt.pkg == "" {
				tt.pkg = pack(t, site, tt.parameters)
			}
			_, err := Apply(tt.ctx, open(t, tt.pkg), ApplyOptions{Target: target, SetParameters: tt.set, RemoveAdditionalFiles: true})
			if fault.CodeOf(err) != tt.code {
				t.Errorf("%s, want %s: %v", fault.CodeOf(err), tt.code, err)
			}
			if diff := cmp.Diff(old, tree(t, target)); diff != "" {
				t.Error(diff)
			}
			onlyEntry(t, filepath.Dir(target), "site")
		})
	}
}

// A link inside the target cannot lead a write out of it, and a link to the
// target stays a link.
func TestApplyStaysInside(t *testing.T) {
	outside := folder(t, map[string]string{"site.css": "mine"})
	dir := t.TempDir()
	target := filepath.Join(dir, "site")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(target, "web"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(target, "web", "css")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), open(t, pack(t, site, "")), ApplyOptions{Target: link}); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, outside)["site.css"]; got != "mine" {
		t.Errorf("a file outside became %q", got)
	}
	if got := tree(t, target)["web/css/site.css"]; got != "body{}\n" {
		t.Errorf("the file inside is %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
}
