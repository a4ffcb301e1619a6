package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A person is a browser without pages: it keeps cookies, and does at the scripted OP what users
// and their apps do. What fails is no failure of the test, for Caddy may be gone at any moment.
type person struct {
	site *site
	host string // the OP's
	http *http.Client
	apps *http.Client // has no cookies
}

func (p *person) close() {
	p.http.CloseIdleConnections()
	p.apps.CloseIdleConnections()
}

// A signedIn is what an app got when a person signed in.
type signedIn struct {
	client, origin, sessionState, hint string
}

func newPerson(t *testing.T, s *site, host string) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{site: s, host: host, http: s.client(t), apps: s.client(t)}
	p.http.Jar = jar
	return p
}

// signIn signs a user in at a client, whose code is redeemed as its server does.
func (p *person) signIn(client, user string) (a signedIn, err error) {
	a = signedIn{client: client, origin: p.site.url(p.site.clients[client], "")}
	request := url.Values{
		"client_id": {client}, "redirect_uri": {a.origin + "/callback.html"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"1"},
	}.Encode()
	response, _, err := send(p.http, http.MethodGet, p.site.url(p.host, "/auth?"+request), nil)
	if err == nil && response.StatusCode == http.StatusOK {
		response, _, err = send(p.http, http.MethodPost, p.site.url(p.host, "/login?"+request), url.Values{"user": {user}})
	}
	if err != nil {
		return a, err
	}
	answer, err := url.Parse(response.Header.Get("Location"))
	if err != nil || answer.Query().Get("code") == "" {
		return a, fmt.Errorf("%s without a code", response.Status)
	}
	a.sessionState = answer.Query().Get("session_state")
	_, body, err := send(p.apps, http.MethodPost, p.site.url(p.host, "/token"), url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {answer.Query().Get("code")},
	})
	var token struct {
		ID string `json:"id_token"`
	}
	if err = errors.Join(err, json.Unmarshal([]byte(body), &token)); err == nil && token.ID == "" {
		err = errors.New("no ID token")
	}
	a.hint = token.ID
	return a, err
}

// signOut asks for the sign-out as an app's link does. It returns the page that it leads to, or
// reports that it leads back to the app: the end is recorded then.
func (p *person) signOut(a signedIn) (page string, back bool, err error) {
	target := p.site.url(p.host, endSessionPath) + "?" + url.Values{
		"id_token_hint": {a.hint}, "post_logout_redirect_uri": {a.origin + "/bye.html"},
	}.Encode()
	for range 5 {
		response, body, err := send(p.http, http.MethodGet, target, nil)
		if err != nil || response.Header.Get("Location") == "" {
			return body, false, err
		}
		next, err := response.Location()
		if err != nil || strings.HasPrefix(next.String(), a.origin+"/bye.html") {
			return "", err == nil, err
		}
		target = next.String()
	}
	return "", false, errors.New("it redirects for ever")
}

// ask asks the server what the check page would, which cannot read its cookie.
func (p *person) ask(a signedIn) (string, error) {
	form := url.Values{"client_id": {a.client}, "session_state": {a.sessionState}, "origin": {a.origin}}
	r, err := http.NewRequest(http.MethodPost, p.site.url(p.host, checkSessionPath), strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Origin", p.site.url(p.host, ""))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, body, err := do(p.apps, r)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return body, err
}

// learn asks until the server knows: after its start it may still be opening its file.
func (p *person) learn(t *testing.T, a signedIn) (answer string) {
	t.Helper()
	for range 50 {
		var err error
		if answer, err = p.ask(a); err != nil {
			t.Fatal(err)
		}
		if answer != "unknown" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return answer
}

// expectAnswer expects what the server says of a sign-in.
func (p *person) expectAnswer(t *testing.T, when string, a signedIn, want string) {
	t.Helper()
	got, err := p.ask(a)
	if err == nil && got == "unknown" && want != got {
		got = p.learn(t, a)
	}
	if got != want || err != nil {
		t.Errorf("%s: the server says %q of %s, want %q (%v)", when, got, a.client, want, err)
	}
}

func send(client *http.Client, method, target string, form url.Values) (*http.Response, string, error) {
	r, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, "", err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return do(client, r)
}

func do(client *http.Client, r *http.Request) (*http.Response, string, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}
