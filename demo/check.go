package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// check goes through the demo as a visitor with a browser would, and prints each step. It returns
// an error if a step failed; the steps after that are not tried.
func check(ctx context.Context, out io.Writer, d *demo) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := &checker{demo: d, browser: newBrowser(d.client.Transport)}
	for _, step := range c.steps() {
		if err := step.run(ctx); err != nil {
			fmt.Fprintf(out, "FAILED  %s: %v\n", step.name, err)
			return errors.New("the check failed")
		}
		fmt.Fprintf(out, "ok      %s\n", step.name)
	}
	return nil
}

// checker is a visitor who signs in, out, and in again, and looks at what the apps' pages have.
type checker struct {
	demo    *demo
	browser *browser

	checkSessionIframe string
	endSessionEndpoint string
	shop, wiki         watchConfig // what the apps know of the session, as last seen
	browserState       string      // the OP's cookie that the check page reads

	copies map[string][]*http.Cookie // alice's cookies at the apps, as somebody copied them, by host
}

type step struct {
	name string
	run  func(context.Context) error
}

func (c *checker) steps() []step {
	return []step{
		{"the OP's discovery document has a check_session_iframe and an end_session_endpoint, on the OP's own origin", c.discover},
		{"any site may frame the check page, and only its own script runs in it", c.frameCheckPage},
		{"alice signs in at the shop", c.signIn(&c.shop, "alice", "I am alice")},
		{"alice signs in at the wiki, and the OP does not ask again", c.signIn(&c.wiki, "alice", "")},
		{"prompt=none at the shop says that alice is still there, with a new session_state", c.silentLoginSameUser},
		{"the browser state cookie is there, for the check page and for cross-site frames", c.readBrowserState},
		{"in the check page, both session_states match it: unchanged", c.matchBoth},
		{"without the cookie, the server says unchanged for both", c.serverSaysForBoth("unchanged")},
		{"a session_state at another origin is an error", c.askFromForeignOrigin},
		{"a session_state for another client is an error", c.askForOtherClient},
		{"a forged session_state is unknown to the server", c.askForged},
		{"the wiki has no logout of its own: no script, no back channel", c.wikiHasNoLogout},
		{"Caddy's certificates stand beside both apps' session cookies", c.certificates},
		{"a copy of the wiki's cookie without its certificate is refused, and alice stays", c.copyAlone},
		{"alice signs out at the OP, which deletes its login cookie", c.signOut},
		{"the wiki still has her session, and when its page is loaded again she is signed out", c.refusedAtTheWiki},
		{"a copy of its cookies with their certificates is refused", c.copiesRefused},
		{"the shop is notified from server to server, once, and has signed her out", c.notifiedByBackChannel(1)},
		{"the shop's page, loaded again, says so", c.signedOutAt(shopHost)},
		{"in the check page, neither session_state matches any more: changed", c.matchNone},
		{"without the cookie, the server says changed for both", c.serverSaysForBoth("changed")},
		{"prompt=none says login_required, still with a session_state, and the shop ends its session", c.silentLoginNobody},
		{"bob signs in at the shop", c.signIn(&c.shop, "bob", "I am bob")},
		{"bob signs in at the wiki at once, and the OP does not ask again", c.signIn(&c.wiki, "bob", "")},
		{"the copies of alice's cookies are still refused", c.copiesRefused},
		{"in the check page, both new session_states match: unchanged", c.matchBoth},
		{"without the cookie, the server says unchanged for both", c.serverSaysForBoth("unchanged")},
		{"an app that may not have users sent somewhere is refused, and nobody is signed out", c.refuseRedirect},
		{"without a hint of who asks, the user is asked, and may stay", c.askAndStay},
		{"without the cookie, the server still says unchanged for both", c.serverSaysForBoth("unchanged")},
		{"bob signs out everywhere at the shop, and comes back to it with the state that it sent", c.signOutEverywhere},
		{"the shop is notified, once", c.notifiedByBackChannel(2)},
		{"bob is signed out at the wiki, too", c.signedOutAt(wikiHost)},
		{"in the check page, neither session_state matches any more: changed", c.matchNone},
		{"without the cookie, the server says changed for both", c.serverSaysForBoth("changed")},
		{"prompt=none says login_required again", c.silentLoginRequired},
		{"alice signs in at the shop", c.signIn(&c.shop, "alice", "I am alice")},
		{"asked without a hint, alice signs out, and the page says which app was notified", c.askAndSignOut},
		{"the shop is notified", c.notifiedByBackChannel(3)},
		{"prompt=none says login_required", c.silentLoginRequired},
	}
}

