package logout

import (
	"net/http"
	"strings"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// clearCookies deletes the cookies that are configured, each once. It reports whether it has to be
// looked if they are gone.
func (e *EndSession) clearCookies(l *logoutExchange) bool {
	given := make(map[string]bool)
	for _, cookie := range e.ClearCookies {
		if line := cookie.Deletion(l.op).String(); !given[line] {
			given[line] = true
			l.w.Header().Add("Set-Cookie", line)
		}
	}
	return e.cookieSurvived(l.r, nil)
}

// relayCookies passes on the cookies of an answer to a request for another path than the browser's
// own. A cookie without a path is for that other one's directory (RFC 6265, section 5.1.4). Those
// that are cleared anyway are left out.
func (e *EndSession) relayCookies(header http.Header, lines []string, path string) {
	path, _, _ = strings.Cut(path, "?")
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			header.Add("Set-Cookie", line) // a value that Go's reader refuses, such as JSON
			continue
		}
		if !strings.HasPrefix(c.Path, "/") {
			c.Path = exchange.CookiePath("", path)
			line += "; Path=" + c.Path
		}
		if !e.isCleared(c) {
			header.Add("Set-Cookie", line)
		}
	}
}

func (e *EndSession) isCleared(c *http.Cookie) bool {
	for _, cleared := range e.ClearCookies {
		if cleared.Is(c) {
			return true
		}
	}
	return false
}
