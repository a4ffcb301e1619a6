package guard

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// An Action says what becomes of a request whose session has ended.
type Action string

// The actions.
const (
	// Strip takes the cookie off the request, and expires it in the browser. All else goes on, so
	// that the app shows its own sign-in.
	Strip Action = "strip"
	// Deny responds 401, and expires the cookie.
	Deny Action = "401"
	// Redirect leads the browser elsewhere, and expires the cookie.
	Redirect Action = "redirect"
)

// A Guard guards the sites of one handler. After Setup it is safe for concurrent use.
type Guard struct {
	// AppCookies are the names of session cookies that are certified although scripts or sibling
	// sites could set them.
	AppCookies []string
	// IgnoreCookies are the names of cookies that are no session cookies.
	IgnoreCookies []string
	// OnLogout is what becomes of a request whose session has ended. Default: Strip.
	OnLogout Action
	// RedirectURL is where Redirect leads; it may have placeholders of the request.
	RedirectURL string
	// Adopt is for how long after a cookie's name was first known one without certificate passes.
	Adopt time.Duration
	// CloseStreams closes WebSockets and event streams when their session ends.
	CloseStreams bool
	// ClearSiteData has browsers forget what they have stored of the site, with a refusal.
	ClearSiteData bool
	// AllowUnknown has sessions pass while the registry cannot be asked.
	AllowUnknown bool

	// Issuers returns those whose sessions count, as the registry names them.
	Issuers func() []string
	// Expose makes what is known of a request available to the handlers behind; nil: it is not.
	Expose func(*http.Request, *Facts)

	env         handlers.Env
	sites       sites
	sessions    *sessions
	attempts    attempts
	set         handlers.Recent[struct{}] // cookies that sites have set: what could be presented
	uncertified handlers.Recent[sighting] // cookies that were refused without certificate
	logged      handlers.Recent[struct{}]
}

// Setup gives the guard what it works with. Close ends its watch over the registry.
func (g *Guard) Setup(env handlers.Env) {
	g.env = env
	g.sites.guard = g
	g.sessions = newSessions(env.Registry, env.Now)
}

// Close ends the guard's watch over the registry.
func (g *Guard) Close() {
	if g.sessions != nil {
		g.sessions.close()
	}
}

// Validate reports what is wrong with the configuration.
func (g *Guard) Validate() error {
	return errors.Join(
		ValidateAction(g.OnLogout, g.RedirectURL),
		validateList("app_cookie", g.AppCookies), validateList("ignore_cookie", g.IgnoreCookies),
		ValidateAdopt(g.Adopt),
	)
}

// ValidateAction reports what is wrong with an action and the URL of a redirect.
func ValidateAction(action Action, url string) error {
	switch {
	case action == Redirect && url == "":
		return errors.New("on_logout redirect needs a URL")
	case action != Redirect && url != "":
		return fmt.Errorf("on_logout %s takes no URL", action)
	case action != Strip && action != Deny && action != Redirect:
		return fmt.Errorf("on_logout is '%s', but must be strip, 401 or redirect", action)
	}
	return nil
}

// ValidateCookies reports what is wrong with names of cookies (RFC 6265, section 4.1.1).
func ValidateCookies(names ...string) error {
	for _, name := range names {
		switch {
		case (&http.Cookie{Name: name, Value: "x"}).Valid() != nil:
			return fmt.Errorf("'%s' is no name of a cookie", name)
		case len(name) > registry.MaxString:
			return errors.New("the name of a cookie is too long")
		case isCertificateName(name):
			return fmt.Errorf("'%s' is a cookie of oidc_guard itself", name)
		}
	}
	return nil
}

// validateList names the option in what is wrong with names of cookies.
func validateList(option string, names []string) error {
	if err := ValidateCookies(names...); err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	return nil
}

// MaxAdopt is the longest time in which cookies without certificate pass.
const MaxAdopt = 400 * 24 * time.Hour

// ValidateAdopt reports what is wrong with the time in which cookies without certificate pass.
func ValidateAdopt(adopt time.Duration) error {
	if adopt < 0 || adopt > MaxAdopt {
		return fmt.Errorf("adopt is %s, but must be 0 to 400 days", adopt)
	}
	return nil
}

// Serve passes a request on without the cookies that are refused, and sets certificates beside the
// cookies in the response.
func (g *Guard) Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	p := passages.Get().(*passage)
	p.Guard, p.request, p.path, p.now = g, r, requestedPath(r), g.env.Now()
	returned := false
	defer func() {
		p.release()
		if returned { // what panics is not used again
			p.reset()
			passages.Put(p)
		}
	}()
	err := p.serve(w, next)
	returned = true
	return err
}

// passages are those that are not in use: every request takes one.
var passages = sync.Pool{New: func() any {
	p := new(passage)
	p.decides = p.decide
	return p
}}
