package exchange

import (
	"iter"
	"net/http"
	"path"
	"strings"
	"time"
)

// HasCookiePrefix reports whether a request may have a cookie whose name begins so. It does not
// parse, and allocates nothing.
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
			switch strings.Trim(directive, " \t") {
			case `"cookies"`, `"*"`:
				return true
			}
		}
	}
	return false
}

// HasCookie reports whether a request has a cookie with a value.
func HasCookie(r *http.Request, name string) bool { return CountCookies(r, name) > 0 }

// CountCookies returns how many cookies of a name with a value a request has.
func CountCookies(r *http.Request, name string) (count int) { return len(CookieValues(r, name)) }

// CookieValues returns the values of a request's cookies of a name that are not empty. Go's own
// reader skips values such as JSON, which browsers send all the same. Spaces and tabs around names
// are not part of them (RFC 6265, section 5.2); all else is.
func CookieValues(r *http.Request, name string) (values []string) {
	for n, value := range Cookies(r) {
		if value = strings.Trim(value, " \t\""); n == name && value != "" {
			values = append(values, value)
		}
	}
	return values
}

// Cookies are the names and values of a request's cookies, as they came: a value may be empty or
// have quotes around it.
func Cookies(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				name, value, _ := strings.Cut(pair, "=")
				if !yield(strings.Trim(name, " \t"), strings.Trim(value, " \t")) {
					return
				}
			}
		}
	}
}

// CookieEffect returns the net effect of a response's Set-Cookie lines on a cookie: whether one
// deletes it, and whether one sets it. The last line for each domain and path counts (RFC 6265,
// section 5.3).
func CookieEffect(lines []string, name, requestPath string, now time.Time) (deleted, set bool) {
	type scope struct{ domain, path string }
	gone := make(map[scope]bool)
	for _, line := range lines {
		if given, _, _ := strings.Cut(line, "="); strings.Trim(given, " \t") != name {
			continue
		}
		c, err := http.ParseSetCookie(line)
		if err != nil {
			return false, true // a value that Go's reader refuses, such as JSON, is set
		}
		domain := strings.ToLower(strings.TrimPrefix(c.Domain, "."))
		gone[scope{domain, CookiePath(c.Path, requestPath)}] = IsDeletion(c, now)
	}
	for _, is := range gone {
		deleted, set = deleted || is, set || !is
	}
	return deleted, set
}

// IsDeletion reports whether a cookie of a response deletes it: by its Max-Age, which goes before
// Expires, by an Expires that is past, or by an empty value.
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
