package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// thirdPartyCookies is what a browser does with the cookies of frames from other sites.
type thirdPartyCookies string

const (
	allowed thirdPartyCookies = "allowed"
	blocked thirdPartyCookies = "blocked"
)

// order is the place of a mode in tables.
func (m thirdPartyCookies) order() int {
	if m == blocked {
		return 1
	}
	return 0
}

var cookiePreferences = map[thirdPartyCookies]string{
	allowed: `{"profile":{"cookie_controls_mode":0,"block_third_party_cookies":false}}`,
	blocked: `{"profile":{"cookie_controls_mode":1,"block_third_party_cookies":true}}`,
}

// inBothModes runs a test in a browser that allows third-party cookies and in one that blocks
// them, at the same time.
func inBothModes(t *testing.T, test func(t *testing.T, mode thirdPartyCookies)) {
	for _, mode := range []thirdPartyCookies{allowed, blocked} {
		t.Run("third-party cookies "+string(mode), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// A browser is a running Chromium with a new profile, in which all host names are those of the
// loopback interface.
type browser struct{ ctx context.Context }

// anywhere has Chromium find all hosts on the loopback interface, and believe what they are.
var anywhere = []string{"--host-resolver-rules=MAP * 127.0.0.1", "--ignore-certificate-errors"}

// startBrowser starts Chromium itself and connects to it: a driver that launches it may turn
// storage partitioning off.
func startBrowser(t *testing.T, mode thirdPartyCookies) *browser {
	t.Helper()
	return startBrowserWith(t, mode, anywhere)
}

// startBrowserWith starts Chromium with flags that say how it finds and trusts hosts.
func startBrowserWith(t *testing.T, mode thirdPartyCookies, flags []string) *browser {
	t.Helper()
	program, profile := needBrowser(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(cookiePreferences[mode]), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, profile, []string{"HOME=" + profile}, program, slices.Concat(flags, chromiumFlags(profile))...)
	address := p.waitLine(t, "address of Chromium", func(line string) (string, bool) {
		return strings.CutPrefix(line, "DevTools listening on ")
	})
	ctx, cancel := chromedp.NewRemoteAllocator(t.Context(), address, chromedp.NoModifyURL)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return &browser{ctx}
}

// needBrowser returns the path of Chromium.
func needBrowser(t *testing.T) string {
	t.Helper()
	if program := os.Getenv("CHROMIUM"); program != "" {
		return program
	}
	return needProgram(t, "chromium", "chromium-browser", "google-chrome")
}

func chromiumFlags(profile string) []string {
	return []string{
		"--user-data-dir=" + profile, "--remote-debugging-port=0",
		"--disable-quic", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		// Tabs that nobody looks at run at full speed.
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"about:blank",
	}
}

// waitLimit is how long a page may take for anything.
const waitLimit = 30 * time.Second

// A tab is one page of a browser.
type tab struct{ ctx context.Context }

// open opens a page in a new tab.
func (b *browser) open(t *testing.T, url string) *tab {
	t.Helper()
	page := attach(t, b.ctx)
	page.navigate(t, url)
	return page
}

// attach connects to a tab: a new one, unless the options name one.
func attach(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	// The first run binds the life of the tab to its context, so no limit may be on that one.
	if err := chromedp.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return &tab{ctx}
}

func (p *tab) run(t *testing.T, what string, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, waitLimit)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatalf("%s: %v; the page is %s", what, err, p.describe())
	}
}

func (p *tab) navigate(t *testing.T, url string) {
	t.Helper()
	p.run(t, "opening "+url, chromedp.Navigate(url))
}

// click clicks on what a CSS selector finds, once it is there.
func (p *tab) click(t *testing.T, selector string) {
	t.Helper()
	p.run(t, "clicking "+selector, chromedp.Click(selector, chromedp.ByQuery))
}

// waitFor waits until an expression is true, over navigations, in which it fails.
func (p *tab) waitFor(t *testing.T, expression string) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.ctx, time.Second)
		var met bool
		err := chromedp.Run(ctx, chromedp.Evaluate(expression, &met))
		cancel()
		if err == nil && met {
			return
		}
	}
	t.Fatalf("waited in vain for %s; the page is %s", expression, p.describe())
}

// describe tells what a page shows, for messages of failed tests; its address goes without the
// query.
func (p *tab) describe() string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	var page string
	err := chromedp.Run(ctx, chromedp.Evaluate(`location.origin + location.pathname + ': ' + (document.body?.innerText || '').slice(0, 500)`, &page))
	if err != nil {
		return err.Error()
	}
	return page
}

// eval returns the value of an expression, of a promise that of what it is resolved with.
func eval[T any](t *testing.T, p *tab, expression string) T {
	t.Helper()
	var value T
	p.run(t, "evaluating "+expression, chromedp.Evaluate(expression, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}))
	return value
}

// evaluate runs a statement and waits for nothing.
func evaluate(statement string) chromedp.Action {
	return chromedp.Evaluate(statement+"; undefined", nil)
}

// cookie returns the value of a cookie that the browser would send to an address.
func (b *browser) cookie(t *testing.T, url, name string) string {
	t.Helper()
	var value string
	err := chromedp.Run(b.ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		cookies, err := network.GetCookies().WithURLs([]string{url}).Do(ctx)
		for _, cookie := range cookies {
			if cookie.Name == name {
				value = cookie.Value
			}
		}
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return value
}
