package logout

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
)

// An EndSession is the end_session endpoint at work: its configuration, and what the site passes
// in. Setup makes it ready.
type EndSession struct {
	Config

	// Explicit: the endpoint is configured, and served even if it has nothing to end the OP's own
	// session by.
	Explicit bool
	// LoginCookie is the name of the OP's own login cookie; empty: unknown.
	LoginCookie string
	// LoginCookiePaths knows how the OP sets that cookie.
	LoginCookiePaths *browser.LoginCookiePaths
	// Name is what pages call the OP. Empty: its host.
	Name string
	// Clients knows where browsers may be sent.
	Clients *clients.Clients
	// Keys knows what the OP signs with.
	Keys *opkeys.Keys
	// BackChannel notifies the clients.
	BackChannel *backchannel.BackChannel
	// FrontChannel: clients may be notified by front channel, whatever is registered of them.
	FrontChannel bool
	// FrontChannelTimeout is how long a page waits for the frames by which clients are notified.
	FrontChannelTimeout time.Duration

	env   handlers.Env
	pages *assets.Pages

	brought     sync.Map                  // of brought: see noteLoginCookies
	fetched     handlers.Recent[struct{}] // clients whose scripts ask, as the log has said
	nothingEnds sync.Once                 // the log has said that nothing ends the OP's own session
}

// Setup passes in what the handlers of a site share, and loads the pages.
func (e *EndSession) Setup(env handlers.Env) (err error) {
	e.env = env
	if e.Upstream == nil && len(e.ClearCookies) == 0 && e.LoginCookie != "" {
		e.ClearCookies = []browser.ClearCookie{{Name: e.LoginCookie}}
	}
	e.warn()
	if e.pages, err = assets.LoadPages(e.Templates); err != nil {
		return fmt.Errorf("loading the templates: %w", err)
	}
	return nil
}

// Able reports whether the endpoint can be served: there is something to end the OP's own session
// by, or nothing has to be ended there.
func (e *EndSession) Able() bool { return e.Explicit || e.endsAtOP() }

// endsAtOP reports whether there is something to end the OP's own session by.
func (e *EndSession) endsAtOP() bool { return e.Upstream != nil || len(e.ClearCookies) > 0 }

// PathAt returns the path of the endpoint at an OP.
func (e *EndSession) PathAt(op *handlers.OP) string {
	return op.EndpointPath(e.Path, handlers.DefaultEndSessionPath)
}

// Owner returns the member of the provider metadata that has one of the endpoint's paths, which is
// the OP's then; empty: none has.
func (e *EndSession) Owner(op *handlers.OP) string {
	return cmp.Or(op.Owner(e.PathAt(op)), op.Owner(e.PathAt(op)+handlers.ConfirmSuffix))
}

// IsServed reports whether the endpoint is there. Where the OP has one of its own, ours is not.
func (e *EndSession) IsServed(op *handlers.OP) bool {
	return e.Able() && !op.HasEndSession() && e.Owner(op) == ""
}

// IsFramed reports whether clients of an OP are notified by front channel: by the page of our own
// endpoint, unless the OP does so itself.
func (e *EndSession) IsFramed(op *handlers.OP) bool {
	return e.IsServed(op) && !op.FrontChannelLogout && (e.FrontChannel || e.Clients.HasFramed())
}

// Serves reports whether a path is one of the endpoint's.
func (e *EndSession) Serves(op *handlers.OP, path string) bool {
	isOurs := op.IsAt(path, e.Path, handlers.DefaultEndSessionPath) || e.isConfirmation(op, path)
	return isOurs && e.IsServed(op)
}

// isConfirmation reports whether a path is where the user's answer is posted to.
func (e *EndSession) isConfirmation(op *handlers.OP, path string) bool {
	n := len(path) - len(handlers.ConfirmSuffix)
	return n > 0 && path[n:] == handlers.ConfirmSuffix &&
		op.IsAt(path[:n], e.Path, handlers.DefaultEndSessionPath)
}

// Members are what the endpoint adds to the provider metadata.
func (e *EndSession) Members(op *handlers.OP) []exchange.Member {
	if !e.Able() || e.Owner(op) != "" {
		return nil
	}
	members := []exchange.Member{{Name: "end_session_endpoint", Value: op.Origin + e.PathAt(op)}}
	supports := func(name string) {
		members = append(members, exchange.Member{Name: name, Value: true, Replace: true})
	}
	if e.IsFramed(op) {
		supports("frontchannel_logout_supported")
		if e.BackChannel.Of(op, op.DocumentIssuer).NamesSessions(op) {
			supports("frontchannel_logout_session_supported")
		}
	}
	return members
}