func (c *checker) discover(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.demo.issuer+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	response, err := c.demo.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var metadata struct {
		Issuer             string `json:"issuer"`
		CheckSessionIframe string `json:"check_session_iframe"`
		EndSessionEndpoint string `json:"end_session_endpoint"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&metadata); err != nil {
		return err
	}
	if metadata.Issuer != c.demo.issuer {
		return fmt.Errorf("the issuer is %q, not %q", metadata.Issuer, c.demo.issuer)
	}
	if !strings.HasPrefix(metadata.CheckSessionIframe, c.demo.issuer+"/") {
		return fmt.Errorf("it is %q", metadata.CheckSessionIframe)
	}
	if !strings.HasPrefix(metadata.EndSessionEndpoint, c.demo.issuer+"/") {
		return fmt.Errorf("the end_session_endpoint is %q", metadata.EndSessionEndpoint)
	}
	c.checkSessionIframe, c.endSessionEndpoint = metadata.CheckSessionIframe, metadata.EndSessionEndpoint
	return nil
}

func (c *checker) frameCheckPage(ctx context.Context) error {
	p, err := c.browser.open(ctx, c.checkSessionIframe, "iframe")
	if err != nil {
		return err
	}
	policy := p.header.Get("Content-Security-Policy")
	switch {
	case p.header.Get("X-Frame-Options") != "":
		return errors.New("X-Frame-Options keeps it out of frames")
	case policy == "":
		return errors.New("it has no Content-Security-Policy")
	case strings.Contains(policy, "frame-ancestors") && !strings.Contains(policy, "frame-ancestors *"):
		return errors.New("its Content-Security-Policy keeps it out of frames")
	}
	return nil
}

// signIn signs user in at the app that seen belongs to, and reads the app's page. button is what
// to press at the OP; empty if the OP must not ask.
func (c *checker) signIn(seen *watchConfig, user, button string) func(context.Context) error {
	return func(ctx context.Context) error {
		app := c.demo.shop
		if seen == &c.wiki {
			app = c.demo.wiki
		}
		p, err := c.browser.open(ctx, app+"/login", "document")
		if err != nil {
			return err
		}
		if button != "" {
			if p, err = c.browser.submit(ctx, p, button); err != nil {
				return err
			}
		}
		if want := app + "/"; p.url.String() != want {
			return fmt.Errorf("the browser is at %s%s, not back at the app", p.url.Host, p.url.Path)
		}
		if heading := find(p.root, isHeading); heading == nil || text(heading) != "Signed in as "+user {
			return fmt.Errorf("the app does not say that %s is signed in", user)
		}
		if seen == &c.wiki { // whose page watches nothing
			*seen = watchConfig{ClientID: "wiki", SessionState: c.browser.response().Get("session_state")}
			return nil
		}
		return readJSON(p, "session-config", seen)
	}
}

// silentLogin does what rp_iframe.js does on "changed" at the shop. It returns the OP's
// authorization response and what the shop makes of it.
func (c *checker) silentLogin(ctx context.Context) (url.Values, silentAnswer, error) {
	var answer silentAnswer
	p, err := c.browser.open(ctx, c.demo.shop+c.shop.SilentLogin, "iframe")
	if err != nil {
		return nil, answer, err
	}
	return c.browser.response(), answer, readJSON(p, "silent-answer", &answer)
}

func (c *checker) silentLoginSameUser(ctx context.Context) error {
	_, answer, err := c.silentLogin(ctx)
	if err != nil {
		return err
	}
	if answer.Status != "same" {
		return fmt.Errorf("the shop makes it %q %s", answer.Status, answer.Error)
	}
	if answer.SessionState == "" || answer.SessionState == c.shop.SessionState {
		return errors.New("the session_state is missing, or the old one")
	}
	c.shop.SessionState = answer.SessionState
	return nil
}

func (c *checker) silentLoginNobody(ctx context.Context) error {
	response, answer, err := c.silentLogin(ctx)
	if err != nil {
		return err
	}
	if e := response.Get("error"); e != "login_required" {
		return fmt.Errorf("the error is %q", e)
	}
	if s := response.Get("session_state"); s == "" || strings.Contains(s, " ") {
		return fmt.Errorf("the session_state is %q", s)
	}
	if answer.Status != "none" {
		return fmt.Errorf("the shop makes it %q", answer.Status)
	}
	p, err := c.browser.open(ctx, c.demo.shop+"/", "document")
	if err != nil {
		return err
	}
	var config watchConfig
	if err := readJSON(p, "session-config", &config); err != nil {
		return err
	}
	if config.SessionState != "" {
		return errors.New("the shop still has a session")
	}
	return nil
}

func (c *checker) signOut(ctx context.Context) error {
	if len(c.browser.jar.withPrefix("op.localhost", ssoCookie)) != 1 {
		return errors.New("the OP's login cookie is not there")
	}
	p, err := c.browser.open(ctx, c.demo.issuer+"/", "document")
	if err != nil {
		return err
	}
	if _, err = c.browser.submit(ctx, p, "Sign out at the OP"); err != nil {
		return err
	}
	if len(c.browser.jar.withPrefix("op.localhost", ssoCookie)) != 0 {
		return errors.New("the OP's login cookie is still there")
	}
	return nil
}
