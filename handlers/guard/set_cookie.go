package guard

import (
	"net/http"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// A setCookie is a Set-Cookie line of an app.
type setCookie struct {
	name, value string
	attributes  string // as they came, from the first semicolon on
	scope       scope
	httpOnly    bool
	deletes     bool
}

// maxCookie is how long the name and the value of a cookie are together, in bytes: browsers ignore
// longer ones, and keep the cookie that was there (RFC 6265bis, section 5.7).
const maxCookie = 4096

// maxDomain is the longest name of a host (RFC 1035, section 2.3.4).
const maxDomain = 253

// parseSetCookie reads a line as browsers do (RFC 6265, section 5.2): Go's own reader skips values
// such as JSON. ok is false for what sets no cookie with a name.
func parseSetCookie(line, requestPath string, now time.Time) (c setCookie, ok bool) {
	pair, _, hasAttributes := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	c.name, c.value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	if !ok || c.name == "" {
		return c, false
	}
	if hasAttributes {
		c.attributes = line[len(pair):]
	}
	read, err := http.ParseSetCookie("name=value" + c.attributes)
	if err != nil {
		return c, false
	}
	path := c.readScope()
	c.scope.partitioned = read.Partitioned
	c.scope.path = exchange.CookiePath(path, requestPath)
	c.deletes = exchange.IsDeletion(read, now) || strings.Trim(c.value, `"`) == ""
	return c, len(c.scope.domain) <= maxDomain
}

// readScope reads the attributes that say who can set the cookie, and returns its Path. Go's own
// reader skips attributes whose value has bytes that it refuses, such as HttpOnly=\xe9.
func (c *setCookie) readScope() (path string) {
	for attribute := range strings.SplitSeq(c.attributes, ";") {
		key, value, _ := strings.Cut(attribute, "=")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(strings.Trim(key, " \t")) {
		case "httponly":
			c.httpOnly = true
		case "domain":
			c.scope.domain = strings.ToLower(strings.TrimPrefix(value, "."))
		case "path":
			path = value
		}
	}
	return path
}

// line returns a Set-Cookie line with the attributes of the app's cookie, so that it is sent, kept
// and dropped together with it.
func (c *setCookie) line(name, value string) string {
	line := name + "=" + value + c.attributes
	if c.deletes {
		line += "; Max-Age=0" // of two, the last one counts
	}
	return line
}

// readSetCookies reads the lines of a response, without those that are of no concern.
func (p *passage) readSetCookies(header http.Header) {
	for _, line := range header["Set-Cookie"] {
		c, ok := parseSetCookie(line, p.path, p.now)
		isKept := ok && len(c.name)+len(c.value) <= maxCookie
		if isKept && !isCertificateName(c.name) && !p.ignores(c.name) {
			p.set = append(p.set, c)
		}
	}
}

// sets reports whether the response sets or deletes a cookie at a place.
func (p *passage) sets(name string, at scope) bool {
	for i := range p.set {
		if p.set[i].name == name && p.set[i].scope == at {
			return true
		}
	}
	return false
}

// setsAnywhere reports whether the response sets or deletes a cookie.
func (p *passage) setsAnywhere(name string) bool {
	for i := range p.set {
		if p.set[i].name == name {
			return true
		}
	}
	return false
}
