// Package assets holds the pages that browsers are given, with the Content-Security-Policy that fits each.
package assets

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html"
	"strings"
)

// Page is a page that is the same for all requests.
type Page struct {
	// Body is HTML in UTF-8. It is shared: not to be changed.
	Body []byte

	// ETag is a strong entity tag of Body, with its quotes (RFC 9110, section 8.8.3).
	ETag string

	// ContentSecurityPolicy is the value of the header of that name. It names the page's script by its hash, and says nothing
	// of who may frame the page.
	ContentSecurityPolicy string
}

//go:embed check_session.html
var checkSessionHTML string

//go:generate go tool -modfile=../tools/go.mod esbuild --minify --target=es5 --log-level=error --outfile=check_session.min.js check_session.js
//go:embed check_session.min.js
var checkSessionMinified string

// checkSessionScript is the script as served: the same for every issuer, so that its hash is too. Its source, to be read, is
// check_session.js.
var checkSessionScript = strings.TrimSpace(checkSessionMinified)

// CheckSession returns the check page, the "OP iframe" of OpenID Connect Session Management 1.0 (section 3.2), for an issuer
// whose browser state is in the cookie of the given name.
//
// The page asks the server by POST to the page's own path, with the form fields client_id, session_state, origin, and
// browser_state (the cookie's value; empty where it cannot be read), without cookies where the browser has fetch. It takes a 200 with a body of exactly "unchanged", "changed", "error" or "unknown" for
// an answer, and anything else for none. check_session.js says what it makes of them.
//
// Every site may have to frame the page, so it must not be served with X-Frame-Options. With a cookie name of up to 64 bytes it
// has no more than 4096 bytes.
func CheckSession(cookieName string) Page {
	body := strings.NewReplacer(
		"{{cookie}}", html.EscapeString(cookieName),
		"{{script}}", checkSessionScript,
	).Replace(checkSessionHTML)
	tag := sha256.Sum256([]byte(body))
	return Page{
		Body:                  []byte(body),
		ETag:                  `"` + base64.RawURLEncoding.EncodeToString(tag[:16]) + `"`,
		ContentSecurityPolicy: policy(checkSessionScript),
	}
}

// policy returns a Content-Security-Policy that allows one inline script (Content Security Policy Level 3, section 8.3) and
// requests to the page's own origin. There is no frame-ancestors: relying parties may be anywhere.
func policy(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'"
}
