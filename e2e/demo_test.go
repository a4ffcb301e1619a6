package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoShowsSignOutInBothAppsWithoutReload(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	program := buildDemo(t)
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		port, b := startDemo(t, program), startBrowser(t, mode)
		shop := b.open(t, "http://shop.localhost:"+port+"/")
		shop.click(t, `a[href="/login"]`)
		shop.click(t, `button[value="alice"]`)
		wiki := b.open(t, "http://wiki.localhost:"+port+"/")
		wiki.click(t, `a[href="/login"]`)
		for _, page := range []*tab{shop, wiki} {
			page.waitFor(t, "!!document.querySelector('[data-session=unchanged]') && "+headline("Signed in as alice"))
			page.run(t, "marking the page", evaluate("window.loadedOnce = true"))
		}

		provider := b.open(t, "http://op.localhost:"+port+"/")
		provider.click(t, `form[action="/logout"] button`)
		for _, page := range []*tab{shop, wiki} {
			page.waitFor(t, headline("Signed out"))
			if !eval[bool](t, page, "window.loadedOnce === true") {
				t.Error("the page was loaded again")
			}
		}
	})
}

// headline is an expression that reports whether a headline can be seen.
func headline(text string) string {
	return `[...document.querySelectorAll('h1')].some((h) => h.checkVisibility() && h.textContent === '` + text + `')`
}

func buildDemo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "demo")
	cmd := exec.Command("go", "build", "-C", filepath.Join("..", "demo"), "-o", program, ".")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the demo: %v\n%s", err, output)
	}
	return program
}

// startDemo starts the demo and returns its port.
func startDemo(t *testing.T, program string) string {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	demo, err := filepath.Abs(filepath.Join("..", "demo"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + dir, "TMPDIR=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
	p := start(t, demo, env, program, "-port", port)
	p.waitLine(t, "guide", func(line string) (string, bool) {
		return line, strings.Contains(line, "http://shop.localhost:"+port)
	})
	return port
}
