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
	// namesRetry is how long nobody asks for names that could not be read: it may take a while to
	// find out.
	namesRetry = time.Second
)

// A name is what is known of a session cookie by its name.
type name struct {
	certificate string // the name of its certificate
	id          certificateID
	since       time.Time // when it was first known; zero: only the configuration names it
	derived     bool      // it followed a sign-in, and was not set by one
	added       time.Time // when this guard added it to the registry last; zero: it has not
	recorded    bool      // the registry has it, or has forgotten it
}

func newName(cookie string) name {
	return name{certificate: certificateName(cookie), id: certificateIDOf(cookie)}
}

// A site is a host name with what is known of its cookies: those do not know ports.
type site struct {
	host  string
	of    *sites
	names atomic.Pointer[map[string]name]

	next       atomic.Int64 // when the names are read next, in nanoseconds since 1970; 0: first
	mu         sync.Mutex   // of what follows, and of changes of names
	unredeemed int          // codes that were not redeemed in their request
	signedIn   bool         // a code was
}

// sites are those that were asked for last. They are one app under several host names, perhaps: a
// copy of a cookie of one may come to another.
type sites struct {
	guard *Guard
	names atomic.Pointer[map[string]name] // of all of them

	mu  sync.Mutex
	all *simplelru.LRU[string, *site]
}

// maxNames is how many names are known of all sites together. With more, each has its own alone
// until they are read again.
const maxNames = 8 * registry.MaxNames

// share makes the names of one site known at all.
func (s *sites) share(names map[string]name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(*s.names.Load())
	for cookie, n := range names {
		known, found := all[cookie]
		isOlder := known.since.IsZero() || n.since.Before(known.since)
		if !found || !n.since.IsZero() && isOlder {
			all[cookie] = n
		}
	}
	if len(all) > maxNames {
		all = maps.Clone(names)
	}
	s.names.Store(&all)
}

// Guards reports whether the sessions of the app at an origin are refused once those at the OP have
// ended: this guard was asked for the site, and knows its session cookies by a sign-in.
func (g *Guard) Guards(origin string) bool {
	s := &g.sites
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		return false
	}
	found, ok := s.all.Peek(hostOf(authorityOf(origin)))
	if !ok {
		return false
	}
	for _, n := range *found.names.Load() {
		if !n.since.IsZero() {
			return true
		}
	}
	return false
}

// has reports whether a host name is that of one of the sites.
func (s *sites) has(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Contains(host)
}

// of returns the site of a request, with its names as the registry has them.
func (s *sites) of(r *http.Request, now time.Time) *site {
	host := hostOf(r.Host)
	s.mu.Lock()
	if s.all == nil {
		s.all, _ = simplelru.NewLRU[string, *site](maxSites, nil) // fails for no size alone
		s.names.Store(s.guard.configured())
	}
	found, ok := s.all.Get(host)
	if !ok {
		found = &site{host: host, of: s}
		found.names.Store(s.guard.configured())
		s.all.Add(host, found)
	}
	s.mu.Unlock()
	s.guard.refresh(found, r, now)
	return found
}

// configured are the names that the configuration has.
func (g *Guard) configured() *map[string]name {
	names := make(map[string]name, len(g.AppCookies))
	for _, cookie := range g.AppCookies {
		names[cookie] = newName(cookie)
	}
	return &names
}

// refresh reads the names of a site again, if they are old. One request does it; others go on with
// what is known, unless they were never read.
func (g *Guard) refresh(s *site, r *http.Request, now time.Time) {
	next := s.next.Load()
	switch {
	case next == 0:
		s.mu.Lock()
	case now.UnixNano() < next || !s.mu.TryLock():
		return
	}
	defer s.mu.Unlock()
	if s.next.Load() != next {
		return // another request has done so meanwhile
	}
	recorded, err := g.env.Registry.CookieNames(handlers.RecordingContext(r), s.host)
	if err != nil {
		g.env.Logger.Debug("the names of session cookies cannot be read", zap.Error(err))
		s.next.Store(now.Add(namesRetry).UnixNano()) // what is known is kept
		return
	}
	names := g.merge(*s.names.Load(), recorded)
	s.names.Store(names)
	s.of.share(*names)
	s.next.Store(now.Add(namesAge).UnixNano())
}

// merge returns the names that the registry has, with those known here that it has not got yet:
// what it has forgotten is forgotten here, too.
func (g *Guard) merge(known map[string]name, recorded []registry.CookieName) *map[string]name {
	names := *g.configured()
	for cookie, n := range known {
		if !n.recorded {
			names[cookie] = n
		}
	}
	for _, n := range recorded {
		read := newName(n.Name)
		read.since, read.derived, read.recorded = n.Since.Time(), n.Derived, true
		read.added = known[n.Name].added
		names[n.Name] = read
	}
	return &names
}

// find returns what is known of a cookie, if it is a session cookie here or at another site.
func (s *site) find(cookie string) (known name, found bool) {
	if known, found = (*s.names.Load())[cookie]; found {
		return known, true
	}
	known, found = (*s.of.names.Load())[cookie]
	return known, found
}

// addedEach is how often a sign-in adds names that are recorded: or they would be forgotten.
const addedEach = 24 * time.Hour

// learn records that a cookie is a session cookie.
func (g *Guard) learn(s *site, r *http.Request, cookie string, derived bool) {
	known, found := (*s.names.Load())[cookie]
	isNew := !found || known.since.IsZero()
	switch {
	case isNew:
	case derived, !known.derived && known.recorded && g.env.Now().Sub(known.added) < addedEach:
		return
	}
	if isNew {
		known = newName(cookie)
		known.since = g.env.Now()
	}
	known.derived, known.recorded = derived, false
	s.know(cookie, known, registry.MaxNames+len(g.AppCookies))
	err := g.env.Registry.AddCookieName(handlers.RecordingContext(r), s.host,
		registry.CookieName{Name: cookie, Derived: derived})
	if err != nil {
		g.env.Logger.Warn("the name of a session cookie is not recorded",
			zap.String("host", s.host), zap.String("cookie", cookie), zap.Error(err),
			zap.String("advice", "copies of it without certificate may pass after a restart"))
		return
	}
	known.added, known.recorded = g.env.Now(), true
	s.know(cookie, known, registry.MaxNames+len(g.AppCookies))
}

// know keeps what is known of a cookie. Of more names than limit, one is forgotten as the registry
// does: the oldest derived one, or else the oldest of all.
func (s *site) know(cookie string, known name, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := maps.Clone(*s.names.Load())
	names[cookie] = known
	if len(names) > limit {
		oldest := ""
		for other, n := range names {
			o, found := names[oldest]
			if !n.since.IsZero() && (!found || n.derived && !o.derived ||
				n.derived == o.derived && n.since.Before(o.since)) {
				oldest = other
			}
		}
		delete(names, oldest)
	}
	s.names.Store(&names)
	s.of.share(names)
}

// ignores reports whether a cookie is configured to be no session cookie.
func (g *Guard) ignores(cookie string) bool { return slices.Contains(g.IgnoreCookies, cookie) }
