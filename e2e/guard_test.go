package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

const navigations = 200

// TestASignOutAtTheOPEndsTheSessionOfEveryApp is about one sign-out among three browsers, as their
// users see it.
func TestASignOutAtTheOPEndsTheSessionOfEveryApp(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	s := startGuardedSite(t, "adopt 0", guardedApps()...)
	s.careless = true // copies without certificates look like those of a site that is guarded in part
	bob, other, alice := s.newVisitor(t, "bob"), s.newVisitor(t, "alice"), s.newVisitor(t, "alice")
	w := &watch{site: s, alice: alice, others: []*visitor{bob, other}, seen: make(map[string]*seenApp)}
	// In the first the guard has not met the names of the cookies yet.
	for _, v := range []*visitor{bob, other, alice} {
		for _, app := range s.apps {
			v.lookAround(t, app)
			v.signIn(t, app)
		}
		if v.passwords != 1 {
			t.Errorf("%s had to sign in at the OP %d times", v.user, v.passwords)
		}
	}
	w.navigate(t)
	w.copy(t)
	w.expectCopies(t, "before the sign-out", "with certificates", true)
	for _, name := range []string{"without certificates", "with certificates of the thief", "made before, and before any other"} {
		w.expectCopies(t, "before the sign-out", name, false)
	}

	alice.signOut(t)
	w.expectRefused(t)
	w.expectOthersIn(t)
	for _, name := range copies {
		w.expectCopies(t, "after the sign-out", name, false)
	}

	alice.passwords = 0
	for _, app := range s.apps {
		alice.signIn(t, app)
	}
	if alice.passwords != 1 {
		t.Errorf("to come back, she had to sign in at the OP %d times", alice.passwords)
	}
	for _, name := range copies {
		w.expectCopies(t, "after the next sign-in", name, false)
	}
	w.expectOthersIn(t)
	t.Logf("what was seen:\n%s", w.table())
}

// A visitor is a user with a browser.
type visitor struct {
	site      *guardedSite
	browser   *browser
	page      *tab
	user      string
	passwords int
	before    map[string][]*network.Cookie // by app, before the sign-in
}

func (s *guardedSite) newVisitor(t *testing.T, user string) *visitor {
	t.Helper()
	b := s.startBrowser(t)
	return &visitor{site: s, browser: b, page: b.open(t, "about:blank"), user: user, before: make(map[string][]*network.Cookie)}
}

// lookAround opens the first page of an app, and keeps the cookies that there are then.
func (v *visitor) lookAround(t *testing.T, app *runningApp) {
	t.Helper()
	v.page.navigate(t, app.origin+"/")
	v.before[app.name] = v.cookies(t, app)
}

// signIn signs in to an app, in which the OP's login page may be shown.
func (v *visitor) signIn(t *testing.T, app *runningApp) {
	t.Helper()
	v.page.navigate(t, app.origin+app.signIn)
	v.page.waitFor(t, "document.querySelector('button[name=user]') !== null || "+back(app))
	if eval[bool](t, v.page, "location.origin === '"+v.site.issuer+"'") {
		v.passwords++
		clickUser(t, v.page, v.user)
		v.page.waitFor(t, back(app))
	}
	if !v.isIn(t, app) {
		t.Fatalf("%s is not signed in to %s: %s", v.user, app.name, v.page.describe())
	}
}

// back is a condition of pages: the app has taken the authorization response.
func back(app *runningApp) string {
	return fmt.Sprintf("location.origin === %q && location.pathname !== %q && document.readyState === 'complete'", app.origin, app.callback)
}

// isIn opens the private page of an app and reports whether it is shown to the user.
func (v *visitor) isIn(t *testing.T, app *runningApp) bool {
	t.Helper()
	v.page.navigate(t, app.origin+app.private)
	return shows(eval[string](t, v.page, "document.body?.innerText ?? ''"), v.user)
}

func (v *visitor) signOut(t *testing.T) {
	t.Helper()
	page := v.browser.open(t, v.site.signOutPage())
	page.click(t, `button[value="sign_out"]`)
	page.waitFor(t, "document.querySelector('h1')?.textContent === 'You are signed out'")
}

