package integration

import (
	"errors"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A browser keeps cookies as browsers do, Secure ones on *.localhost too, and follows no redirects.
type browser struct {
	t       *testing.T
	client  *http.Client
	now     func() time.Time
	cookies map[string]string
	scopes  map[string]scope // of cookies that do not go to every page
	header  http.Header      // sent with every request
}

// scope is where and how long a cookie is sent.
type scope struct {
	host, path string
	lax        bool
	expires    time.Time // zero: with the browser
}

func newBrowser(t *testing.T) *browser {
	transport := transport()
	transport.DisableKeepAlives = true // a reload closes connections under those who wait to use them again
	return newBrowserOver(t, transport, time.Now)
}

// newBrowserOver is a browser with a network and a clock of the test's.
func newBrowserOver(t *testing.T, network http.RoundTripper, now func() time.Time) *browser {
	return &browser{
		t: t, now: now, cookies: make(map[string]string), scopes: make(map[string]scope),
		header: http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}},
		client: &http.Client{
			Transport:     network,
			Timeout:       time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// frame is the browser in a hidden frame of another site's page, with the cookies that frames get. Those that it is given there
// become the browser's.
func (b *browser) frame() *browser {
	framed := *b
	framed.header = b.header.Clone()
	framed.header.Set("Sec-Fetch-Dest", "iframe")
	return &framed
}

// partitioned is the browser in a hidden frame that has a cookie jar of its own, empty at first.
func (b *browser) partitioned() *browser {
	framed := b.frame()
	framed.cookies, framed.scopes = make(map[string]string), make(map[string]scope)
	return framed
}

// stale is the browser as it sends a request before the answers to others arrive: it has the cookies of now. catchUp makes what it
// was given meanwhile the browser's.
func (b *browser) stale() (earlier *browser, catchUp func()) {
	copied := *b
	copied.cookies, copied.scopes = maps.Clone(b.cookies), maps.Clone(b.scopes)
	before := maps.Clone(b.cookies)
	return &copied, func() {
		for name, value := range before {
			if _, kept := copied.cookies[name]; !kept && b.cookies[name] == value {
				delete(b.cookies, name)
			}
		}
		for name, value := range copied.cookies {
			if before[name] != value {
				b.cookies[name], b.scopes[name] = value, copied.scopes[name]
			}
		}
		copied.cookies, copied.scopes = b.cookies, b.scopes
	}
}

// page is a response with its body read.
type page struct {
	*http.Response

	body string
}

func (b *browser) get(target string) page {
	b.t.Helper()
	return b.do(http.MethodGet, target, nil)
}

func (b *browser) post(target string, form url.Values) page {
	b.t.Helper()
	return b.do(http.MethodPost, target, form)
}

func (b *browser) do(method, target string, form url.Values) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = b.header.Clone()
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		if b.sends(name, r.URL) {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	response, err := b.client.Do(r)
	// A reload closes connections on which no request was read yet, as in transport.
	for tries := 0; tries < 5 && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)); tries++ {
		r.Body, _ = r.GetBody()
		response, err = b.client.Do(r)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range response.Cookies() {
		b.keep(c, r.URL.Host)
	}
	return page{response, string(body)}
}

func (b *browser) framed() bool { return b.header.Get("Sec-Fetch-Dest") == "iframe" }

// sends reports whether a cookie goes to an address, and forgets it when it is past its time.
func (b *browser) sends(name string, to *url.URL) bool {
	at := b.scopes[name]
	if !at.expires.IsZero() && !b.now().Before(at.expires) {
		delete(b.cookies, name)
		return false
	}
	return (at.host == "" || at.host == to.Host) && strings.HasPrefix(to.Path+"/", at.path) && (!at.lax || !b.framed())
}

// keep keeps a cookie that a response of a host sets, or deletes it.
func (b *browser) keep(c *http.Cookie, host string) {
	lax := c.SameSite == http.SameSiteLaxMode
	switch {
	case lax && b.framed():
	case c.MaxAge < 0 || c.MaxAge == 0 && !c.Expires.IsZero() && !b.now().Before(c.Expires):
		delete(b.cookies, c.Name)
	default:
		at := scope{host: host, path: c.Path, lax: lax, expires: c.Expires}
		if c.MaxAge > 0 {
			at.expires = b.now().Add(time.Duration(c.MaxAge) * time.Second)
		}
		b.cookies[c.Name], b.scopes[c.Name] = c.Value, at
	}
}

// cookie returns the value of the cookie whose name has a prefix.
func (b *browser) cookie(prefix string) string {
	for name, value := range b.cookies {
		if strings.HasPrefix(name, prefix) {
			return value
		}
	}
	return ""
}

// count returns how many cookies have a name with a prefix.
func (b *browser) count(prefix string) (n int) {
	for name := range b.cookies {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// state is the browser state, as the check page reads it.
func (b *browser) state() string { return b.cookie("__Host-op_browser_state") }

// signOut signs out at the OP, in a tab, or by a script where the OP does that.
func (b *browser) signOut(s site, op *scriptedOP) {
	b.t.Helper()
	signing := *b
	signing.header = b.header.Clone()
	signing.header.Set("Sec-Fetch-Dest", "document")
	if op.traits.signOut == byEmptyValue {
		signing.header.Set("Sec-Fetch-Dest", "empty")
	}
	if got := signing.get(s.issuer + op.at("/logout")); got.StatusCode != http.StatusOK {
		b.t.Fatalf("signing out: %s", got.Status)
	}
}

// An answer is the authorization response of one client.
type answer struct {
	clientID, origin string
	values           url.Values
}

func (a answer) sessionState() string { return a.values.Get("session_state") }

// A tab is on its way through an authorization request: at the OP's login page, or answered.
type tab struct {
	b        *browser
	s        site
	at       page
	answer   answer
	answered bool
}

// begin sends the browser to the OP for a client, and follows the OP's redirects to its login page or the answer.
func (b *browser) begin(s site, clientID string, extra url.Values) *tab {
	b.t.Helper()
	origin := "https://" + clientID + ".example"
	query := url.Values{
		"client_id": {clientID}, "redirect_uri": {origin + "/cb"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"~state of " + clientID},
	}
	maps.Copy(query, extra)
	o := &tab{b: b, s: s, answer: answer{clientID: clientID, origin: origin}}
	o.at = b.get(s.issuer + "/authorize?" + query.Encode())
	o.follow()
	return o
}

// signIn fills in the login page, if the tab is there.
func (o *tab) signIn(user string) answer {
	o.b.t.Helper()
	if !o.answered {
		_, action, _ := strings.Cut(o.at.body, `action="`)
		action, _, _ = strings.Cut(action, `"`)
		target, err := o.at.Request.URL.Parse(action)
		if err != nil {
			o.b.t.Fatal(err)
		}
		o.at = o.b.post(target.String(), url.Values{"user": {user}, "return": {o.at.Request.URL.Query().Get("return")}})
		o.follow()
	}
	if !o.answered {
		o.b.t.Fatal("the OP asks again who the user is")
	}
	return o.answer
}

func (o *tab) follow() {
	o.b.t.Helper()
	for range 10 {
		location := o.at.Header.Get("Location")
		switch {
		case o.readAnswer(location):
			return
		case o.at.StatusCode == http.StatusOK && strings.Contains(o.at.body, "Who are you"):
			return
		case location == "":
			o.b.t.Fatalf("neither page nor answer: %s, Location %q, body %.200q", o.at.Status, location, o.at.body)
		}
		next, err := o.at.Request.URL.Parse(location)
		if err != nil {
			o.b.t.Fatal(err)
		}
		o.at = o.b.get(next.String())
	}
	o.b.t.Fatal("the OP redirects for ever")
}

// field is a field of a form_post page.
var field = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"/>`)

// readAnswer reads an authorization response in the query, in the fragment or in a form.
func (o *tab) readAnswer(location string) bool {
	o.b.t.Helper()
	target := o.answer.origin + "/cb"
	if raw, ok := strings.CutPrefix(location, target); ok && raw != "" {
		values, err := url.ParseQuery(raw[1:])
		if err != nil {
			o.b.t.Fatal(err)
		}
		o.answer.values, o.answered = values, true
	} else if strings.Contains(o.at.body, `action="`+target+`"`) {
		o.answer.values, o.answered = make(url.Values), true
		for _, found := range field.FindAllStringSubmatch(o.at.body, -1) {
			o.answer.values.Add(html.UnescapeString(found[1]), html.UnescapeString(found[2]))
		}
	}
	return o.answered
}

// authorize goes through an authorization request, and signs in as user where the OP shows its login page.
func (b *browser) authorize(s site, clientID, user string, extra url.Values) answer {
	b.t.Helper()
	return b.begin(s, clientID, extra).signIn(user)
}

// redeem exchanges the code as the client does, from its own server.
func (b *browser) redeem(s site, a answer) page {
	b.t.Helper()
	return b.redeemWith(s, a, "")
}

// redeemWith exchanges the code with a code verifier (RFC 7636).
func (b *browser) redeemWith(s site, a answer, verifier string) page {
	b.t.Helper()
	return b.elsewhere().post(s.issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {a.values.Get("code")}, "client_id": {a.clientID}, "redirect_uri": {a.origin + "/cb"},
		"code_verifier": {verifier},
	})
}

// elsewhere has the same network, and no cookies.
func (b *browser) elsewhere() *browser { return newBrowserOver(b.t, b.client.Transport, b.now) }

// ask asks the server what the check page would ask, without cookies.
func (b *browser) ask(s site, a answer) string {
	b.t.Helper()
	asking := b.elsewhere()
	asking.header.Set("Origin", s.issuer)
	got := asking.post(s.issuer+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin},
	})
	if got.StatusCode != http.StatusOK {
		b.t.Fatalf("the check is answered with %s: %s", got.Status, got.body)
	}
	return got.body
}

// matches reports whether the check page would find the session_state in agreement with its cookie.
func (b *browser) matches(a answer) bool {
	return sessionstate.Verify(a.sessionState(), a.clientID, a.origin, b.state())
}
