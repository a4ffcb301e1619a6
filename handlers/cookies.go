package handlers

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// cookieNames are the names and attributes of our cookies at one issuer.
type cookieNames struct {
	session string // the sealed cookie: S in the comments
	state   string // the browser state, readable by the check page: B in the comments
	pending string // the prefix of the pending cookies
	// trustworthy reports whether browsers take cookies with Secure, SameSite=None and the __Host- prefix from the issuer.
	trustworthy bool
}

// newCookieNames names the cookies of an issuer. Cookies do not know ports and the __Host- prefix no paths, so that an issuer
// which has either gets names of its own.
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
		session:     prefix + "oidc_session" + suffix,
		state:       prefix + "op_browser_state" + suffix,
		pending:     prefix + "oidc_pending" + suffix + "_",
		trustworthy: trustworthy,
	}
}

// isPending reports whether a cookie is a pending one of this issuer: a browser sends those of all issuers on the host, and the names
// of those with a path or a port begin alike.
func (n cookieNames) isPending(name string) bool {
	slot, ours := strings.CutPrefix(name, n.pending)
	return ours && len(slot) == 1 && strings.Contains(navigationSlots+otherSlots, slot)
}

// isTrustworthy reports whether browsers treat an origin as potentially trustworthy (W3C Secure Contexts, section 3.1).
func isTrustworthy(origin *url.URL) bool {
	return origin.Scheme == "https" || isLoopback(origin.Hostname())
}

// cookie returns a cookie for the issuer's origin. SameSite=None, because the check page and hidden prompt=none frames are in
// other sites' pages; where browsers refuse that, Lax is what is left.
func (n cookieNames) cookie(name, value string, maxAge time.Duration, readable bool) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(maxAge.Seconds()), HttpOnly: !readable, SameSite: http.SameSiteLaxMode}
	if n.trustworthy {
		c.Secure, c.SameSite = true, http.SameSiteNoneMode
	}
	return c
}

// deletion returns what deletes a cookie of ours.
func (n cookieNames) deletion(name string) *http.Cookie {
	c := n.cookie(name, "", 0, false)
	c.MaxAge = -1
	return c
}

// carries reports whether a request has a cookie whose name begins so, without parsing: it may say yes too often.
func carries(r *http.Request, name string) bool {
	for _, line := range r.Header["Cookie"] {
		if strings.Contains(line, name) {
			return true
		}
	}
	return false
}

// strip takes the pending cookies out of a request, whose header must be the caller's own: the OP has no use for them.
func (n cookieNames) strip(r *http.Request) {
	for i, line := range r.Header["Cookie"] {
		if !strings.Contains(line, n.pending) {
			continue
		}
		var others []string
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if name, _, _ := strings.Cut(pair, "="); pair != "" && !n.isPending(name) {
				others = append(others, pair)
			}
		}
		r.Header["Cookie"][i] = strings.Join(others, "; ")
	}
	if len(r.Header["Cookie"]) > 0 && strings.Join(r.Header["Cookie"], "") == "" {
		r.Header.Del("Cookie")
	}
}
