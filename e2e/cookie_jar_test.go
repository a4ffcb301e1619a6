package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// A lenientOP takes every client, and answers after a redirect of its own, or from its login page.
type lenientOP struct{ issuer string }

func newLenientOP(t *testing.T, issuer string, _ map[string][]string) string {
	o := lenientOP{issuer}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", o.discover)
	mux.HandleFunc("GET /auth", o.authorize)
	mux.HandleFunc("/answer", o.answer)
	return serveOP(t, mux)
}

func (o lenientOP) discover(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer": o.issuer, "authorization_endpoint": o.issuer + "/auth", "token_endpoint": o.issuer + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
	})
}

func (o lenientOP) authorize(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("prompt") == "none" {
		http.Redirect(w, r, "/answer?"+r.URL.RawQuery, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<title>Sign in</title><form method="post" action="/answer?%s"><button>Sign in</button></form>`, r.URL.RawQuery)
}

func (o lenientOP) answer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	values := url.Values{"code": {rand.Text()}, "state": {query.Get("state")}}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+values.Encode(), http.StatusSeeOther)
}

// frames is a script that opens addresses in hidden frames, all at once. When all have loaded,
// opened is their number.
func frames(addresses string) string {
	return `window.opened = 0; window.frameList = ` + addresses + `.map((address) => {
		const frame = document.createElement('iframe');
		frame.onload = () => opened++;
		frame.src = address;
		return document.body.appendChild(frame);
	})`
}

// ourCookies counts our cookies at an address, and the bytes that a request there has of them.
func (b *browser) ourCookies(t *testing.T, url string) (count, size int) {
	t.Helper()
	err := chromedp.Run(b.ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		cookies, err := network.GetCookies().WithURLs([]string{url}).Do(ctx)
		for _, cookie := range cookies {
			if strings.HasPrefix(cookie.Name, "__Host-oidc_") || strings.HasPrefix(cookie.Name, "__Host-op_") {
				count++
				size += len(cookie.Name + "=" + cookie.Value + "; ")
			}
		}
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return count, size
}

func TestHiddenFramesNeitherFillTheCookieJarNorDisturbASignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addOP(t, opHost, provider{start: newLenientOP})
	s.start(t)
	b := startBrowser(t, allowed) // else frames have no cookies
	ask := func(client, state string) string {
		return s.url(opHost, "/auth?") + url.Values{
			"client_id": {client}, "redirect_uri": {s.url(shopHost, "/answer.html")}, "response_type": {"code"}, "scope": {"openid"},
			"state": {state},
		}.Encode()
	}
	shop := b.open(t, ask("shop", opHost))

	const all, batch = 500, 20
	foreign := b.open(t, s.url(foreignHost, "/frame.html?about:blank"))
	for first := 0; first < all; first += batch {
		var addresses []string
		for i := range batch {
			addresses = append(addresses, "'"+ask(strings.Repeat("c", 512), fmt.Sprint(first+i))+"'")
		}
		foreign.run(t, "opening frames", evaluate(frames("["+strings.Join(addresses, ",")+"]")))
		foreign.waitFor(t, fmt.Sprint("opened >= ", batch))
		foreign.run(t, "closing them", evaluate("frameList.forEach((frame) => frame.remove())"))
	}
	if count, size := b.ourCookies(t, s.url(opHost, "/")); count != 1+1+4 || size > 3<<10 { // the session, the sign-in, the frames
		t.Errorf("there are %d cookies of %d bytes", count, size)
	}
	if n := s.authorizations(opHost, strings.Repeat("c", 512)); n != all {
		t.Errorf("%d frames asked", n)
	}

	shop.click(t, "button")
	shop.waitFor(t, "location.pathname === '/answer.html'")
	if word := expectAnswered(t, shop); word != "unchanged" {
		t.Errorf("the check page says %s", word)
	}
}

func TestAppsThatRenewAtOnceAllGetASessionState(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addOP(t, opHost, provider{start: newLenientOP})
	s.start(t)
	b := startBrowser(t, allowed)
	ask := func(client, state string) string {
		return s.url(opHost, "/auth?") + url.Values{
			"client_id": {client}, "redirect_uri": {s.url(shopHost, "/answer.html")}, "response_type": {"code"}, "scope": {"openid"},
			"state": {state}, "prompt": {"none"},
		}.Encode()
	}
	shop := b.open(t, ask("shop", opHost))
	shop.waitFor(t, "location.pathname === '/answer.html'")
	expectAnswered(t, shop)
	var addresses []string
	for i := range 5 {
		addresses = append(addresses, "'"+ask(fmt.Sprint("app", i), opHost+fmt.Sprint("?", i))+"'")
	}
	shop.run(t, "renewing", evaluate(frames("["+strings.Join(addresses, ",")+"]")))
	shop.waitFor(t, "opened >= 5")
	got := eval[[]string](t, shop, `frameList.map((frame) => new URLSearchParams(frame.contentWindow.location.search).get('session_state') || '')`)
	if len(got) != 5 {
		t.Fatalf("%d apps have an answer", len(got))
	}
	for i, sessionState := range got {
		if !sessionStatePattern.MatchString(sessionState) {
			t.Errorf("app %d has session_state %q", i, sessionState)
		}
	}
}
