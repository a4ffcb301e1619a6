package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// NavigationSlots and OtherSlots end the names of the pending cookies. Each pending request has one
// of a few, since all of a site's cookies must fit into a request: servers refuse those with more
// than some kilobytes. Frames, and all else that is no navigation that somebody sees, have some of
// their own. So a page that asks in hidden frames, however often, takes no cookie from a sign-in
// that is under way.
const (
	NavigationSlots = "01234567"
	OtherSlots      = "abcd"
)

// IsLoopback reports whether a host is the browser's own machine.
func IsLoopback(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// cookieNames are the names and attributes of our cookies at one issuer.
type cookieNames struct {
	Session string // the sealed cookie: S in the comments
	State   string // the browser state, readable by the check page: B in the comments
	Pending string // the prefix of the pending cookies
	// Trustworthy reports whether browsers take cookies with Secure, SameSite=None and the __Host-
	// prefix from the issuer.
	Trustworthy bool
}

// newCookieNames names the cookies of an issuer. Cookies do not know ports and the __Host- prefix
// no paths, so that an issuer which has either gets names of its own.
func newCookieNames(issuer, origin, path string) cookieNames {
	u, err := url.Parse(origin)
	suffix, prefix := "", ""
	if err != nil || u.Port() != "" || strings.Trim(path, "/") != "" {
		sum := sha256.Sum256([]byte(issuer))
		suffix = "_" + hex.EncodeToString(sum[:4])
	}
	trustworthy := err == nil && isTrustworthy(u)
	if trustworthy {
		prefix = "__Host-"
	}
	return cookieNames{
		Session:     prefix + "oidc_session" + suffix,
		State:       prefix + "op_browser_state" + suffix,
		Pending:     prefix + "oidc_pending" + suffix + "_",
		Trustworthy: trustworthy,
	}
}

// IsPending reports whether a cookie is a pending one of this issuer: a browser sends those of all
// issuers on the host, and the names of those with a path or a port begin alike.
func (n cookieNames) IsPending(name string) bool {
	slot, ours := strings.CutPrefix(name, n.Pending)
	return ours && len(slot) == 1 && strings.Contains(NavigationSlots+OtherSlots, slot)
}

// isTrustworthy reports whether browsers treat an origin as potentially trustworthy (W3C Secure
// Contexts, section 3.1).
func isTrustworthy(origin *url.URL) bool {
	return origin.Scheme == "https" || IsLoopback(origin.Hostname())
}

// Cookie returns a cookie for the issuer's origin; readable: scripts may read it. It is
// SameSite=None, because the check page and hidden prompt=none frames are in other sites' pages;
// where browsers refuse that, Lax is left.
func (n cookieNames) Cookie(name, value string, maxAge time.Duration, readable bool) *http.Cookie {
	c := &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(maxAge.Seconds()),
		HttpOnly: !readable, SameSite: http.SameSiteLaxMode,
	}
	if n.Trustworthy {
		c.Secure, c.SameSite = true, http.SameSiteNoneMode
	}
	return c
}

// Deletion returns what deletes a cookie of ours.
func (n cookieNames) Deletion(name string) *http.Cookie {
	c := n.Cookie(name, "", 0, false)
	c.MaxAge = -1
	return c
}

// Strip removes the pending cookies from a request, whose header must be the caller's own: the OP
// has no use for them.
func (n cookieNames) Strip(r *http.Request) {
	for i, line := range r.Header["Cookie"] {
		if !strings.Contains(line, n.Pending) {
			continue
		}
		var others []string
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if name, _, _ := strings.Cut(pair, "="); pair != "" && !n.IsPending(name) {
				others = append(others, pair)
			}
		}
		r.Header["Cookie"][i] = strings.Join(others, "; ")
	}
	if len(r.Header["Cookie"]) > 0 && strings.Join(r.Header["Cookie"], "") == "" {
		r.Header.Del("Cookie")
	}
}
