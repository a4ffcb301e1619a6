package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/oidc-session/caddy-oidc-session/assets"
)

const (
	longName = "Donaudampfschifffahrtsgesellschaftskapitänsmützenverwaltungsanwendung"
	rtlName  = "بوابة (24) הפורטל!"
	longHost = "customer-portal-of-the-southern-region.applications.internal.example.com"
)

// manyApps are more apps than a group of the receipt names, some with names that are hard on a
// layout.
func manyApps() []string {
	apps := []string{longName, rtlName}
	for len(apps) < 25 {
		apps = append(apps, fmt.Sprintf("App %d", len(apps)+1))
	}
	return apps
}

// shownPages are the pages of sign-out as users see them, by their names in the pictures.
func shownPages() map[string]assets.View {
	question := assets.View{Page: assets.PageQuestion, Client: "The Shop", Action: "/confirm", Confirmation: "x"}
	unnamed, long, rtl := question, question, question
	unnamed.Client, long.Client, rtl.Client = "", longName, rtlName
	back := assets.View{Page: assets.PageSignedIn, Back: "https://shop.example/", BackName: "The Shop"}
	backLong, backRTL, notSent := back, back, back
	backLong.BackName, backRTL.BackName = longName, rtlName
	notSent.Page, notSent.Problem, notSent.Host = assets.PageSignedOut, assets.ProblemUnknownRedirect, longHost
	return map[string]assets.View{
		"question": question, "question-unnamed": unnamed, "question-long": long, "question-rtl": rtl,
		"signed-in": {Page: assets.PageSignedIn}, "signed-in-back": back, "signed-in-back-long": backLong, "signed-in-back-rtl": backRTL,
		"signed-out": {Page: assets.PageSignedOut}, "signed-out-not-sent": notSent,
		"signed-out-unrecorded": {Page: assets.PageSignedOut, Unrecorded: true, Continue: "https://shop.example/bye"},
		"error-unrecorded": {
			Page: assets.PageError, Problem: assets.ProblemOPFailed, Unrecorded: true, Action: "/confirm", Confirmation: "x",
		},
		"receipt": {
			Page: assets.PageSignedOut, Told: manyApps(), Asked: manyApps(), Retrying: []string{"The Shop"},
			Failed: []string{longName}, Untold: []string{rtlName, "The Wiki"},
		},
		"error-invalid":   {Page: assets.PageError, Problem: assets.ProblemInvalidRequest, Detail: "post_logout_redirect_uri", Signed: assets.SignedOut},
		"error-too-large": {Page: assets.PageError, Problem: assets.ProblemTooLarge},
		"error-expired":   {Page: assets.PageError, Problem: assets.ProblemExpired, Action: "/confirm", Confirmation: "x"},
		"error-unknown-redirect": {
			Page: assets.PageError, Problem: assets.ProblemUnknownRedirect, Detail: "post_logout_redirect_uri", Host: longHost,
			Signed: assets.SignedIn, Action: "/confirm", Confirmation: "x", Back: "https://shop.example/", BackName: "The Shop",
		},
		"error-op-failed": {
			Page: assets.PageError, Problem: assets.ProblemOPFailed, Action: "/confirm", Confirmation: "x",
			Told: []string{"The Shop"}, Failed: []string{longName}, Untold: []string{rtlName},
			Back: "https://shop.example/", BackName: longName,
		},
	}
}