// cookies are those that the browser would send to the private page of an app.
func (v *visitor) cookies(t *testing.T, app *runningApp) (cookies []*network.Cookie) {
	t.Helper()
	err := chromedp.Run(v.browser.ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		cookies, err = network.GetCookies().WithURLs([]string{app.origin + app.private}).Do(ctx)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return cookies
}

// session is the cookie that is the session of an app, if the browser has one.
func (v *visitor) session(t *testing.T, app *runningApp) *network.Cookie {
	t.Helper()
	for _, cookie := range v.cookies(t, app) {
		if cookie.Name == app.cookie {
			return cookie
		}
	}
	return nil
}

// copies are those of alice's cookies that somebody could have made.
var copies = []string{
	"with certificates",
	"without certificates",
	"with certificates of the thief",
	"made before the sign-in",
	"made before, and before any other",
}

// A watch follows what becomes of alice's session.
type watch struct {
	site   *guardedSite
	alice  *visitor
	others []*visitor
	seen   map[string]*seenApp
}

// A seenApp is what was seen of an app.
type seenApp struct {
	session *network.Cookie
	copies  map[string]string // what an HTTP client sends
	refused bool
	passed  []string // copies that passed in vain
}

// navigate opens the apps in turn, each some times in a row.
func (w *watch) navigate(t *testing.T) {
	t.Helper()
	refused := 0
	for i := range navigations {
		if app := w.site.apps[i/5%len(w.site.apps)]; !w.alice.isIn(t, app) {
			refused++
			t.Errorf("navigation %d: %s does not know her: %s", i, app.name, w.alice.page.describe())
		}
	}
	t.Logf("%d navigations, %d refused", navigations, refused)
}

// copy makes the copies.
func (w *watch) copy(t *testing.T) {
	t.Helper()
	bob := w.others[0]
	for _, app := range w.site.apps {
		alice := w.alice.cookies(t, app)
		certificates, hers := split(alice)
		his, _ := split(bob.cookies(t, app))
		w.seen[app.name] = &seenApp{session: w.alice.session(t, app), copies: map[string]string{
			"with certificates":                 header(hers, certificates),
			"without certificates":              header(hers),
			"with certificates of the thief":    header(hers, his),
			"made before the sign-in":           header(w.alice.before[app.name]),
			"made before, and before any other": header(bob.before[app.name]),
		}}
		if len(certificates) == 0 {
			t.Errorf("%s: there is no certificate among %d cookies", app.name, len(alice))
		}
	}
}

// split tells the guard's cookies from those of an app.
func split(cookies []*network.Cookie) (certificates, rest []*network.Cookie) {
	for _, cookie := range cookies {
		if isCertificate(cookie.Name) {
			certificates = append(certificates, cookie)
		} else {
			rest = append(rest, cookie)
		}
	}
	return certificates, rest
}

func isCertificate(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "__Host-"), "__Secure-")
	return strings.HasPrefix(name, "oidc_guard_")
}

// header is the Cookie header of a request with some cookies.
func header(cookies ...[]*network.Cookie) string {
	var pairs []string
	for _, some := range cookies {
		for _, cookie := range some {
			pairs = append(pairs, cookie.Name+"="+cookie.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// expectCopies expects of each app that a copy passes, or is refused.
func (w *watch) expectCopies(t *testing.T, when, name string, want bool) {
	t.Helper()
	for _, app := range w.site.apps {
		user := "alice"
		if name == "made before, and before any other" {
			user = "bob"
		}
		seen := w.seen[app.name]
		got := w.site.replay(t, app, seen.copies[name], user)
		if got != want {
			t.Errorf("%s, %s: a copy %s is let in: %t", when, app.name, name, got)
		}
		if got && !want && !slices.Contains(seen.passed, name) {
			seen.passed = append(seen.passed, name)
		}
	}
}

// replay sends a copy of cookies to the private page of an app, and reports whether it is let in.
func (s *guardedSite) replay(t *testing.T, app *runningApp, cookies, user string) bool {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, app.origin+app.private, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", cookies)
	_, body, err := do(s.plain, r)
	if err != nil {
		t.Fatal(err)
	}
	return shows(body, user)
}

// expectRefused expects of each app that the next request has not let her in, and that her cookie is
// gone.
func (w *watch) expectRefused(t *testing.T) {
	t.Helper()
	for _, app := range w.site.apps {
		seen, before := w.seen[app.name], w.alice.session(t, app)
		if seen.refused = !w.alice.isIn(t, app); !seen.refused {
			t.Errorf("%s lets her in after the sign-out", app.name)
		}
		if before == nil {
			t.Errorf("%s: the cookie was gone before the request", app.name)
			continue
		}
		if after := w.alice.session(t, app); after != nil && after.Value == before.Value {
			t.Errorf("%s: the cookie is still there after the refusal", app.name)
		}
	}
}

// expectOthersIn expects that the other browsers have not noticed.
func (w *watch) expectOthersIn(t *testing.T) {
	t.Helper()
	for i, v := range w.others {
		for _, app := range w.site.apps {
			if !v.isIn(t, app) {
				t.Errorf("%s no longer knows %s in the other browser %d: %s", app.name, v.user, i, v.page.describe())
			}
		}
		if v.passwords != 1 {
			t.Errorf("%s had to sign in at the OP %d times", v.user, v.passwords)
		}
	}
}

// table is what was seen, for people to read.
func (w *watch) table() string {
	table := newTable("app", "session cookie", "bytes", "HttpOnly", "refused at once", "copies refused")
	for i, app := range w.site.apps {
		seen := w.seen[app.name]
		copies := fmt.Sprintf("%d of %d", len(seen.copies)-len(seen.passed), len(seen.copies))
		if len(seen.passed) > 0 {
			copies += ", not those " + strings.Join(seen.passed, ", ")
		}
		table.add([]string{
			app.name, app.cookie, strconv.Itoa(len(seen.session.Value)), yesNo(seen.session.HTTPOnly), yesNo(seen.refused), copies,
		}, i)
	}
	return table.markdown()
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
