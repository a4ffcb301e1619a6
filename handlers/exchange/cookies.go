package exchange

import (
	"net/http"
	"path"
	"strings"
	"time"
)

// HasCookiePrefix reports whether a request has a cookie whose name begins so, without parsing: it
// may say yes too often.
func HasCookiePrefix(r *http.Request, name string) bool {
	for _, line := range r.Header["Cookie"] {
		if strings.Contains(line, name) {
			return true
		}
	}
	return false
}

// ClearsCookies reports whether a response clears all cookies of the site (Clear Site Data,
// section 3.1).
func ClearsCookies(header http.Header) bool {
	for _, line := range header["Clear-Site-Data"] {
		for directive := range strings.SplitSeq(line, ",") {
			if directive = strings.Trim(directive, " \t"); directive == `"cookies"` || directive == `"*"` {
				return true
			}
		}
	}
	return false
}

// HasCookie reports whether a request has a cookie with a value.
func HasCookie(r *http.Request, name string) bool { return CountCookies(r, name) > 0 }

// CountCookies returns how many cookies of a name a request has that have a value, whatever that
// is: Go's own reader passes over values such as JSON, which browsers send all the same. Around
// names stand spaces and tabs (RFC 6265, section 5.2); any other is part of them.
func CountCookies(r *http.Request, name string) (count int) { return len(CookieValues(r, name)) }

// CookieValues returns the values of those.
func CookieValues(r *http.Request, name string) (values []string) {
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

// CookieEffect returns the net effect of a response's Set-Cookie lines on a cookie, of which the
// last line counts for each domain and path (RFC 6265, section 5.3): whether one deletes it, and
// whether one sets it.
func CookieEffect(lines []string, name, requestPath string, now time.Time) (deleted, set bool) {
	type place struct{ domain, path string }
	gone := make(map[place]bool)
	for _, line := range lines {
		if given, _, _ := strings.Cut(line, "="); strings.Trim(given, " \t") != name {
			continue
		}
		c, err := http.ParseSetCookie(line)
		if err != nil {
			// a value that Go's reader refuses, such as JSON: for all that is known, it is set
			return false, true
		}
		where := place{strings.ToLower(strings.TrimPrefix(c.Domain, ".")), CookiePath(c.Path, requestPath)}
		gone[where] = IsDeletion(c, now)
	}
	for _, is := range gone {
		deleted, set = deleted || is, set || !is
	}
	return deleted, set
}

// IsDeletion knows the three shapes: a Max-Age that is over (which goes before Expires), an
// Expires that is past, an empty value.
func IsDeletion(c *http.Cookie, now time.Time) bool {
	switch {
	case c.Value == "" || c.MaxAge < 0:
		return true
	case c.MaxAge > 0:
		return false
	default:
		return !c.Expires.IsZero() && !c.Expires.After(now)
	}
}

// CookiePath is the path a cookie is set for (RFC 6265, section 5.1.4).
func CookiePath(attribute, requestPath string) string {
	if strings.HasPrefix(attribute, "/") {
		return attribute
	}
	return path.Dir("/" + strings.TrimPrefix(requestPath, "/"))
}
