// Package assets has the pages for browsers, with a Content-Security-Policy for each.
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
	// Body is HTML in UTF-8. Do not change it: it is shared.
	Body []byte

	// ETag is a strong entity tag of Body, with its quotes (RFC 9110, section 8.8.3).
	ETag string

	// ContentSecurityPolicy is the value of that header. It allows the page's script by its hash,
	// and every site to frame the page.
	ContentSecurityPolicy string
}

//go:embed check_session.html
var checkSessionHTML string

//go:generate go tool -modfile=../tools/go.mod esbuild --minify --target=es5 --log-level=error --outfile=check_session.min.js check_session.js
//go:embed check_session.min.js
var checkSessionMinified string

// checkSessionScript is the script as served. It is the same for every issuer, and so is its hash.
// Its source is check_session.js.
var checkSessionScript = strings.TrimSpace(checkSessionMinified)

// CheckSession returns the check page, the "OP iframe" of OpenID Connect Session Management 1.0
// (section 3.2), for an issuer that has the browser state in the cookie of the given name.
//
// The page asks the server by POST to its own path, without cookies where the browser has fetch.
// The form fields are client_id, session_state, origin, and browser_state (the cookie's value;
// empty if it cannot be read). An answer is a 200 with a body of exactly "unchanged", "changed",
// "error" or "unknown". The comments of check_session.js describe the replies.
//
// Any site may frame the page, so do not serve it with X-Frame-Options. With a cookie name of at
// most 64 bytes, it has at most 4096 bytes.
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

// policy returns a Content-Security-Policy that allows one inline script and requests to the
// page's own origin. There is no frame-ancestors: RPs may be at any origin.
func policy(script string) string {
	return "default-src 'none'; script-src " + hashSource([]byte(script)) +
		"; connect-src 'self'; base-uri 'none'; form-action 'none'"
}

// hashSource returns the source expression for an inline script or style (Content Security Policy
// Level 3, section 2.3.1).
func hashSource(content []byte) string {
	sum := sha256.Sum256(content)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
