package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const shopClient = `
		client shop {
			name "The Shop"
			post_logout_redirect_uri https://app.shop.test:PORT/bye.html
		}`

// Two OPs that have no end_session endpoint: one whose cookies are cleared, and one that has a
// sign-out of its own.
var leavable = []provider{
	{
		name: "npm oidc-provider 9", users: nodeProvider.users, sso: true, start: startProviderWithoutLogout, login: clickUser,
		options: "login_cookie _session\n\t\tend_session {\n\t\t\tclear_cookies _session _session.sig\n\t\t}" + shopClient,
	},
	{
		name: "scripted OP", users: scriptedProvider.users, sso: true, start: scriptedProvider.start, login: clickUser,
		options: "login_cookie login\n\t\tsession_state replace\n\t\tend_session {\n\t\t\tupstream POST /sign-out\n\t\t}" + shopClient,
	},
}

// leavingState has all the punctuation of ASCII twice, and has 64 characters: each layer would
// like to change some of it.
const leavingState = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

func TestSigningOutAtTheEndSessionEndpoint(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	needPackages(t)
	for _, op := range leavable {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			inBothModes(t, func(t *testing.T, mode thirdPartyCookies) {
				s := newSite(t)
				s.complaint = `"outcome":"refused"`
				s.addOP(t, op.host(crossSite), op)
				s.start(t)
				l := &leaver{cell: cell{op: op, site: s, browser: startBrowser(t, mode), host: op.host(crossSite)}}
				l.run(t)
			})
		})
	}
}

// A leaver signs in at two relying parties and out at one, in all ways that there are.
type leaver struct {
	cell

	shop, wiki *tab
}

func (l *leaver) run(t *testing.T) {
	l.signInAsBoth(t, "bob")
	bobsHint := l.hint(t)
	back := l.site.url(shopHost, "/bye.html")

	l.ask(t, url.Values{"id_token_hint": {bobsHint}, "post_logout_redirect_uri": {back}, "state": {leavingState}})
	l.expectBack(t, leavingState)
	l.expectSignedOut(t)
	l.ask(t, url.Values{"id_token_hint": {bobsHint}, "post_logout_redirect_uri": {back}}) // already signed out
	l.expectBack(t, "")

	l.signInAsBoth(t, "alice")
	hint := l.hint(t)
	for name, refused := range map[string]url.Values{
		"another address":          {"id_token_hint": {hint}, "post_logout_redirect_uri": {back + "/"}},
		"a query added":            {"id_token_hint": {hint}, "post_logout_redirect_uri": {back + "?a=b"}},
		"alg none":                 {"id_token_hint": {forged(t, hint, "none")}, "post_logout_redirect_uri": {back}},
		"signed by another key":    {"id_token_hint": {forged(t, hint, jose.ES256)}, "post_logout_redirect_uri": {back}},
		"HS256":                    {"id_token_hint": {forged(t, hint, jose.HS256)}, "post_logout_redirect_uri": {back}},
		"a state that comes twice": {"id_token_hint": {hint}, "state": {"1", "2"}},
	} {
		l.ask(t, refused)
		l.expectPage(t, name, "This sign-out request is not valid", "This app may not send you there")
		l.expectSignedIn(t)
	}
	for name, asked := range map[string]url.Values{
		"no hint":             {"client_id": {"shop"}, "post_logout_redirect_uri": {back}},
		"another user's hint": {"id_token_hint": {bobsHint}, "post_logout_redirect_uri": {back}},
		"no parameters":       {},
		"a state alone":       {"state": {leavingState}},
	} {
		l.ask(t, asked)
		l.expectPage(t, name, "Sign out?")
		l.expectSignedIn(t)
	}
	l.ask(t, url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {back}})
	l.shop.click(t, `button[value="stay"]`)
	l.shop.waitFor(t, "document.readyState === 'complete' && document.querySelector('a') !== null")
	l.expectPage(t, "no", "You are still signed in")
	l.shop.click(t, "a")
	l.expectBack(t, "")
	l.expectSignedIn(t)

	l.post(t, url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {back}})
	l.expectBack(t, "")
	l.expectSignedOut(t)

	l.signInAsBoth(t, "alice")
	l.ask(t, url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {back}, "state": {"1"}})
	l.shop.click(t, `button[value="sign_out"]`)
	l.expectBack(t, "1")
	l.expectSignedOut(t)
	l.ask(t, url.Values{"client_id": {"shop"}, "post_logout_redirect_uri": {back + "/"}})
	l.expectPage(t, "signed out already, and another address", "You are signed out")
}

