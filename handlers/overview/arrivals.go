package overview

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// How many requests for the OP must miss it before the log says so: few over some time, or many.
const (
	fewMissed  = 3
	manyMissed = 20
	missedTime = time.Minute
)

// Arrivals warns once when requests that can only be for the OP come, but none for its issuer's
// host, or none below its issuer's path: a proxy in front changes them then. Once a request has
// come as it should, nothing is warned of any more, whatever scanners send.
type Arrivals struct {
	// OP returns the OP by its configured or discovered issuer; nil: it has none yet.
	OP func() *handlers.OP
	// Issuers returns those of all handlers: requests for another one's are not missing.
	Issuers      func() [][]string
	CheckSession *check.Endpoint
	EndSession   *logout.EndSession
	Logger       *zap.Logger
	Now          func() time.Time

	done   atomic.Bool
	mu     sync.Mutex
	missed string // the host that requests come for, or the path in place of the issuer's
	since  time.Time
	count  int
}

// Observe notes a request, as it came to the site.
func (a *Arrivals) Observe(r *http.Request) {
	if a.done.Load() {
		return // all requests, once one has come as it should
	}
	op := a.OP()
	switch {
	case op == nil:
	case !op.Serves(r):
		a.observeOtherHost(op, r)
	case handlers.IsPathBelow(r.URL.Path, op.Path):
		a.done.Store(true)
	default:
		a.observeOtherPath(op, r)
	}
}

// observeOtherHost warns of requests that can only be for an OP (a page of ours, or a sign-in: RFC
// 6749, section 4.1.1), but for another host. Health checks ask for documents too, by an IP address
// as Host.
func (a *Arrivals) observeOtherHost(op *handlers.OP, r *http.Request) {
	path, query := r.URL.Path, r.URL.RawQuery
	isForOP := a.CheckSession.Serves(op, path) || a.EndSession.Serves(op, path) ||
		strings.Contains(query, "client_id=") && strings.Contains(query, "response_type=")
	isOthers := func(other *handlers.OP) bool { return other.Serves(r) }
	if len(r.Host) > handlers.MaxClientID || !isForOP || handlers.AnyOP(a.Issuers(), isOthers) ||
		!a.isMissed(r.Host) {
		return
	}
	a.Logger.Warn("requests come for another host than the issuer's",
		zap.String("host", r.Host), zap.String("issuer_host", op.Host),
		zap.String("issuer", op.Issuer), zap.String("advice", "have the proxy in front keep the "+
			"Host that the browser sent, or give oidc_session the issuer of this host's OP"))
}

// observeOtherPath warns of requests for the OP's document that are not below the issuer's path.
// Other endpoints of the OP may be there.
func (a *Arrivals) observeOtherPath(op *handlers.OP, r *http.Request) {
	path := r.URL.Path
	isOthers := func(other *handlers.OP) bool {
		return other.Host == op.Host && other.HasDocument(path)
	}
	if !op.HasDocument(op.Path+path) || op.HasDocument(path) ||
		handlers.AnyOP(a.Issuers(), isOthers) || !a.isMissed(path) {
		return
	}
	a.Logger.Warn("requests come without the issuer's path",
		zap.String("path", path), zap.String("issuer_path", op.Path),
		zap.String("issuer", op.Issuer), zap.String("advice", "have the proxy in front keep the "+
			"whole path that the browser sent: its prefix can be stripped behind oidc_session"))
}

// isMissed counts a request, and reports whether the log is to say now what came. A proxy changes
// all requests alike: others begin anew.
func (a *Arrivals) isMissed(what string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	if what != a.missed {
		a.missed, a.since, a.count = what, now, 0
	}
	a.count++
	if a.count < manyMissed && (a.count < fewMissed || now.Sub(a.since) < missedTime) {
		return false
	}
	return a.done.CompareAndSwap(false, true)
}
