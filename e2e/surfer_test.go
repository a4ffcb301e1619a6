package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/html"
)

// A surfer is a browser without pages and scripts: it keeps cookies, follows redirects, and does
// what the pages of the OP and of the apps would have its user or their scripts do. It may be used
// by several goroutines at once, like a browser with several tabs.
type surfer struct {
	site      *guardedSite
	http      *http.Client
	user      string // what it enters at the OP's login page; empty: it stops there
	passwords atomic.Int32
}

func (s *guardedSite) newSurfer(t *testing.T, user string) *surfer {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &surfer{site: s, http: s.client(t), user: user}
	b.http.Jar = jar
	return b
}

// visited is where a surfer arrived.
type visited struct {
	*http.Response
	body string
}

// open opens an address, and returns the page where all redirects and forms end.
func (b *surfer) open(address string) (visited, error) { return b.openUntil(address, nil) }

// openUntil stops before a request that it is told to stop at, and returns the page that leads
// there. Its Request is the one before.
func (b *surfer) openUntil(address string, stop func(*http.Request) bool) (visited, error) {
	next, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return visited{}, err
	}
	return b.follow(next, stop)
}

// goOn goes on from a page that waited for the user.
func (b *surfer) goOn(page visited) (visited, error) {
	next, err := b.next(page)
	if err != nil {
		return page, err
	}
	return b.follow(next, nil)
}

func (b *surfer) follow(next *http.Request, stop func(*http.Request) bool) (last visited, err error) {
	for range 25 {
		if err != nil || next == nil || stop != nil && stop(next) {
			return last, err
		}
		// what browsers say of the page of a tab
		next.Header.Set("Accept", "text/html,*/*;q=0.8")
		next.Header.Set("Sec-Fetch-Dest", "document")
		next.Header.Set("Sec-Fetch-Mode", "navigate")
		last.Response, last.body, err = do(b.http, next)
		if err != nil {
			return last, err
		}
		next, err = b.next(last)
	}
	return last, fmt.Errorf("there is no end of redirects at %s", last.Request.URL.Host+last.Request.URL.Path)
}

// next is the request that a page leads to by itself, if any.
func (b *surfer) next(page visited) (*http.Request, error) {
	if location, err := page.Location(); err == nil {
		return http.NewRequest(http.MethodGet, location.String(), nil)
	}
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		return nil, nil
	}
	f, err := parseForm(page)
	switch {
	case err != nil:
		return nil, err
	case f.callback != "":
		return nil, b.postCode(page, f.callback)
	case f.action == nil:
		return nil, nil
	case f.buttons["user"]: // the OP's login page
		if b.user == "" {
			return nil, nil
		}
		b.passwords.Add(1)
		f.values.Set("user", b.user)
		return f.request()
	case f.submitsItself:
		return f.request()
	}
	return nil, nil
}

// postCode does what the script of the single-page app does.
func (b *surfer) postCode(page visited, path string) error {
	query := page.Request.URL.Query()
	body, err := json.Marshal(map[string]string{"code": query.Get("code"), "state": query.Get("state")})
	if err != nil {
		return err
	}
	target := page.Request.URL.ResolveReference(&url.URL{Path: path})
	r, err := http.NewRequest(http.MethodPost, target.String(), strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	response, text, err := do(b.http, r)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the app answered the code with %s: %s", response.Status, text)
	}
	return err
}

// signIn signs in to an app, and says why it could not.
func (b *surfer) signIn(app *runningApp) error {
	if _, err := b.open(app.origin + app.signIn); err != nil {
		return err
	}
	page, err := b.private(app)
	if err == nil && !shows(page, b.user) {
		err = fmt.Errorf("%s shows %.200q after the sign-in", app.name, page)
	}
	return err
}

// private is what an app's private page says, without signing in for it.
func (b *surfer) private(app *runningApp) (string, error) {
	_, body, err := send(b.http, http.MethodGet, app.origin+app.private, nil)
	return body, err
}

// signOut signs out at the OP.
func (b *surfer) signOut() error {
	page, err := b.open(b.site.signOutPage())
	if err != nil {
		return err
	}
	f, err := parseForm(page)
	if err != nil || f.action == nil || !f.buttons["answer"] {
		return errors.Join(err, fmt.Errorf("the OP does not ask whether to sign out: %.300s", page.body))
	}
	f.values.Set("answer", "sign_out")
	r, err := f.request()
	if err != nil {
		return err
	}
	page, err = b.follow(r, nil)
	if err == nil && !strings.Contains(page.body, "You are signed out") {
		err = fmt.Errorf("the sign-out ends with %s: %.300s", page.Status, page.body)
	}
	return err
}

// copy returns another surfer, with the same cookies for an app, and none else.
func (b *surfer) copy(t *testing.T, app *runningApp) *surfer {
	t.Helper()
	other := b.site.newSurfer(t, b.user)
	address, err := url.Parse(app.origin + app.private)
	if err != nil {
		t.Fatal(err)
	}
	other.http.Jar.SetCookies(address, b.cookies(t, app))
	return other
}

// cookies are those that it would send to an app.
func (b *surfer) cookies(t *testing.T, app *runningApp) []*http.Cookie {
	t.Helper()
	address, err := url.Parse(app.origin + app.private)
	if err != nil {
		t.Fatal(err)
	}
	return b.http.Jar.Cookies(address)
}

// A form is the first of a page, as far as it is of interest.
type form struct {
	page          *http.Response
	method        string
	action        *url.URL // nil: there is no form
	values        url.Values
	buttons       map[string]bool // names
	submitsItself bool
	callback      string // what the page's script posts the code to
}

func parseForm(page visited) (form, error) {
	f := form{page: page.Response, values: make(url.Values), buttons: make(map[string]bool), method: http.MethodGet}
	f.submitsItself = strings.Contains(page.body, ".submit()")
	root, err := html.Parse(strings.NewReader(page.body))
	if err != nil {
		return f, err
	}
	for node := range root.Descendants() {
		attributes := make(map[string]string)
		for _, a := range node.Attr {
			attributes[a.Key] = a.Val
		}
		switch {
		case node.Type != html.ElementNode:
		case node.Data == "form":
			if f.action, err = page.Request.URL.Parse(attributes["action"]); err != nil {
				return f, err
			}
			if strings.EqualFold(attributes["method"], "post") {
				f.method = http.MethodPost
			}
		case node.Data == "input":
			f.values.Set(attributes["name"], attributes["value"])
		case node.Data == "button":
			f.buttons[attributes["name"]] = true
		case node.Data == "script" && attributes["data-callback"] != "":
			f.callback = attributes["data-callback"]
		}
	}
	return f, nil
}

// request submits the form as a browser does.
func (f form) request() (*http.Request, error) {
	if f.method == http.MethodGet {
		target := *f.action
		target.RawQuery = f.values.Encode()
		return http.NewRequest(http.MethodGet, target.String(), nil)
	}
	r, err := http.NewRequest(http.MethodPost, f.action.String(), strings.NewReader(f.values.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", f.page.Request.URL.Scheme+"://"+f.page.Request.URL.Host)
	return r, nil
}
