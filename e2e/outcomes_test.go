package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
)

// newServer is a running server with an empty project.
func newServer(t *testing.T) *shop {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	s := &shop{t: t, env: append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "PENSTOCK_DATA="+data, "PENSTOCK_HTTP_LISTEN="+ownAddress(),
		"PENSTOCK_PROJECT=shop", "NO_COLOR=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=a@example.test", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=a@example.test")}
	cmd := exec.Command(binary, "up", "--data", data)
	cmd.Env, cmd.SysProcAttr = s.env, &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = exec.Command(binary, "down", "--purge", "--yes", "--data", data).Run()
	})
	all := ""
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		line := strings.TrimSpace(scan.Text())
		all += line + "\n"
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "Pages":
			s.url = f[1]
		case len(f) > 1 && f[0] == "Password":
			s.password = f[1]
		}
		if s.url != "" && s.password != "" {
			go func() { _, _ = io.Copy(io.Discard, out) }() // keep the pipe empty
			s.env = append(s.env, "PENSTOCK_SERVER="+s.url)
			s.cli(s.password+"\n", "login", s.url, "--user", "admin")
			s.cli("", "project", "create", "shop")
			return s
		}
	}
	t.Fatalf("the server ended:\n%s", all)
	return nil
}

// push makes a repository of files and a pipeline of its ci.yml.
func (s *shop) push(name string, files map[string]string) {
	s.t.Helper()
	s.cli("", "repo", "create", name)
	dir := s.t.TempDir()
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	token := regexp.MustCompile(`pst_\w+`).FindString(s.cli("", "token", "create", "push"))
	for _, args := range [][]string{{"init", "-q", "-b", "main", "."}, {"add", "-A"}, {"commit", "-q", "-m", "Prices round up"},
		{"-c", "http.extraHeader=Authorization: Bearer " + token, "push", "-q", s.url + "/default/shop/_git/" + name, "main"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, s.env
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("git %s: %v\n%s", args[len(args)-1], err, out)
		}
	}
	s.cli("", "pipeline", "create", name, "--repo", name, "--path", "ci.yml")
}

const outcomesPipeline = `trigger: none
pool: default
parameters:
- { name: results, default: results.xml }
steps:
- bash: |
    cp *.md results.xml report.html "$AGENT_TEMPDIRECTORY"; cd "$AGENT_TEMPDIRECTORY"
    echo "##vso[task.uploadsummary]$PWD/notes.md"
    echo "##vso[task.uploadsummary]$PWD/trap.md"
    echo "##vso[task.addattachment type=report;name=report.html]$PWD/report.html"
    echo "##vso[task.uploadfile]$PWD/results.xml"
    echo "##vso[build.addbuildtag]nightly"
    echo "##vso[build.addbuildtag]quality/good"
    echo "##vso[artifact.associate artifactname=docs]https://example.test/docs/prices"
    echo "##vso[artifact.associate artifactname=share;type=filepath]\\\\files\\drop\\prices"
    echo "##vso[task.logissue type=warning;sourcepath=src/Price.cs;linenumber=7;code=CS0168]The variable total is declared and never used"
    echo "##vso[task.logissue type=error]The price list has 2 prices below their cost"
  displayName: Look at prices
- publish: $(System.DefaultWorkingDirectory)/results.xml
  artifact: results
- task: PublishTestResults@2
  inputs: { testResultsFiles: '${{ parameters.results }}', testRunTitle: Unit tests, mergeTestResults: true }
- task: PublishCodeCoverageResults@2
  inputs: { summaryFileLocation: cobertura.xml }
`

const notes = "# Prices of the week\n\n**412** prices were read, *2* of them are below their cost. See [the rules](https://example.test/rules) and `src/Price.cs`.\n\n" +
	"| Market | Prices | Below cost | Change |\n|:--|--:|--:|:-:|\n| Sweden | 210 | 0 | ▲ 1.2 % |\n| Germany | 202 | 2 | ▼ 0.4 % |\n\n" +
	"## What to do\n\n- [x] Read the list\n- [ ] Ask for the two prices\n\n```yaml\nround: up\ncurrency: EUR\n```\n\n> Prices change at midnight.\n\n<details><summary>All markets</summary>\n\n1. Sweden\n2. Germany\n\n</details>\n"

const trap = "# Trap\n\n<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><h1>Sign in again</h1>\n\n[click](javascript:document.title='owned')\n\n" +
	"![pixel](https://evil.example.test/pixel.png)\n\n<div id=\"run-head\" style=\"position:fixed;inset:0\">gone</div><form action=\"https://evil.example.test\"><input name=\"password\"></form>\n"

