package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

const browserStateCookie = "__Host-op_browser_state"

// readBrowserState looks for the cookie that the check page reads. It must be readable by scripts,
// and in cross-site frames.
func (c *checker) readBrowserState(context.Context) error {
	cookies := c.browser.jar.withPrefix("op.localhost", browserStateCookie)
	if len(cookies) != 1 {
		return fmt.Errorf("there are %d cookies %s", len(cookies), browserStateCookie)
	}
	cookie := cookies[0]
	if cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteNoneMode {
		return errors.New("it is not Secure and SameSite=None, or it is HttpOnly")
	}
	c.browserState = cookie.Value
	return nil
}

// matches computes what the check page does with a message from an app's page (Session Management
// 1.0, section 3.2). It is written out here, rather than taken from the plugin, so that an error
// in the plugin does not agree with itself.
func (c *checker) matches(app string, config watchConfig) bool {
	hash, salt, ok := strings.Cut(config.SessionState, ".")
	if !ok || hash == "" || salt == "" {
		return false
	}
	sum := sha256.Sum256([]byte(config.ClientID + " " + app + " " + c.browserState + " " + salt))
	return hash == base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c *checker) matchBoth(ctx context.Context) error {
	if err := c.readBrowserState(ctx); err != nil {
		return err
	}
	if !c.matches(c.demo.shop, c.shop) {
		return errors.New("the shop's does not")
	}
	if !c.matches(c.demo.wiki, c.wiki) {
		return errors.New("the wiki's does not")
	}
	return nil
}

func (c *checker) matchNone(ctx context.Context) error {
	before := c.browserState
	if err := c.readBrowserState(ctx); err != nil {
		return err
	}
	if c.browserState == before {
		return errors.New("the browser state is the same as before")
	}
	if c.matches(c.demo.shop, c.shop) || c.matches(c.demo.wiki, c.wiki) {
		return errors.New("one still does")
	}
	return nil
}

// serverSaysForBoth asks for the session_states of both apps.
func (c *checker) serverSaysForBoth(want string) func(context.Context) error {
	return func(ctx context.Context) error {
		return errors.Join(
			c.serverSays(ctx, want, c.shop.ClientID, c.demo.shop, c.shop.SessionState),
			c.serverSays(ctx, want, c.wiki.ClientID, c.demo.wiki, c.wiki.SessionState))
	}
}

func (c *checker) askFromForeignOrigin(ctx context.Context) error {
	return c.serverSays(ctx, "error", c.shop.ClientID, "https://elsewhere.example", c.shop.SessionState)
}

func (c *checker) askForOtherClient(ctx context.Context) error {
	return c.serverSays(ctx, "error", c.wiki.ClientID, c.demo.shop, c.shop.SessionState)
}

// askForged presents a session_state with a salt that nobody sealed.
func (c *checker) askForged(ctx context.Context) error {
	const salt = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	sum := sha256.Sum256([]byte(c.shop.ClientID + " " + c.demo.shop + " " + c.browserState + " " + salt))
	forged := base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt
	return c.serverSays(ctx, "unknown", c.shop.ClientID, c.demo.shop, forged)
}

// serverSays asks the server as the check page does where it cannot read its cookie: without
// cookies, from the OP's origin.
func (c *checker) serverSays(ctx context.Context, want, clientID, origin, sessionState string) error {
	form := url.Values{"client_id": {clientID}, "session_state": {sessionState}, "origin": {origin}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.checkSessionIframe, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", c.demo.issuer)
	response, err := c.demo.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(body)); response.StatusCode != http.StatusOK || got != want {
		return fmt.Errorf("for %s at %s it says %q (%s), not %q", clientID, origin, got, response.Status, want)
	}
	return nil
}

func isHeading(n *html.Node) bool { return n.Data == "h1" }

// readJSON reads what a page holds for its script in <script type="application/json" id="…">.
func readJSON(p *page, id string, into any) error {
	element := elementByID(p.root, id)
	if element == nil {
		return fmt.Errorf("there is no %s on %s%s", id, p.url.Host, p.url.Path)
	}
	return json.Unmarshal([]byte(text(element)), into)
}
