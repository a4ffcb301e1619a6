package oidcsession

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A browser keeps cookies as browsers do, for one host, Secure ones on *.localhost too, and follows no redirects.
type browser struct {
	t       *testing.T
	client  *http.Client
	cookies map[string]string
	header  http.Header // sent with every request
}

func newBrowser(t *testing.T) *browser {
	transport := transport()
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{
		t: t, cookies: make(map[string]string), header: make(http.Header),
		client: &http.Client{
			Transport:     transport,
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
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
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	response, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	return page{response, string(body)}
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

// state is the browser state, as the check page reads it.
func (b *browser) state() string { return b.cookie("__Host-op_browser_state") }

// An answer is the authorization response of one client.
type answer struct {
	clientID, origin string
	values           url.Values
}

func (a answer) sessionState() string { return a.values.Get("session_state") }

// authorize sends the browser to the OP for a client, follows the OP's own redirects, and signs in as user where the OP shows its login page.
func (b *browser) authorize(s site, clientID, user string, extra url.Values) answer {
	b.t.Helper()
	origin := "https://" + clientID + ".example"
	query := url.Values{
		"client_id": {clientID}, "redirect_uri": {origin + "/cb"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"~state of " + clientID},
	}
	maps.Copy(query, extra)
	got := b.get(s.issuer + "/authorize?" + query.Encode())
	for range 5 {
		location := got.Header.Get("Location")
		switch {
		case got.StatusCode == http.StatusOK && strings.Contains(got.body, "Who are you"):
			got = b.post(s.issuer+"/login", url.Values{"user": {user}, "return": {got.Request.URL.Query().Get("return")}})
		case strings.HasPrefix(location, origin+"/cb?"):
			_, raw, _ := strings.Cut(location, "?")
			values, err := url.ParseQuery(raw)
			if err != nil {
				b.t.Fatal(err)
			}
			return answer{clientID, origin, values}
		case strings.HasPrefix(location, "/"):
			got = b.get(s.issuer + location)
		default:
			b.t.Fatalf("neither page nor answer: %s, Location %q, body %.200q", got.Status, location, got.body)
		}
	}
	b.t.Fatal("the OP redirects for ever")
	return answer{}
}

// redeem exchanges the code as the client does, from its own server.
func (b *browser) redeem(s site, a answer) page {
	b.t.Helper()
	return newBrowser(b.t).post(s.issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {a.values.Get("code")}, "client_id": {a.clientID}, "redirect_uri": {a.origin + "/cb"},
	})
}

// ask asks the server what the check page would ask, without cookies.
func (b *browser) ask(s site, a answer) string {
	b.t.Helper()
	asking := newBrowser(b.t)
	asking.header.Set("Origin", s.issuer)
	got := asking.post(s.issuer+"/oidc/check-session", url.Values{
		"client_id": {a.clientID}, "session_state": {a.sessionState()}, "origin": {a.origin},
	})
	if got.StatusCode != http.StatusOK {
		b.t.Fatalf("the check is answered with %s: %s", got.Status, got.body)
	}
	return got.body
}

// matches tells whether the check page would find the session_state in agreement with its cookie.
func (b *browser) matches(a answer) bool {
	return sessionstate.Verify(a.sessionState(), a.clientID, a.origin, b.state())
}
