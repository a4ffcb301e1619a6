package browser

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// ClearCookie is a cookie of the OP that is deleted at sign-out. Browsers tell cookies apart by
// name, domain and path, so that all three must be as the OP sets them.
type ClearCookie struct {
	// The name.
	Name string `json:"name"`

	// The domain, if the OP sets one.
	//
	// Default: none; the cookie is that of the issuer's host alone.
	Domain string `json:"domain,omitempty"`

	// The path.
	//
	// Default: /
	Path string `json:"path,omitempty"`
}

// Validate reports why no cookie can be deleted so. Names with the prefixes __Host- and __Secure-
// have rules of their own (RFC 6265bis, section 4.1.3).
func (c ClearCookie) Validate() error {
	example := &http.Cookie{Name: c.Name, Value: "x", Domain: c.Domain, Path: c.path()}
	if example.Valid() != nil || !strings.HasPrefix(c.path(), "/") {
		return fmt.Errorf("clear_cookies: no cookie can have the name %q, domain %q and path %q",
			c.Name, c.Domain, c.path())
	}
	if hasPrefixFold(c.Name, "__Host-") && (c.Domain != "" || c.path() != "/") {
		return fmt.Errorf("clear_cookies: cookie %q can have no domain and no other path than /",
			c.Name)
	}
	return nil
}

func (c ClearCookie) path() string { return cmp.Or(c.Path, "/") }

// Deletion returns the cookie that deletes it. Only a Secure one may touch a Secure one.
func (c ClearCookie) Deletion(op *handlers.OP) *http.Cookie {
	return &http.Cookie{
		Name: c.Name, Domain: c.Domain, Path: c.path(),
		MaxAge: -1, Expires: time.Unix(1, 0), HttpOnly: true,
		Secure: op.Cookies.Trustworthy ||
			hasPrefixFold(c.Name, "__Host-") || hasPrefixFold(c.Name, "__Secure-"),
	}
}

// Is reports whether a cookie has this name, domain and path.
func (c ClearCookie) Is(other *http.Cookie) bool {
	domain, otherDomain := strings.TrimPrefix(c.Domain, "."), strings.TrimPrefix(other.Domain, ".")
	return c.Name == other.Name && c.path() == other.Path &&
		strings.EqualFold(domain, otherDomain)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