// signInAsBoth signs a user in at both relying parties, at new pages of theirs.
func (l *leaver) signInAsBoth(t *testing.T, user string) {
	t.Helper()
	l.shop, l.wiki = l.open(t, shopHost, ""), l.open(t, wikiHost, "")
	l.signIn(t, l.shop, user, true)
	l.signIn(t, l.wiki, user, false)
	l.wiki.waitFor(t, "replies.unchanged > 0")
}

func (l *leaver) hint(t *testing.T) string {
	t.Helper()
	return eval[string](t, l.shop, "manager.getUser().then((user) => user.id_token)")
}

// endpoint is where the OP's document says.
func (l *leaver) endpoint(t *testing.T) string {
	t.Helper()
	return eval[string](t, l.wiki, "manager.metadataService.getEndSessionEndpoint()")
}

// ask follows a link of the shop's to the endpoint.
func (l *leaver) ask(t *testing.T, parameters url.Values) {
	t.Helper()
	target := l.endpoint(t) + "?" + parameters.Encode()
	l.shop.navigate(t, l.site.url(shopHost, "/bye.html?before"))
	l.shop.run(t, "leaving", evaluate("location.assign("+strconv.Quote(target)+")"))
	l.shop.waitFor(t, "location.search !== '?before' && document.readyState === 'complete'")
}

// post submits a form of the shop's to the endpoint.
func (l *leaver) post(t *testing.T, parameters url.Values) {
	t.Helper()
	endpoint := l.endpoint(t)
	l.shop.navigate(t, l.site.url(shopHost, "/bye.html?before"))
	form, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	l.shop.run(t, "leaving by a form", evaluate(`{
		const form = document.createElement('form');
		form.method = 'post';
		form.action = `+strconv.Quote(endpoint)+`;
		for (const [name, [value]] of Object.entries(`+string(form)+`)) {
			const input = document.createElement('input');
			input.name = name;
			input.value = value;
			form.append(input);
		}
		document.body.append(form);
		form.submit();
	}`))
	l.shop.waitFor(t, "location.search !== '?before' && document.readyState === 'complete'")
}

// expectBack expects the shop's page, with nothing but the state in its address.
func (l *leaver) expectBack(t *testing.T, state string) {
	t.Helper()
	l.shop.waitFor(t, "location.pathname === '/bye.html'")
	got := eval[string](t, l.shop, "location.href")
	back, query, hasQuery := strings.Cut(got, "?")
	values, err := url.ParseQuery(query)
	if err != nil || back != l.site.url(shopHost, "/bye.html") || hasQuery != (state != "") || values.Get("state") != state || len(values) > 1 {
		t.Errorf("the browser came back to %s, want the state %q and nothing else", got, state)
	}
}

// expectPage expects one of our own pages, in which axe-core finds no fault.
func (l *leaver) expectPage(t *testing.T, name string, headings ...string) {
	t.Helper()
	if got := eval[string](t, l.shop, "document.querySelector('h1')?.textContent ?? location.href"); !slices.Contains(headings, got) {
		t.Errorf("%s: the page says %q, want one of %q", name, got, headings)
	}
	l.shop.expectAccessible(t)
}

// silently asks for an authorization with prompt=none in a tab of its own, and returns the
// answer's parameters.
func (l *leaver) silently(t *testing.T) map[string]string {
	t.Helper()
	page := l.browser.open(t, l.site.authorizationURL(l.op, "query", "/answer.html")+"&prompt=none")
	page.waitFor(t, "typeof answer === 'object'")
	return eval[map[string]string](t, page, "answer")
}

// expectSignedOut expects that the sign-out was real, and that the other relying party is told.
func (l *leaver) expectSignedOut(t *testing.T) {
	t.Helper()
	if got := l.silently(t); got["error"] != "login_required" {
		t.Errorf("prompt=none finds %q %q after the sign-out", got["code"], got["error"])
	}
	if got := event(t, l.wiki); got != "signed out" {
		t.Errorf("the other relying party raised %q", got)
	}
}

// expectSignedIn expects that nothing has happened.
func (l *leaver) expectSignedIn(t *testing.T) {
	t.Helper()
	if got := l.silently(t); got["code"] == "" || got["error"] != "" {
		t.Errorf("prompt=none finds %q", got["error"])
	}
	expectUnchanged(t, l.wiki, 1)
}

// forged returns a token with the same claims and kid, which the OP has not signed.
func forged(t *testing.T, token string, algorithm jose.SignatureAlgorithm) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if algorithm == "none" {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if raw, err := base64.RawURLEncoding.DecodeString(parts[0]); err != nil || json.Unmarshal(raw, &header) != nil {
		t.Fatalf("the hint has no header: %v", err)
	}
	var key any = []byte(strings.Repeat("a secret of the client", 2))
	if algorithm == jose.ES256 {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: header.KeyID}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}
