package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/html"
)

// The hosts of the apps: browsers keep their cookies apart by host, whatever the port is.
const (
	shopHost = "shop.localhost"
	wikiHost = "wiki.localhost"
)

// origin returns that of an app, by its host.
func (c *checker) origin(host string) string {
	if host == wikiHost {
		return c.demo.wiki
	}
	return c.demo.shop
}

// wikiHasNoLogout expects that nothing at the wiki could notice that a session ended.
func (c *checker) wikiHasNoLogout(ctx context.Context) error {
	p, err := c.browser.open(ctx, c.demo.wiki+"/", "document")
	if err != nil {
		return err
	}
	if find(p.root, func(n *html.Node) bool { return n.Data == "script" || n.Data == "iframe" }) != nil {
		return errors.New("its page has a script or a frame")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.demo.wiki+backchannelPath, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.demo.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		return fmt.Errorf("%s responds %s", backchannelPath, response.Status)
	}
	return nil
}

// certificates looks at the cookies of both apps, and copies them.
func (c *checker) certificates(context.Context) error {
	c.copies = make(map[string][]*http.Cookie)
	for _, host := range []string{shopHost, wikiHost} {
		name := strings.TrimSuffix(host, ".localhost") + "_session"
		own, certificates := c.browser.jar.withPrefix(host, name), c.browser.jar.withPrefix(host, "oidc_guard_")
		if len(own) != 1 || len(certificates) != 1 {
			return fmt.Errorf("at the host %s there are %d session cookies and %d certificates", host, len(own), len(certificates))
		}
		if !certificates[0].HttpOnly || certificates[0].Path != own[0].Path {
			return errors.New("a certificate has other attributes than its cookie")
		}
		c.copies[host] = append(own, certificates...)
	}
	return nil
}

// copyAlone presents a copy of the session cookie alone, and then looks at the browser's own page.
func (c *checker) copyAlone(ctx context.Context) error {
	if err := c.presents(ctx, wikiHost, c.copies[wikiHost][:1], "Signed out"); err != nil {
		return err
	}
	return c.headingAt(ctx, wikiHost, "Signed in as alice")
}

// refusedAtTheWiki expects that Caddy alone signs alice out: the wiki has still her session.
func (c *checker) refusedAtTheWiki(ctx context.Context) error {
	if _, sessions := c.demo.apps[1].state(); sessions != 1 {
		return fmt.Errorf("the wiki has %d sessions", sessions)
	}
	return c.signedOutAt(wikiHost)(ctx)
}

// copiesRefused presents all that was copied at both apps.
func (c *checker) copiesRefused(ctx context.Context) error {
	return errors.Join(
		c.presents(ctx, wikiHost, c.copies[wikiHost], "Signed out"),
		c.presents(ctx, shopHost, c.copies[shopHost], "Signed out"))
}

// signedOutAt loads the page of an app, which must say that nobody is signed in, and expects that
// the browser has none of the session's cookies any more.
func (c *checker) signedOutAt(host string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.headingAt(ctx, host, "Signed out"); err != nil {
			return err
		}
		for _, prefix := range []string{strings.TrimSuffix(host, ".localhost") + "_session", "oidc_guard_"} {
			if len(c.browser.jar.withPrefix(host, prefix)) > 0 {
				return fmt.Errorf("the browser still has a cookie %s", prefix)
			}
		}
		return nil
	}
}

// headingAt loads the page of an app in the browser.
func (c *checker) headingAt(ctx context.Context, host, heading string) error {
	p, err := c.browser.open(ctx, c.origin(host)+"/", "document")
	if err != nil {
		return err
	}
	return hasHeading(p, heading)
}

// presents loads the page of an app in another browser that has some cookies.
func (c *checker) presents(ctx context.Context, host string, cookies []*http.Cookie, heading string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.origin(host)+"/", http.NoBody)
	if err != nil {
		return err
	}
	for _, cookie := range cookies {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	p, err := newBrowser(c.demo.client.Transport).navigate(r, "document")
	if err != nil {
		return err
	}
	return hasHeading(p, heading)
}

// hasHeading looks at the heading of the page that users see.
func hasHeading(p *page, want string) error {
	shown := find(p.root, func(n *html.Node) bool {
		if n.Data != "section" {
			return false
		}
		for _, a := range n.Attr {
			if a.Key == "hidden" {
				return false
			}
		}
		return find(n, isHeading) != nil
	})
	if shown == nil || text(find(shown, isHeading)) != want {
		return fmt.Errorf("the page at %s does not say %q", p.url.Host, want)
	}
	return nil
}