// servePages serves the pages at /LANGUAGE/NAME, with the policies that they have in Caddy.
func servePages(t *testing.T) *httptest.Server {
	t.Helper()
	pages, err := assets.LoadPages("")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	show := func(w http.ResponseWriter, body []byte, policy string, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(body)
	}
	views := shownPages()
	mux.HandleFunc("GET /{language}/{name}", func(w http.ResponseWriter, r *http.Request) {
		view := views[r.PathValue("name")]
		view.Language, view.Issuer = r.PathValue("language"), "login.example.com"
		body, err := pages.Render(view)
		show(w, body, pages.ContentSecurityPolicy(), err)
	})
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "signed out") })
	mux.HandleFunc("GET /hang", func(_ http.ResponseWriter, r *http.Request) { wait(over, r) })
	mux.HandleFunc("GET /{language}/front-channel", func(w http.ResponseWriter, r *http.Request) {
		body, policy, err := pages.FrontChannel(assets.FrontChannel{
			Language: r.PathValue("language"), Issuer: "login.example.com", Next: "/frame", Timeout: 30 * time.Second,
			Frames: []string{server.URL + "/frame?1", server.URL + "/hang", server.URL + "/frame?2"},
		})
		show(w, body, policy, err)
	})
	return server
}

// A screen is how a page is looked at.
type screen struct {
	scheme string // of colors
	width  int64  // in CSS pixels
}

var (
	screens = []screen{{"light", 1280}, {"dark", 1280}, {"light", 360}, {"dark", 360}}
	narrow  = screens[2:3] // where long words show
)

// lookAt has a tab show its page on a screen.
func (p *tab) lookAt(t *testing.T, s screen) {
	t.Helper()
	p.run(t, "changing the screen",
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}),
		emulation.SetDeviceMetricsOverride(s.width, 800, 1, s.width < 500))
}

// expectAccessible expects that axe-core finds nothing in the page that keeps people from using
// it, and leaves nothing undecided.
func (p *tab) expectAccessible(t *testing.T) {
	t.Helper()
	if !eval[bool](t, p, "typeof axe === 'object'") {
		source, err := os.ReadFile(filepath.Join(needPackages(t), "axe-core", "axe.min.js"))
		if err != nil {
			t.Fatal(err)
		}
		p.run(t, "adding axe-core", evaluate(string(source)))
	}
	faults := eval[[]string](t, p, `axe.run(document, {iframes: false, rules: {'target-size': {enabled: true}}}).then((found) =>
		[...found.violations, ...found.incomplete].flatMap(({id, nodes}) => nodes.map((node) => id + ': ' + node.html + ': ' + (node.failureSummary || ''))))`)
	for _, fault := range faults {
		t.Error(fault)
	}
	if eval[bool](t, p, "document.documentElement.scrollWidth > innerWidth") {
		t.Error("the page is wider than the screen")
	}
	if eval[bool](t, p, "document.styleSheets.length === 0") {
		t.Error("the page has no style")
	}
}

// The pictures are kept with -artifacts, in the directory that -outputdir names. It is not
// parallel: it keeps the processors busy, and others count how often a page asks in a time.
func TestPagesAreAccessible(t *testing.T) {
	needBrowser(t)
	needPackages(t)
	server := servePages(t)
	page := startBrowser(t, blocked).open(t, "about:blank")
	names := append(slices.Sorted(maps.Keys(shownPages())), "front-channel")
	dir := t.ArtifactDir()
	for language, screens := range map[string][]screen{"en": screens, "de": screens, "es": narrow, "fr": narrow} {
		for _, name := range names {
			t.Run(language+"/"+name, func(t *testing.T) {
				address := server.URL + "/" + language + "/" + name
				page.run(t, "opening "+address, evaluate("location.assign('"+address+"')")) // some of its frames never load
				page.waitFor(t, "location.href === '"+address+"' && document.readyState !== 'loading'")
				if name == "front-channel" {
					page.waitFor(t, "document.querySelector('[role=status]').textContent !== ''")
				}
				for _, s := range screens {
					page.lookAt(t, s)
					page.expectAccessible(t)
					page.keep(t, filepath.Join(dir, strings.Join([]string{name, language, s.scheme, fmt.Sprint(s.width)}, "-")+".png"))
				}
			})
		}
	}
}

// keep writes a screenshot of the whole page.
func (p *tab) keep(t *testing.T, file string) {
	t.Helper()
	var picture []byte
	p.run(t, "taking a screenshot", chromedp.FullScreenshot(&picture, 100))
	if err := os.WriteFile(file, picture, 0o600); err != nil {
		t.Fatal(err)
	}
}
