package handlers

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// noteLoginCookie notes how the OP sets its login cookie, and that a browser has it.
func (b *Browser) noteLoginCookie(op *OP, r *http.Request, header http.Header) {
	if b.LoginPlace == nil || b.LoginCookie == "" {
		return
	}
	var lines []string
	if len(header["Set-Cookie"]) > 0 {
		lines = b.ownLines(op, r, header)
	}
	b.LoginPlace.note(lines, b.LoginCookie, r, b.env.Now())
}

// checkLoginCookie says once that a user has signed in and no login cookie was observed, of which
// nothing else would be noticed: not in this response, and in no request or response before.
func (b *Browser) checkLoginCookie(op *OP, request pendingRequest) {
	if b.LoginPlace == nil || b.LoginCookie == "" || request.is(silent) || b.LoginPlace.named.Load() {
		return
	}
	b.LoginPlace.doubted.Store(true)
	b.LoginPlace.unnamed.Do(func() {
		b.env.Logger.Warn("login cookie not observed at a sign-in", zap.String("issuer", op.Issuer), zap.String("login_cookie", b.LoginCookie),
			zap.String("advice", "set login_cookie to the cookie that the OP sets when a user signs in, or leave it out: sign-outs at the OP go unnoticed"))
	})
}

// loginCookieDeleted reports whether a response deletes the OP's own login cookie, which the request carried. A changed value means
// nothing: OPs rotate it as they like. In a frame it means nothing either: frameworks clean up there what they were not sent.
func (b *Browser) loginCookieDeleted(op *OP, r *http.Request, header http.Header) bool {
	cleared := clearsCookies(header)
	if b.LoginCookie == "" || len(header["Set-Cookie"]) == 0 && !cleared || isFramed(r) {
		return false
	}
	if !carriesCookie(r, b.LoginCookie) {
		return false
	}
	deleted, set := effect(b.ownLines(op, r, header), b.LoginCookie, r.URL.Path, b.env.Now())
	return !set && (deleted || cleared)
}

// clearsCookies reports whether a response clears all cookies of the site (Clear Site Data, section 3.1).
func clearsCookies(header http.Header) bool {
	for _, line := range header["Clear-Site-Data"] {
		for directive := range strings.SplitSeq(line, ",") {
			if directive = strings.Trim(directive, " \t"); directive == `"cookies"` || directive == `"*"` {
				return true
			}
		}
	}
	return false
}

// ownLines are the Set-Cookie lines of a response that are not for another issuer's pages.
func (b *Browser) ownLines(op *OP, r *http.Request, header http.Header) []string {
	return slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool { return b.isAnotherIssuers(op, line, r.URL.Path) })
}

// isAnotherIssuers reports whether a Set-Cookie line is for pages at or below the path of another issuer on the host, and not for those
// of this one: realms of one OP have login cookies of one name.
func (b *Browser) isAnotherIssuers(op *OP, line, requestPath string) bool {
	if b.Issuers == nil {
		return false
	}
	c, err := http.ParseSetCookie(line)
	if err != nil {
		return false
	}
	where := cookiePath(c.Path, requestPath)
	return anyOP(b.Issuers(), func(other *OP) bool {
		return other.Origin == op.Origin && slices.ContainsFunc(other.issuers, func(name issuerName) bool {
			return isBelow(where, name.path) && !op.hasPathBelow(name.path)
		})
	})
}

// hasPathBelow reports whether the path of one of the OP's issuers is a path, or below it.
func (op *OP) hasPathBelow(path string) bool {
	return slices.ContainsFunc(op.issuers, func(name issuerName) bool { return isBelow(name.path, path) })
}

// isBelow reports whether a path is another one, or below it.
func isBelow(path, above string) bool {
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '/')
}

// isFramed reports whether a request loads a frame (Fetch Metadata, section 2.1).
func isFramed(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object":
		return true
	}
	return false
}

// carriesCookie reports whether a request has a cookie with a value.
func carriesCookie(r *http.Request, name string) bool { return countCookies(r, name) > 0 }

// countCookies returns how many cookies of a name a request has that have a value, whatever that is: Go's own reader passes over values
// such as JSON, which browsers send all the same. Around names stand spaces and tabs (RFC 6265, section 5.2); any other is part of them.
func countCookies(r *http.Request, name string) (count int) { return len(cookieValues(r, name)) }

// cookieValues returns the values of those.
func cookieValues(r *http.Request, name string) (values []string) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, value, _ := strings.Cut(pair, "=")
			if value = strings.Trim(value, " \t\""); strings.Trim(n, " \t") == name && value != "" {
				values = append(values, value)
			}
		}
	}
	return values
}

// effect returns the net effect of a response's Set-Cookie lines on a cookie, of which the last line counts for each domain and path
// (RFC 6265, section 5.3): whether one deletes it, and whether one sets it.
func effect(lines []string, name, requestPath string, now time.Time) (deleted, set bool) {
	type place struct{ domain, path string }
	gone := make(map[place]bool)
	for _, line := range lines {
		if given, _, _ := strings.Cut(line, "="); strings.Trim(given, " \t") != name {
			continue
		}
		c, err := http.ParseSetCookie(line)
		if err != nil {
			return false, true // a value that Go's reader refuses, such as JSON: for all that is known, it is set
		}
		where := place{strings.ToLower(strings.TrimPrefix(c.Domain, ".")), cookiePath(c.Path, requestPath)}
		gone[where] = isDeletion(c, now)
	}
	for _, is := range gone {
		deleted, set = deleted || is, set || !is
	}
	return deleted, set
}

// isDeletion knows the three shapes: a Max-Age that is over (which goes before Expires), an Expires that is past, an empty value.
func isDeletion(c *http.Cookie, now time.Time) bool {
	switch {
	case c.Value == "" || c.MaxAge < 0:
		return true
	case c.MaxAge > 0:
		return false
	default:
		return !c.Expires.IsZero() && !c.Expires.After(now)
	}
}

// cookiePath is the path a cookie is set for (RFC 6265, section 5.1.4).
func cookiePath(attribute, requestPath string) string {
	if strings.HasPrefix(attribute, "/") {
		return attribute
	}
	return path.Dir("/" + strings.TrimPrefix(requestPath, "/"))
}
