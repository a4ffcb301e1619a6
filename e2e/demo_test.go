package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The shop watches the session at the OP. The wiki has no logout of its own: Caddy refuses its cookie.
func TestDemoShowsSignOutAtTheShopWithoutReloadAndAtTheWikiWithOne(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	program := buildDemo(t)
	inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
		port, b := startDemo(t, program), startBrowser(t, mode)
		shop := b.open(t, "http://shop.localhost:"+port+"/")
		shop.click(t, `a[href="/login"]`)
		shop.click(t, `button[value="alice"]`)
		shop.waitFor(t, "!!document.querySelector('[data-session=unchanged]') && "+headline("Signed in as alice"))
		wiki := b.open(t, "http://wiki.localhost:"+port+"/")
		wiki.click(t, `a[href="/login"]`)
		wiki.waitFor(t, headline("Signed in as alice"))
		wiki.navigate(t, "http://wiki.localhost:"+port+"/")
		wiki.waitFor(t, headline("Signed in as alice"))
		for _, page := range []*tab{shop, wiki} {
			page.run(t, "marking the page", evaluate("window.loadedOnce = true"))
		}

		provider := b.open(t, "http://op.localhost:"+port+"/")
		provider.click(t, `form[action="/logout"] button`)
		shop.waitFor(t, headline("Signed out"))
		if !eval[bool](t, shop, "window.loadedOnce === true") {
			t.Error("the page was loaded again")
		}
		if !eval[bool](t, wiki, headline("Signed in as alice")+" && window.loadedOnce === true") {
			t.Error("the wiki's page has noticed by itself")
		}
		wiki.navigate(t, "http://wiki.localhost:"+port+"/")
		wiki.waitFor(t, headline("Signed out"))
		wiki.click(t, `a[href="/login"]`)
		wiki.click(t, `button[value="bob"]`)
		wiki.waitFor(t, headline("Signed in as bob"))
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
