package guard

import (
	"net/url"
	"strings"
)

// Servers do not agree on how cookies are read. ASP.NET Core takes names without regard to case and
// decodes them, PHP takes my.session for my_session, others trim what is no space, or separate
// cookies by commas and spaces. A copied cookie in such a disguise would be none of our business,
// and reach the app as its session.

// isDisguised reports whether a cookie that is no session cookie by its name may be one to the app,
// or have one in it.
func (p *passage) isDisguised(c *presented) bool {
	names := *p.sites.names.Load()
	if len(names) == 0 {
		return false
	}
	last := c.name
	if i := strings.LastIndexFunc(c.name, separates); i >= 0 {
		last = c.name[i+1:]
	}
	if isLike(names, c.name) || last != c.name && isLike(names, last) {
		return true
	}
	if strings.IndexFunc(c.value, separates) < 0 {
		return false
	}
	for part := range strings.FieldsFuncSeq(c.value, separates) {
		name, _, isPair := strings.Cut(part, "=")
		if _, found := names[name]; isPair && (found || isLike(names, name)) {
			return true
		}
	}
	return false
}

// separates reports whether a character of a cookie separates it from another one, to some servers.
func separates(r rune) bool { return r == ',' || r <= ' ' || r == '\x7f' }

// isLike reports whether a name reads like one of others.
func isLike(names map[string]name, cookie string) bool {
	cookie = strings.TrimFunc(cookie, surrounds)
	if strings.Contains(cookie, "%") {
		if decoded, err := url.PathUnescape(cookie); err == nil {
			cookie = strings.TrimFunc(decoded, surrounds)
		}
	}
	if i := strings.IndexByte(cookie, 0); i >= 0 {
		cookie = cookie[:i]
	}
	for known := range names {
		if len(known) == len(cookie) && readsAlike(known, cookie) {
			return true
		}
	}
	return false
}

// surrounds reports whether a character may stand around a name that it is no part of. Bytes that
// are no UTF-8 are such, as headers are read as Latin-1.
func surrounds(r rune) bool { return r <= ' ' || r >= '\x7f' || r == '"' || r == '$' }

// readsAlike reports whether two names of one length are the same to some servers.
func readsAlike(a, b string) bool {
	for i := range len(a) {
		if plain(a[i]) != plain(b[i]) {
			return false
		}
	}
	return true
}

func plain(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '.', c == ' ', c == '[', c == '+':
		return '_'
	}
	return c
}
