package guard

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// maxSites is how many sites one guard knows at a time.
	maxSites = 1024
	// namesAge is how old the names of a site's cookies may be, which other servers learn, too.
	namesAge = 10 * time.Second
)

// A name is what is known of a session cookie by its name.
type name struct {
	certificate string    // the name of its certificate
	since       time.Time // when it was first known; zero: only the configuration names it
	derived     bool      // it followed a sign-in, and was not set by one
}

// A site is a host name with what is known of its cookies: those do not know ports.
type site struct {
	host  string
	names atomic.Pointer[map[string]name]

	loaded     atomic.Int64 // when the names were, in nanoseconds since 1970; 0: not yet
	mu         sync.Mutex   // of what follows, and of changes of names
	unredeemed int          // codes in a row that were not redeemed in their request
	signedIn   bool         // a code was
}

// sites are those that were asked for last.
type sites struct {
	guard *Guard

	mu  sync.Mutex
	all *simplelru.LRU[string, *site]
}

// of returns the site of a request, with its names as the registry has them.
func (s *sites) of(r *http.Request) *site {
	host := hostOf(r.Host)
	s.mu.Lock()
	if s.all == nil {
		s.all, _ = simplelru.NewLRU[string, *site](maxSites, nil) // fails for no size alone
	}
	found, ok := s.all.Get(host)
	if !ok {
		found = &site{host: host}
		found.names.Store(s.guard.configured())
		s.all.Add(host, found)
	}
	s.mu.Unlock()
	s.guard.refresh(found, r)
	return found
}

// configured are the names that the configuration has.
func (g *Guard) configured() *map[string]name {
	names := make(map[string]name, len(g.AppCookies))
	for _, cookie := range g.AppCookies {
		names[cookie] = name{certificate: certificateName(cookie)}
	}
	return &names
}

// refresh reads the names of a site again, if they are old. One request does it; others go on with
// what is known, unless nothing is known yet.
func (g *Guard) refresh(s *site, r *http.Request) {
	now, loaded := g.env.Now().UnixNano(), s.loaded.Load()
	switch {
	case loaded != 0 && now-loaded < int64(namesAge):
		return
	case loaded == 0:
		s.mu.Lock()
	case !s.mu.TryLock():
		return
	}
	defer s.mu.Unlock()
	if s.loaded.Load() != loaded {
		return // another request has done so meanwhile
	}
	recorded, err := g.env.Registry.CookieNames(handlers.RecordingContext(r), s.host)
	if err != nil {
		g.env.Logger.Debug("the names of session cookies cannot be read", zap.Error(err))
	}
	if err == nil || loaded != 0 {
		s.loaded.Store(now) // what is known is kept
	}
	if err != nil {
		return
	}
	names := *g.configured()
	for _, n := range recorded {
		names[n.Name] = name{certificateName(n.Name), n.Since.Time(), n.Derived}
	}
	s.names.Store(&names)
}

// find returns what is known of a cookie, if it is a session cookie.
func (s *site) find(cookie string) (known name, found bool) {
	known, found = (*s.names.Load())[cookie]
	return known, found
}

// learn records that a cookie is a session cookie.
func (g *Guard) learn(s *site, r *http.Request, cookie string, derived bool) {
	known, found := s.find(cookie)
	if found && !known.since.IsZero() && (derived || !known.derived) && !g.mustRenew(s, cookie) {
		return
	}
	s.mu.Lock() // for as long as it takes: names that are read again meanwhile would lack it
	defer s.mu.Unlock()
	names := maps.Clone(*s.names.Load())
	if !found || known.since.IsZero() {
		known = name{certificateName(cookie), g.env.Now(), derived}
	}
	known.derived = known.derived && derived
	names[cookie] = known
	s.names.Store(&names)
	err := g.env.Registry.AddCookieName(handlers.RecordingContext(r), s.host,
		registry.CookieName{Name: cookie, Derived: derived})
	if err != nil {
		g.env.Logger.Warn("the name of a session cookie is not recorded: "+
			"copies of it without certificate may pass after a restart",
			zap.String("host", s.host), zap.String("cookie", cookie), zap.Error(err))
	}
}

// mustRenew reports whether a name that is recorded has to be recorded again, since those that are
// of no use any more are forgotten after a year.
func (g *Guard) mustRenew(s *site, cookie string) bool {
	day := g.env.Now().Format(time.DateOnly)
	return g.renewed.First(handlers.Hash(day + " " + s.host + " " + cookie))
}

// ignores reports whether a cookie is configured to be no session cookie.
func (g *Guard) ignores(cookie string) bool { return slices.Contains(g.IgnoreCookies, cookie) }
