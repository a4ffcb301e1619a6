package logout

import (
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
)

// When the user is asked whether to sign out.
const (
	ConfirmNeeded = "needed" // unless a client of the session asks for the sign-out of its own user
	ConfirmAlways = "always"
)

// Config is the configuration of the end_session endpoint of OpenID Connect RP-Initiated Logout
// 1.0, for OPs that have none of their own.
type Config struct {
	// The path of the endpoint on the issuer's origin, which becomes the `end_session_endpoint` of
	// the provider metadata. It must begin with a slash, and be neither / nor the path of
	// check_session or of a discovery document. Takes placeholders that are known at start.
	//
	// Default: /oidc/end-session, behind the path of the issuer if it has one.
	Path string `json:"path,omitempty"`

	// The request that ends the OP's own session.
	//
	// Default: none; the OP's cookies are cleared.
	Upstream *Upstream `json:"upstream,omitempty"`

	// The cookies of the OP that are deleted.
	//
	// Default: the login cookie, on path / of the issuer's host, if there is no upstream.
	ClearCookies []browser.ClearCookie `json:"clear_cookies,omitempty"`

	// When the user is asked: `needed` or `always`. It is needed unless a valid id_token_hint of a
	// client of the session asks for the sign-out of its own user.
	//
	// Default: needed.
	Confirm string `json:"confirm,omitempty"`

	// A directory with templates in place of the built-in pages: question.html, signed_out.html,
	// signed_in.html, error.html. Takes placeholders that are known at start.
	//
	// Default: the built-in pages.
	Templates string `json:"templates,omitempty"`

	// Whether Caddy's access log keeps the requests of the endpoint, whose URLs hold ID tokens.
	// Without it, one line of our own, which holds none, stands for each.
	//
	// Default: false.
	AccessLog bool `json:"access_log,omitempty"`

	// Whether a request without a browser ends a session here: one of an app's server, whose
	// id_token_hint has not expired and names that session (sid). The OP's own session goes on.
	// Anyone who gets hold of such a token can end the session as well.
	//
	// Default: false.
	AllowHintOnly bool `json:"allow_hint_only,omitempty"`
}

// Upstream is the request that ends the OP's own session: the one that its own sign-out button
// makes. It goes to the OP through the rest of the site, with the browser's cookies. The cookies
// that the OP sets or deletes in its answer reach the browser.
type Upstream struct {
	// The method, in any case.
	//
	// Default: POST.
	Method string `json:"method,omitempty"`

	// The path on the issuer's origin, with a query if need be. Takes placeholders that are known
	// at start.
	Path string `json:"path"`

	// Header fields, in addition to the browser's Cookie, Authorization, User-Agent and
	// Accept-Language, and to Origin and Referer, which are those of a page of the OP. Takes
	// placeholders of the request, such as {http.request.cookie.csrftoken}.
	//
	// Default: none.
	Headers map[string]string `json:"headers,omitempty"`

	// The fields of a form, which is sent as the body. Their values take placeholders of the
	// request.
	//
	// Default: none.
	Form map[string]string `json:"form,omitempty"`

	// The body, instead of a form. Takes placeholders of the request.
	//
	// Default: none.
	Body string `json:"body,omitempty"`

	// The status codes by which the OP says that it has ended its session; one digit stands for a
	// class: 2 is 200 to 299. Users read that they are signed out when one of these comes.
	//
	// Default: 2 and 3; users then read so only if the login cookie is gone as well.
	Success []int `json:"success,omitempty"`
}

// Validate reports what is wrong with the configuration.
func (c *Config) Validate() error {
	errs := []error{handlers.ValidateEndpoint("end_session", c.Path), ValidateConfirm(c.Confirm)}
	if c.Upstream != nil {
		errs = append(errs, c.Upstream.Validate())
	}
	for _, cookie := range c.ClearCookies {
		errs = append(errs, cookie.Validate())
	}
	return errors.Join(errs...)
}

// ValidateConfirm reports what is wrong with a value of confirm.
func ValidateConfirm(confirm string) error {
	return handlers.OneOf("confirm", confirm, ConfirmNeeded, ConfirmAlways)
}

// ValidateName reports why pages cannot call an OP by a name. An empty one stands for its host.
func ValidateName(name string) error {
	plain := assets.PlainName(name)
	if plain == name {
		return nil
	}
	err := fmt.Errorf("name is %q, but must be 1 to %d characters that can be seen",
		name, assets.MaxName)
	if plain == "" {
		return err
	}
	return fmt.Errorf("%w: write %q", err, plain)
}

// Validate reports why the request cannot be made.
func (u *Upstream) Validate() error {
	if err := handlers.ValidateMethod("upstream", u.Method); err != nil {
		return err
	}
	if !isPath(u.Path) {
		const must = "it must be a path on the issuer's origin, such as /logout"
		return fmt.Errorf("upstream: %w %q: %s", handlers.ErrPath, u.Path, must)
	}
	if u.Body != "" && len(u.Form) > 0 {
		return errors.New("upstream: there can be a body or a form, not both")
	}
	for _, field := range slices.Sorted(maps.Keys(u.Headers)) {
		if !httpguts.ValidHeaderFieldName(field) ||
			!httpguts.ValidHeaderFieldValue(u.Headers[field]) ||
			textproto.CanonicalMIMEHeaderKey(field) == "Cookie" {
			return fmt.Errorf("upstream: header %q cannot be sent", field)
		}
	}
	for _, status := range u.Success {
		isClass, isCode := 1 <= status && status <= 5, 100 <= status && status <= 599
		if !isClass && !isCode {
			return fmt.Errorf("upstream: %d is no status code", status)
		}
	}
	return nil
}

// isPath reports whether a target is a path of the site, maybe with a query.
func isPath(target string) bool {
	_, err := url.ParseRequestURI(target)
	return err == nil && strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "//") &&
		!strings.Contains(target, "#")
}
