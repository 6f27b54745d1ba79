// Package archtest holds the layout's rules as tests: who may import whom, how
// large things may get, and that documents point somewhere.
package archtest

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "penstock.dev/penstock/"

const root = "../.."

// file is one Go file of the product.
type file struct {
	path    string // slash separated, from the root
	pkg     string // folder
	imports []string
	ast     *ast.File
	lines   int
}

var fset = token.NewFileSet()

func files(t *testing.T) []file {
	t.Helper()
	var list []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || rel == "examples/storefront" || rel == "tools") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		f := file{path: rel, pkg: filepath.ToSlash(filepath.Dir(rel)), ast: tree, lines: strings.Count(string(src), "\n")}
		for _, i := range tree.Imports {
			f.imports = append(f.imports, strings.Trim(i.Path.Value, `"`))
		}
		list = append(list, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (f file) generated() bool {
	return strings.HasSuffix(f.path, "_templ.go") || ast.IsGenerated(f.ast)
}

// layer of a folder below internal/.
func layer(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "internal/")
	if !ok {
		return pkg
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// may lists which layers a layer imports: server → {edge, adapter, agent} →
// domain → base; edge and adapter never meet.
var may = map[string][]string{
	"base":         {"base"},
	"domain":       {"domain", "base"},
	"edge":         {"edge", "domain", "base", "web", "examples", "docs"},
	"adapter":      {"adapter", "domain", "base"},
	"agent":        {"agent", "domain", "base"},
	"server":       {"server", "edge", "adapter", "agent", "domain", "base", "web"},
	"cmd/penstock": {"server", "edge", "agent", "domain", "base"},
	"web":          {},
	"examples":     {},
	"docs":         {},
	"e2e":          {"base"},
}

func TestLayers(t *testing.T) {
	for _, f := range files(t) {
		from := layer(f.pkg)
		allowed, known := may[from]
		if !known {
			if from != "archtest" && !strings.HasPrefix(from, "bench") && !strings.HasPrefix(from, "web/") && !strings.HasPrefix(from, "e2e") {
				t.Errorf("%s: folder %s is in no layer", f.path, f.pkg)
			}
			continue
		}
		for _, imp := range f.imports {
			rest, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			to := layer(rest)
			if strings.HasPrefix(to, "web") {
				to = "web"
			}
			if !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s: %s must not import %s", f.path, rest, from, to)
			}
		}
	}
}

// edges may import each other only along these arrows.
var edgeArrows = map[string][]string{
	"cli":      {"demo", "language", "localrun", "runview"},
	"localrun": {"language", "runview"},
}

// domainArrows are the imports between domain folders; a new one is a decision.
var domainArrows = map[string][]string{
	"identity":          {"audit"},
	"project":           {"audit", "identity"},
	"repos":             {"audit", "identity"},
	"pullrequest":       {"audit", "identity", "repos", "run"},
	"agentpool":         {"audit", "identity", "pipeline"},
	"artifact":          {},
	"attachment":        {"artifact"},
	"environment":       {"audit", "identity", "pipeline"},
	"deployment":        {"pipeline"},
	"keyvault":          {"audit", "identity"},
	"variablegroup":     {"audit", "identity", "keyvault"},
	"serviceconnection": {"audit", "identity", "keyvault"},
	"securefile":        {"audit", "identity", "keyvault"},
	"application":       {"audit", "identity", "environment", "deployment", "pipeline", "variablegroup", "routing", "trafficmanager"},
	"run": {"agentpool", "application", "artifact", "audit", "deployment", "environment", "identity", "pipeline", "project",
		"repos", "securefile", "serviceconnection", "variablegroup"},
	"monitor": {"routing"},
}

func part(pkg, prefix string) string {
	rest, ok := strings.CutPrefix(pkg, prefix)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestArrowsWithinLayers(t *testing.T) {
	for _, f := range files(t) {
		for _, imp := range f.imports {
			rest, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			for prefix, arrows := range map[string]map[string][]string{"internal/domain/": domainArrows, "internal/edge/": edgeArrows} {
				from, to := part(f.pkg, prefix), part(rest, prefix)
				if from != "" && to != "" && from != to && !slices.Contains(arrows[from], to) {
					t.Errorf("%s imports %s: there is no arrow %s → %s", f.path, rest, from, to)
				}
			}
		}
	}
}

// No SQL and no HTTP server in the domain.
func TestDomainIsPure(t *testing.T) {
	for _, f := range files(t) {
		if layer(f.pkg) != "domain" || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		for _, imp := range f.imports {
			if imp == "database/sql" || imp == "net/http" || imp == "os/exec" {
				t.Errorf("%s imports %s", f.path, imp)
			}
		}
	}
}

// The exceptions only shrink.
var (
	longFiles     = map[string]int{}
	longFunctions = map[string]int{}
)

const (
	maxFileLines     = 500
	maxFunctionLines = 60
	maxPackageFiles  = 20
	maxMethods       = 5
)

func TestSizes(t *testing.T) {
	perPackage := map[string]int{}
	for _, f := range files(t) {
		if f.generated() {
			continue
		}
		if limit := max(maxFileLines, longFiles[f.path]); f.lines > limit {
			t.Errorf("%s has %d lines, at most %d are allowed", f.path, f.lines, limit)
		}
		if strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		perPackage[f.pkg]++
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
			name := f.path + ":" + fn.Name.Name
			if limit := max(maxFunctionLines, longFunctions[name]); lines > limit {
				t.Errorf("%s has %d lines, at most %d are allowed", name, lines, limit)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && len(i.Methods.List) > maxMethods {
				t.Errorf("%s: an interface has %d methods, at most %d are allowed", f.path, len(i.Methods.List), maxMethods)
			}
			return true
		})
	}
	for pkg, n := range perPackage {
		if n > maxPackageFiles {
			t.Errorf("%s has %d files, at most %d are allowed", pkg, n, maxPackageFiles)
		}
	}
}

// Names that say nothing.
func TestNoVagueFolders(t *testing.T) {
	for _, f := range files(t) {
		for _, name := range strings.Split(f.pkg, "/") {
			if slices.Contains([]string{"util", "utils", "common", "models", "manager", "helpers", "misc"}, name) {
				t.Errorf("%s: folder %s says nothing", f.path, name)
			}
		}
	}
}

// Tests wait for events.
func TestNoSleeps(t *testing.T) {
	for _, f := range files(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "Sleep" {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
				t.Errorf("%s: time.Sleep; wait for an event", fset.Position(n.Pos()))
			}
			return true
		})
	}
}

var link = regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)

// Every relative link in a document leads somewhere.
func TestDocumentLinks(t *testing.T) {
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".md") {
			return nil
		}
		in, err := os.Open(p)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		scan := bufio.NewScanner(in)
		for n := 1; scan.Scan(); n++ {
			for _, m := range link.FindAllStringSubmatch(scan.Text(), -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(p), filepath.FromSlash(m[1]))); err != nil {
					t.Errorf("%s:%d: link to %s leads nowhere", p, n, m[1])
				}
			}
		}
		return scan.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}
