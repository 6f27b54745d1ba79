package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// shop is a running server with the story of the demo told, for the pages.
type shop struct {
	t        *testing.T
	env      []string
	url      string
	password string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	dir := t.TempDir()
	s := &shop{t: t, env: append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_STATE_HOME="+filepath.Join(dir, "state"),
		"PENSTOCK_DATA="+filepath.Join(dir, "data"), "PENSTOCK_PROJECT=shop", "NO_COLOR=1")}
	cmd := exec.Command(binary, "demo", "--fast", "--data", filepath.Join(dir, "data"))
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
	})
	var all bytes.Buffer
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		line := strings.TrimSpace(scan.Text())
		fmt.Fprintln(&all, line)
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "Pages":
			s.url = f[1]
		case len(f) > 1 && f[0] == "Password":
			s.password = f[1]
		case strings.HasPrefix(line, "Everything keeps running"):
			go func() { // keep the pipe empty
				for scan.Scan() {
				}
			}()
			s.env = append(s.env, "PENSTOCK_SERVER="+s.url)
			return s
		}
	}
	t.Fatalf("the demo ended:\n%s", all.String())
	return nil
}

// cli runs the command line.
func (s *shop) cli(stdin string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Stdin = s.env, strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("penstock %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// tab is one browser with one person signed in.
type tab struct {
	*shop
	ctx context.Context
}

func (s *shop) browser() *tab {
	s.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		s.t.Fatal("the pages are tested with Chromium: apt-get install chromium (./test.sh does)")
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true))
	s.t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	s.t.Cleanup(cancel)
	b := &tab{shop: s, ctx: ctx}
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// within bounds one action.
func (b *tab) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, 30*time.Second)
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		at, _ := chromedp.Run(b.ctx, chromedp.Location())
		text, _ := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("%s at %s: %v\n%s", what, at, err, text)
	}
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do("open "+path, chromedp.Navigate(b.url+path), chromedp.WaitVisible(chromedp.CSS("h1")))
}

func (b *tab) click(css string) {
	b.t.Helper()
	b.do("click "+css, chromedp.Click(chromedp.CSS(css)))
}

// shows waits until the page, without being loaded again, shows a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	body := ""
	for {
		ctx, cancel := b.within()
		got, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
		cancel()
		if err == nil {
			body = got
		}
		if strings.Contains(body, text) {
			return
		}
		select {
		case <-limit.C:
			at, _ := chromedp.Run(b.ctx, chromedp.Location())
			b.t.Fatalf("%s does not show %q:\n%s", at, text, body)
		case <-tick.C:
		}
	}
}

func (b *tab) signIn(name, password string) {
	b.t.Helper()
	b.do("sign in", chromedp.Navigate(b.url+"/signin"), chromedp.WaitVisible(chromedp.CSS("input[name=password]")),
		chromedp.SendKeys(chromedp.CSS("input[name=name]"), name), chromedp.SendKeys(chromedp.CSS("input[name=password]"), password),
		chromedp.Click(chromedp.CSS(`form[action="/signin"] button`)), chromedp.WaitNotPresent(chromedp.CSS("input[name=password]")))
}

// TestPages lives through the pages as people do: sign-in, pull request, live
// log, approval, swap, rollback; then it keeps a picture of each page.
func TestPages(t *testing.T) {
	sources(t)
	s := newShop(t)
	s.cli("password-of-lin\n", "user", "password", "lin")
	admin, lin := s.browser(), s.browser()

	admin.do("wrong password", chromedp.Navigate(s.url+"/signin"), chromedp.WaitVisible(chromedp.CSS("input[name=password]")),
		chromedp.SendKeys(chromedp.CSS("input[name=name]"), "admin"), chromedp.SendKeys(chromedp.CSS("input[name=password]"), "not-the-password"),
		chromedp.Click(chromedp.CSS(`form[action="/signin"] button`)))
	admin.shows("is not right")
	admin.pictures(map[string]string{"sign-in": "/signin"})
	admin.signIn("admin", s.password)
	lin.signIn("lin", "password-of-lin")
	admin.open("/default/shop")
	admin.shows("storefront")

	// A pull request shows its diff, its policies and its votes.
	admin.open("/default/shop/repos/storefront/pulls/1")
	admin.shows("Things for the kitchen")
	admin.shows("storefront-pr")
	admin.shows("grace")

	// The run page and the log follow what happens, without being loaded again.
	ci := s.cli("", "pipeline", "run", "storefront-ci", "-q")
	admin.open("/default/shop/runs/" + ci)
	admin.shows("Succeeded")
	cd := ""
	admin.waitFor(func() bool {
		cd = s.cli("", "run", "list", "--pipeline", "storefront-cd", "--limit", "1", "--state", "inProgress", "-q")
		return cd != ""
	})
	admin.open("/default/shop/runs/" + cd)
	admin.shows("Acceptance tests")
	admin.waitFor(func() bool { return strings.Contains(s.cli("", "run", "show", cd), "Against staging") })
	admin.open("/default/shop/runs/" + cd + "/jobs/acceptance.tests?step=2")
	admin.shows("tests, 0 failed")

	// lin finds the question in the inbox and answers it.
	lin.open("/approvals")
	lin.shows("storefront-cd")
	lin.pictures(map[string]string{"approvals": "/approvals"})
	lin.click(`form[action^="/approvals/"] button[value=approved]`)
	admin.open("/default/shop/runs/" + cd)
	admin.shows("Swap and look")
	s.cli("", "run", "watch", cd)

	// Roll back and swap with a button each.
	admin.open("/default/shop/apps/storefront")
	for range 2 {
		before := s.cli("", "app", "show", "storefront", "-o", "json")
		admin.click(`form[action$="/rollback"] button, form[action$="/swap"] button`)
		admin.waitFor(func() bool { return s.cli("", "app", "show", "storefront", "-o", "json") != before })
		admin.open("/default/shop/apps/storefront")
	}
	history := s.cli("", "app", "history", "storefront")
	if !strings.Contains(history, "rollback") {
		t.Errorf("no rollback in\n%s", history)
	}
	admin.pictures(map[string]string{"board": "/default/shop", "runs": "/default/shop/runs", "run": "/default/shop/runs/" + cd,
		"log":          "/default/shop/runs/" + cd + "/jobs/acceptance.tests?step=2",
		"pull-request": "/default/shop/repos/storefront/pulls/1", "application": "/default/shop/apps/storefront",
		"monitoring": "/default/shop/monitor/storefront", "pipelines": "/default/shop/pipelines", "code": "/default/shop/repos/storefront",
		"environments": "/default/shop/environments", "agents": "/agents"})
}

func (b *tab) waitFor(ok func() bool) {
	b.t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for !ok() {
		select {
		case <-limit.C:
			b.t.Fatal("nothing changed")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// pictures keeps pages at phone and desktop width, light and dark.
func (b *tab) pictures(pages map[string]string) {
	b.t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "artifacts", "screens"))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	for name, path := range pages {
		for _, width := range []int64{390, 1440} {
			for _, scheme := range []string{"light", "dark"} {
				b.do("viewport", chromedp.EmulateViewport(width, 900))
				ctx, cancel := b.within()
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				if err != nil {
					b.t.Fatal(err)
				}
				b.open(path)
				picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
				if err != nil {
					b.t.Fatal(err)
				}
				wide, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.documentElement.scrollWidth"))
				cancel()
				if err != nil {
					b.t.Fatal(err)
				}
				if int64(wide) > width {
					b.t.Errorf("%s is %v pixels wide on a screen of %d", path, wide, width)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), picture, 0o644); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
}