func testFile(failing ...string) string {
	var b strings.Builder
	b.WriteString(`<testsuites><testsuite name="unit">`)
	for _, suite := range []string{"Shop.Cart", "Shop.Price", "Shop.Till", "Shop.Stock.Warehouse.Of.A.Very.Long.Name.That.Does.Not.End"} {
		for i, name := range []string{"Adds", "Removes", "Keeps the order of things that were put in", "Counts", "Rounds up"} {
			fmt.Fprintf(&b, `<testcase classname="%s" name="%s" time="0.%d3">`, suite, name, i)
			for _, f := range failing {
				if f == suite+"."+name {
					b.WriteString(`<failure message="Expected: 12.50, but was: 12.49">at Shop.PriceTests.RoundsUp() in src/PriceTests.cs:line 31&#10;at Shop.Runner.Run()</failure>`)
				}
			}
			if suite == "Shop.Till" && i == 3 {
				b.WriteString(`<skipped message="needs a till"/>`)
			}
			b.WriteString(`</testcase>`)
		}
	}
	b.WriteString(`</testsuite></testsuites>`)
	return b.String()
}

func coberturaFile() string {
	var b strings.Builder
	b.WriteString(`<coverage lines-covered="0" lines-valid="0"><packages>`)
	for p, pkg := range []string{"Shop.Core", "Shop.Web"} {
		fmt.Fprintf(&b, `<package name="%s"><classes>`, pkg)
		for i, class := range []string{"Cart", "Price", "Till", "Stock"} {
			fmt.Fprintf(&b, `<class name="%s" filename="src/%s/%s.cs"><lines>`, class, pkg, class)
			for line := range 40 {
				hits := 0
				if line < 10*(i+1)-3*p {
					hits = 2
				}
				fmt.Fprintf(&b, `<line number="%d" hits="%d"/>`, line+1, hits)
			}
			fmt.Fprintf(&b, `<line number="50" hits="1" branch="true" condition-coverage="50%% (1/2)"/></lines></class>`)
		}
		b.WriteString(`</classes></package>`)
	}
	b.WriteString(`</packages></coverage>`)
	return strings.Replace(b.String(), `lines-covered="0" lines-valid="0"`, `branch-rate="0.5" lines-covered="188" lines-valid="328"`, 1)
}

// TestOutcomePages looks at what a run leaves in a real browser: it is laid out,
// it follows the run while it goes on, and what a pipeline wrote cannot act.
func TestOutcomePages(t *testing.T) {
	sources(t)
	s := newServer(t)
	s.push("prices", map[string]string{"ci.yml": outcomesPipeline, "notes.md": notes, "trap.md": trap, "report.html": "<script>document.title='owned'</script>",
		"before.xml": testFile("Shop.Price.Rounds up", "Shop.Till.Adds"), "results.xml": testFile("Shop.Price.Rounds up", "Shop.Cart.Removes"), "cobertura.xml": coberturaFile()})
	s.cli("", "pipeline", "run", "prices", "--param", "results=before.xml", "--watch")
	b := s.browser()
	b.signIn("admin", s.password)
	id := s.cli("", "pipeline", "run", "prices", "-q")
	run := "/default/shop/runs/" + id
	b.open(run)
	for _, text := range []string{"Succeeded", "Prices of the week", "below their cost", "nightly", "docs", "2 failed"} {
		b.shows(text) // without being loaded again
	}
	for what, script := range map[string]string{
		"a script ran":         "document.title.includes('owned')",
		"the page has two h1":  "document.querySelectorAll('h1').length !== 1",
		"the head was taken":   "document.querySelectorAll('#run-head').length !== 1 || document.querySelector('.md #run-head') !== null",
		"an image is loaded":   "document.querySelectorAll('.md img').length !== 0",
		"a form asks":          "document.querySelectorAll('.md form, .md input').length !== 0",
		"something is styled":  "document.querySelectorAll('.md [style], .md [class]').length !== 0",
		"a link runs a script": "[...document.links].some(a => a.protocol === 'javascript:')",
	} {
		ctx, cancel := b.within()
		bad, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		cancel()
		if err != nil || bad {
			t.Errorf("%s (%v)", what, err)
		}
	}
	b.open(run + "/tests")
	b.shows("1 new failure, 1 fixed")
	b.shows("Expected: 12.50, but was: 12.49")
	b.click(`a[href$="show=new"]`)
	b.shows("Removes")
	b.open(run + "/coverage")
	b.shows("57.3 %")
	b.pictures(map[string]string{"run-outcomes": run, "tests": run + "/tests", "coverage": run + "/coverage", "artifacts": run + "/artifacts", "runs-tagged": "/default/shop/runs?tag=nightly"})
}
