package browser

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// LoginCookiePaths are how the OP was observed to set its login cookie. A cookie that is set for a
// part of the site does not reach an endpoint elsewhere on it. One of the same name on another
// domain or path is not the OP's. The zero value has observed nothing. It is safe for concurrent
// use.
type LoginCookiePaths struct {
	// Doubted is set when a user signed in, or should have had the cookie, without it.
	Doubted atomic.Bool
	named   atomic.Bool // a cookie of its name was observed, from the OP or from a browser
	warned  atomic.Bool // of a sign-in without the cookie

	mu      sync.Mutex
	set     []ClearCookie // each once
	strict  bool          // it was set with SameSite=Strict
	notNone bool          // it was set with anything but SameSite=None
}

// maxLoginCookiePaths is how many are kept: an OP has one, and an odd one two.
const maxLoginCookiePaths = 8

// Note looks for the cookie among the Set-Cookie lines of the response to a request, and in the
// request. A line that deletes what the browser has shows its path as well.
func (p *LoginCookiePaths) Note(lines []string, name string, r *http.Request, now time.Time) {
	if len(lines) == 0 && p.named.Load() {
		return // most responses
	}
	carried := exchange.HasCookie(r, name)
	if carried && !p.named.Load() {
		p.named.Store(true)
	}
	for _, line := range lines {
		if given, _, _ := strings.Cut(line, "="); strings.Trim(given, " \t") != name {
			continue
		}
		c, err := http.ParseSetCookie(line)
		if err == nil && exchange.IsDeletion(c, now) && !carried {
			continue
		}
		p.named.Store(true)
		if err == nil { // else it has a value that Go's reader refuses, such as JSON
			c.Path = exchange.CookiePath(c.Path, r.URL.Path)
			p.add(c)
		}
	}
}

func (p *LoginCookiePaths) add(c *http.Cookie) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strict = p.strict || c.SameSite == http.SameSiteStrictMode
	p.notNone = p.notNone || c.SameSite != http.SameSiteNoneMode
	if len(p.set) < maxLoginCookiePaths && !p.has(c) {
		p.set = append(p.set, ClearCookie{Name: c.Name, Domain: c.Domain, Path: c.Path})
	}
}

// has reports whether the OP was observed to set a cookie. The caller holds mu.
func (p *LoginCookiePaths) has(c *http.Cookie) bool {
	return slices.ContainsFunc(p.set, func(set ClearCookie) bool { return set.Is(c) })
}

// IsCleared reports whether the cookie is deleted wherever the OP was observed to set it: what
// remains of its name is somebody else's.
func (p *LoginCookiePaths) IsCleared(cleared []ClearCookie) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.set) > 0 && !slices.ContainsFunc(p.set, func(set ClearCookie) bool {
		c := &http.Cookie{Name: set.Name, Domain: set.Domain, Path: set.Path}
		return !slices.ContainsFunc(cleared, func(by ClearCookie) bool { return by.Is(c) })
	})
}

// IsDeleted reports whether a cookie that came with a request is among deletions. One counts only
// for a domain and a path that the cookie can have, and that the OP was observed to set it for, if
// it was.
func (p *LoginCookiePaths) IsDeleted(
	op *handlers.OP, r *http.Request, deletions []*http.Cookie,
) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := op.Hostname()
	return slices.ContainsFunc(deletions, func(c *http.Cookie) bool {
		domain := strings.ToLower(strings.TrimPrefix(c.Domain, "."))
		isOurs := domain == "" || domain == host || strings.HasSuffix(host, "."+domain)
		return isOurs && reaches(c.Path, r.URL.Path) &&
			(len(p.set) == 0 || p.set[0].Name != c.Name || p.has(c))
	})
}

// Comes reports whether the cookie is known to come with a request, if the browser has it.
func (p *LoginCookiePaths) Comes(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	comes := func(set ClearCookie) bool { return reaches(set.Path, r.URL.Path) }
	if !slices.ContainsFunc(p.set, comes) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "same-site", "none":
		return true
	}
	return !p.notNone || !p.strict && exchange.IsPlainNavigation(r)
}

// MayWithhold reports whether the browser may have the cookie and not send it with a request:
// another site's page has sent the browser here. How the cookie is set is not known.
func (p *LoginCookiePaths) MayWithhold(op *handlers.OP, r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "same-site", "none":
		return false
	case "": // an engine without that header field
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.strict && r.Header.Get("Origin") != op.Origin
	}
	return true
}

// Doubt notes a sign-in. It reports, once, that no cookie of the name was observed by then.
func (p *LoginCookiePaths) Doubt() (first bool) {
	if p.named.Load() {
		return false
	}
	p.Doubted.Store(true)
	return !p.warned.Swap(true)
}

// IsDoubted reports whether the configured name may well be wrong: users were signed in here, and
// no cookie of that name was ever observed.
func (p *LoginCookiePaths) IsDoubted() bool { return p.Doubted.Load() && !p.named.Load() }

// IsSet reports whether the OP was observed to set the cookie.
func (p *LoginCookiePaths) IsSet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.set) > 0
}

// Missed returns an error if the cookie is known not to reach a path: it was observed, and never
// for that path.
func (p *LoginCookiePaths) Missed(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var paths []string
	for _, set := range p.set {
		if reaches(set.Path, path) {
			return nil
		}
		paths = append(paths, set.Path)
	}
	if paths == nil {
		return nil
	}
	return &NotEndedError{
		Why: fmt.Sprintf("its login cookie is set for %s, which does not reach %s",
			strings.Join(paths, " and "), path),
		Advice: "give end_session a path below that",
	}
}

// reaches reports whether a cookie for one path is sent to another (RFC 6265, section 5.1.4).
func reaches(set, path string) bool {
	rest, below := strings.CutPrefix(path, set)
	return below && (rest == "" || strings.HasSuffix(set, "/") || rest[0] == '/')
}

// A NotEndedError says that the OP's own session goes on, or may, and what an operator can do.
type NotEndedError struct{ Why, Advice string }

func (e *NotEndedError) Error() string { return "the OP has not ended its own session: " + e.Why }
