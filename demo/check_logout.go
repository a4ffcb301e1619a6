package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/html"
)

// refuseRedirect asks to be sent, after a sign-out, where the shop has not registered to send
// users.
func (c *checker) refuseRedirect(ctx context.Context) error {
	_, err := c.browser.open(ctx, c.endSessionEndpoint+"?client_id=shop&post_logout_redirect_uri=https://elsewhere.example/", "document")
	if err == nil || !strings.Contains(err.Error(), "400") {
		return fmt.Errorf("it is not refused: %w", err)
	}
	return c.loginCookieIsThere(true)
}

func (c *checker) askAndStay(ctx context.Context) error {
	if err := c.answer(ctx, "Stay signed in", "You are still signed in"); err != nil {
		return err
	}
	return c.loginCookieIsThere(true)
}

func (c *checker) askAndSignOut(ctx context.Context) error {
	if err := c.answer(ctx, "Sign out", "You are signed out", "The Shop"); err != nil {
		return err
	}
	return c.loginCookieIsThere(false)
}

// answer asks to be signed out without saying who asks, presses a button of the question, and
// expects a heading, and a list of apps.
func (c *checker) answer(ctx context.Context, button, heading string, apps ...string) error {
	p, err := c.browser.open(ctx, c.endSessionEndpoint, "document")
	if err != nil {
		return err
	}
	if p, err = c.browser.submit(ctx, p, button); err != nil {
		return err
	}
	if h := find(p.root, isHeading); h == nil || text(h) != heading {
		return fmt.Errorf("the page does not say %q", heading)
	}
	list := find(p.root, func(n *html.Node) bool { return n.Data == "ul" })
	if len(apps) > 0 && (list == nil || text(list) != strings.Join(apps, " ")) {
		return fmt.Errorf("the page does not name %q", apps)
	}
	return nil
}

func (c *checker) signOutEverywhere(ctx context.Context) error {
	p, err := c.browser.open(ctx, c.demo.shop+"/", "document")
	if err != nil {
		return err
	}
	if p, err = c.browser.submit(ctx, p, "Sign out everywhere"); err != nil {
		return err
	}
	var asked, back string
	for _, u := range c.browser.urls {
		switch u.Scheme + "://" + u.Host + u.Path {
		case c.endSessionEndpoint:
			if u.Query().Has("id_token_hint") {
				asked = u.Query().Get("state")
			}
		case c.demo.shop + signedOutPath:
			back = u.Query().Get("state")
		}
	}
	if p.url.String() != c.demo.shop+"/" || asked == "" || asked != back {
		return fmt.Errorf("the browser is at %s%s, and the state came back: %v", p.url.Host, p.url.Path, asked == back)
	}
	return c.loginCookieIsThere(false)
}

func (c *checker) silentLoginRequired(ctx context.Context) error {
	response, _, err := c.silentLogin(ctx)
	if err != nil {
		return err
	}
	if e := response.Get("error"); e != "login_required" {
		return fmt.Errorf("the error is %q", e)
	}
	return nil
}

// loginCookieIsThere reports whether the browser is signed in at the OP as expected.
func (c *checker) loginCookieIsThere(want bool) error {
	if there := len(c.browser.jar.withPrefix("op.localhost", ssoCookie)) == 1; there != want {
		return errors.New(map[bool]string{true: "the OP's login cookie is still there", false: "the OP's login cookie is gone"}[there])
	}
	return nil
}
