package handlers

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ClearCookie is a cookie of the OP that is deleted at sign-out. Browsers tell cookies apart by name, domain and path, so that all three
// must be as the OP sets them.
type ClearCookie struct {
	// The name.
	Name string `json:"name"`

	// The domain, if the OP sets one. Default: none; the cookie is that of the issuer's host alone.
	Domain string `json:"domain,omitempty"`

	// The path. Default: /
	Path string `json:"path,omitempty"`
}

// Validate tells why no cookie can be deleted so. Names with the prefixes __Host- and __Secure- come with rules of their own
// (RFC 6265bis, section 4.1.3).
func (c ClearCookie) Validate() error {
	if err := (&http.Cookie{Name: c.Name, Value: "x", Domain: c.Domain, Path: c.path()}).Valid(); err != nil || !strings.HasPrefix(c.path(), "/") {
		return fmt.Errorf("clear_cookies: no cookie can have the name %q, domain %q and path %q", c.Name, c.Domain, c.path())
	}
	if hasPrefixFold(c.Name, "__Host-") && (c.Domain != "" || c.path() != "/") {
		return fmt.Errorf("clear_cookies: cookie %q can have no domain and no other path than /", c.Name)
	}
	return nil
}

func (c ClearCookie) path() string {
	if c.Path == "" {
		return "/"
	}
	return c.Path
}

// deletion is the cookie that deletes it. Only a Secure one may touch a Secure one.
func (c ClearCookie) deletion(op *OP) *http.Cookie {
	secure := op.cookies.trustworthy || hasPrefixFold(c.Name, "__Host-") || hasPrefixFold(c.Name, "__Secure-")
	return &http.Cookie{Name: c.Name, Domain: c.Domain, Path: c.path(), MaxAge: -1, Expires: time.Unix(1, 0), HttpOnly: true, Secure: secure}
}

// is reports whether a cookie has this name, domain and path.
func (c ClearCookie) is(other *http.Cookie) bool {
	return c.Name == other.Name && c.path() == other.Path && strings.EqualFold(strings.TrimPrefix(c.Domain, "."), strings.TrimPrefix(other.Domain, "."))
}

// clearCookies deletes the cookies that are configured, each once. It reports whether it has to be looked if they are gone.
func (e *EndSession) clearCookies(l *leave) bool {
	given := make(map[string]bool)
	for _, cookie := range e.ClearCookies {
		if line := cookie.deletion(l.op).String(); !given[line] {
			given[line] = true
			l.w.Header().Add("Set-Cookie", line)
		}
	}
	return e.survived(l.r, nil)
}

// relayCookies passes on the cookies of an answer to a request for another path than the browser's own. A cookie without a path is for
// that other one's directory (RFC 6265, section 5.1.4). Those that are cleared anyway are left out.
func (e *EndSession) relayCookies(header http.Header, lines []string, path string) {
	path, _, _ = strings.Cut(path, "?")
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			header.Add("Set-Cookie", line) // a value that Go's reader refuses, such as JSON
			continue
		}
		if !strings.HasPrefix(c.Path, "/") {
			c.Path = cookiePath("", path)
			line += "; Path=" + c.Path
		}
		if !e.isCleared(c) {
			header.Add("Set-Cookie", line)
		}
	}
}

func (e *EndSession) isCleared(c *http.Cookie) bool {
	for _, cleared := range e.ClearCookies {
		if cleared.is(c) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
