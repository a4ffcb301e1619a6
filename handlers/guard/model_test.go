package guard_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/memory"
	"github.com/oidc-session/caddy-oidc-session/registry/storetest"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// TestRandomSequencesOfAnApp does random things with an app, three users' browsers and a thief, and
// compares what reaches the app with a simple model of the specification. The seed is fixed;
// OIDC_SESSION_MODEL_SEED has another one, to repeat a failure with or to look for more.
func TestRandomSequencesOfAnApp(t *testing.T) {
	seed := uint64(1)
	if value := os.Getenv("OIDC_SESSION_MODEL_SEED"); value == "random" {
		seed = rand.Uint64()
	} else if value != "" {
		seed, _ = strconv.ParseUint(value, 10, 64)
	}
	seeds := uint64(80)
	if value := os.Getenv("OIDC_SESSION_MODEL_SEEDS"); value != "" {
		seeds, _ = strconv.ParseUint(value, 10, 64)
	}
	var all modelCounts
	for i := range seeds {
		m := newModel(t, rand.New(rand.NewPCG(seed+i, 1)).IntN)
		for step := 0; step < 120 && !t.Failed(); step++ {
			m.step()
		}
		m.close()
		all.add(m.counts)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed+i, strings.Join(m.did, "\n"))
		}
	}
	t.Logf("%+v", all)
	if seeds >= 80 && (all.passed < 100 || all.refused < 100 || all.ended < 100 || all.laundered < 10) {
		t.Errorf("too little has happened: %+v", all)
	}
}

// FuzzModel lets the fuzzer choose what happens.
func FuzzModel(f *testing.F) {
	random := rand.New(rand.NewPCG(7, 1))
	for range 20 {
		seed := make([]byte, 400)
		for i := 0; i < len(seed); i += 8 {
			binary.LittleEndian.PutUint64(seed[i:], random.Uint64())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 2000 {
			return
		}
		m := newModel(t, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			choice := int(choices[0]) % n
			choices = choices[1:]
			return choice
		})
		defer m.close()
		for len(choices) > 0 && !t.Failed() {
			m.step()
		}
		if t.Failed() {
			t.Fatal(strings.Join(m.did, "\n"))
		}
	})
}

const (
	modelIssuer = "https://op.example.com"
	modelHost   = "app.example.com"
)

// modelNames are the cookies of the app. The first three are sessions from a sign-in on; one is set
// in answer to users who are signed in; one is configured; one is nobody's business.
var modelNames = []string{"sid", "kept", "same", "derived", "configured", "readable"}

// A modelSession is one at the OP.
type modelSession struct {
	id      sessionstate.SessionID
	user    string
	expires time.Time
	ended   bool
}

// An owner is whom a cookie belongs to: nobody until a sign-in, then its sessions, of which all
// must live.
type owner struct{ sessions []*modelSession }

func (o *owner) is(other *owner) bool {
	return o == other || len(o.sessions) > 0 && slices.Equal(o.sessions, other.sessions)
}

// A proven is a certificate, by what happened when it was set.
type proven struct {
	sealed      string // as it is
	name, value string
	owner       *owner
}

// A held is a cookie in a jar, with its certificate; nil: it has none.
type held struct {
	name, value string
	by          *proven
}

// A modelBrowser is one with its own session at the OP.
type modelBrowser struct {
	name    string
	id      sessionstate.BrowserID
	session *modelSession
	jar     []held
}

func (b *modelBrowser) find(name string) *held {
	i := slices.IndexFunc(b.jar, func(h held) bool { return h.name == name })
	if i < 0 {
		return nil
	}
	return &b.jar[i]
}

func (b *modelBrowser) drop(name string) {
	b.jar = slices.DeleteFunc(b.jar, func(h held) bool { return h.name == name })
}

type modelCounts struct{ passed, refused, ended, laundered int }

func (c *modelCounts) add(other modelCounts) {
	c.passed += other.passed
	c.refused += other.refused
	c.ended += other.ended
	c.laundered += other.laundered
}

// A model is what must be so, beside the guard.
type model struct {
	*testing.T

	choose   func(n int) int
	clock    *storetest.Clock
	registry *registry.Registry
	keys     *sessionstate.Keyring
	guard    *guard.Guard

	browsers []*modelBrowser
	thief    *modelBrowser
	loot     [][]held
	known    map[string]bool // names of session cookies
	seen     map[string]bool // names that only the app can have set; a restart forgets them
	sessions map[sessionstate.SessionID]*modelSession
	drawn    int
	begun    time.Time
	counts   modelCounts
	did      []string
}

type modelOpener struct{ registry.Store }

func (o modelOpener) Open(*zap.Logger) (registry.Store, error) { return o.Store, nil }
func (o modelOpener) SharingKey() string                       { return "test" }

func newModel(t *testing.T, choose func(n int) int) *model {
	m := &model{
		T: t, choose: choose, clock: storetest.NewClock(),
		known: map[string]bool{"configured": true}, seen: make(map[string]bool),
		sessions: make(map[sessionstate.SessionID]*modelSession),
	}
	m.begun = m.clock.Now()
	m.registry = registry.Open(modelOpener{memory.New(m.clock.Now)}, func([]*registry.Session) {}, zap.NewNop())
	keys, err := sessionstate.NewKeyring([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	m.keys = keys
	for _, name := range []string{"alice's", "bob's", "alice's second", "thief's"} {
		m.browsers = append(m.browsers, &modelBrowser{name: name, id: sessionstate.NewBrowserID()})
	}
	m.thief = m.browsers[3]
	m.restart()
	return m
}

func (m *model) restart() {
	if m.guard != nil {
		m.guard.Close()
	}
	m.guard = newGuard(m.registry, m.keys, m.clock.Now, zap.NewNop())
	m.guard.AppCookies = []string{"configured"}
	clear(m.seen)
}

// newGuard returns a strict guard of one issuer.
func newGuard(r *registry.Registry, keys *sessionstate.Keyring, now func() time.Time, logger *zap.Logger) *guard.Guard {
	g := &guard.Guard{
		OnLogout: guard.Strip, Issuers: func() []string { return []string{modelIssuer} },
	}
	g.Setup(handlers.Env{
		Keys: keysOf(keys), Registry: r, Logger: logger, Now: now,
		Replace: func(_ *http.Request, text string) string { return text },
	})
	return g
}

func (m *model) close() {
	m.guard.Close()
	m.check(m.registry.Close())
}

func (m *model) check(err error) {
	m.Helper()
	if err != nil {
		m.Error(err)
	}
}

func (m *model) note(format string, args ...any) {
	m.did = append(m.did, m.clock.Now().Format("02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (m *model) fresh(of string) string {
	m.drawn++
	return fmt.Sprint(of, m.drawn)
}

func (m *model) alive(s *modelSession) bool { return !s.ended && m.clock.Now().Before(s.expires) }

func (m *model) anyBrowser() *modelBrowser { return m.browsers[m.choose(len(m.browsers))] }

// step does one thing.
func (m *model) step() {
	switch b := m.anyBrowser(); m.choose(14) {
	case 0, 1, 2:
		m.visit(b)
	case 3, 4, 5:
		m.signIn(b)
	case 6:
		m.note("%s browser: local sign-in", b.name)
		m.exchange(b, "/login", nil, b.jar, func() (set []held) { return []held{m.set("sid", m.fresh("local"))} })
	case 7:
		m.copies(m.browsers[m.choose(3)])
	case 8, 9:
		m.presents()
	case 10:
		m.signOut(b)
	case 11:
		b.session, b.id = nil, sessionstate.NewBrowserID()
		m.note("%s browser loses its cookies of the OP", b.name)
	case 12:
		m.note("restart")
		m.restart()
	default:
		by := []time.Duration{time.Second, 11 * time.Second, time.Minute, 40 * time.Minute, 40 * 24 * time.Hour}[m.choose(5)]
		if m.clock.Now().Add(by).Sub(m.begun) > 360*24*time.Hour {
			return // names that nobody signs in with for a year are forgotten
		}
		m.clock.Advance(by)
		m.note("%v pass", by)
	}
}

// set is what an app sets. An empty value deletes.
func (m *model) set(name, value string) held { return held{name: name, value: value} }

// visit has the app do something with its cookies, which are session cookies or not.
func (m *model) visit(b *modelBrowser) {
	name := modelNames[m.choose(len(modelNames))]
	what := m.choose(5)
	m.note("%s browser visits: %s %d", b.name, name, what)
	m.exchange(b, "/", nil, b.jar, func() []held {
		switch what {
		case 0:
			return nil
		case 1:
			return []held{m.set(name, "")}
		case 2: // renamed
			return []held{m.set("sid", ""), m.set("derived", m.fresh("renamed"))}
		case 3: // the same value again
			if h := b.find(name); h != nil {
				return []held{m.set(name, h.value)}
			}
		}
		return []held{m.set(name, m.fresh(name))}
	})
}

// signIn signs a user in at the OP and the app.
func (m *model) signIn(b *modelBrowser) {
	user := []string{"alice", "bob", "mallory"}[m.choose(3)]
	code := m.fresh("code ")
	m.clock.Advance(time.Millisecond)
	join := registry.Join{
		Issuer: modelIssuer, Browser: b.id, Response: sessionstate.NewResponseID(code), ClientID: "app",
		Origin: "https://" + modelHost, AcrossClients: true, Lifetime: 3 * time.Hour, Notify: true,
	}
	if b.session != nil && m.clock.Now().Before(b.session.expires) { // the sealed cookie has that time
		join.Session = b.session.id
	}
	_, err := m.registry.Join(m.Context(), join)
	m.check(err)
	how := m.choose(6)
	m.note("%s browser: %s signs in: %d", b.name, user, how)
	var session *modelSession
	app := func() []held {
		session = m.redeem(b, user, code)
		switch how {
		case 0:
			return nil // the session of before is kept, as PHP does
		case 1:
			if h := b.find("kept"); h != nil {
				return []held{m.set("kept", h.value)}
			}
		case 2:
			return []held{m.set("same", "constant for "+user)}
		case 3:
			return []held{m.set("sid", m.fresh("sid")), m.set("kept", m.fresh("kept"))}
		case 4: // its state was refused
			return []held{m.set("sid", m.fresh("sid")), m.set("same", "")}
		}
		return []held{m.set("sid", m.fresh("sid"))}
	}
	m.exchange(b, "/callback?code="+strings.ReplaceAll(code, " ", "+"), &session, b.jar, app)
}

// redeem is what the OP's leg does with a code.
func (m *model) redeem(b *modelBrowser, user, code string) *modelSession {
	joined, err := m.registry.Redeem(m.Context(), registry.Redemption{
		Issuer: modelIssuer, Response: sessionstate.NewResponseID(code), Audience: []string{"app"},
		Sub: user, AcrossClients: true, Lifetime: 3 * time.Hour, Notify: true,
	})
	m.check(err)
	if joined.Session == nil {
		m.Fatal("the code is not known")
	}
	if s := b.session; s != nil && m.alive(s) && s.user != user {
		s.ended = true // the user has switched
		m.counts.ended++
	}
	session := m.sessions[joined.Session.ID]
	if session == nil {
		session = &modelSession{id: joined.Session.ID, user: user, expires: joined.Session.Expires.Time()}
		m.sessions[session.id] = session
	}
	if !m.alive(session) || session.user != user {
		m.Errorf("the session of a sign-in does not live")
	}
	b.session = session
	return session
}

// signOut ends the sessions of a browser at the OP, or lets them expire.
func (m *model) signOut(b *modelBrowser) {
	if m.choose(4) == 0 {
		m.note("all sessions expire")
		m.clock.Advance(4 * time.Hour)
		m.counts.ended++
		return
	}
	m.note("%s browser signs out at the OP", b.name)
	_, err := m.registry.End(m.Context(), registry.Ending{
		Place: registry.PlaceOf(modelIssuer, b.id), Reason: registry.ReasonLogout,
	})
	m.check(err)
	for id, s := range m.sessions {
		if registry.PlaceOfSession(id) == registry.PlaceOf(modelIssuer, b.id) && m.alive(s) {
			s.ended = true
			m.counts.ended++
		}
	}
}

// copies has the thief copy all cookies of a browser: with certificates, without, or with his own.
func (m *model) copies(b *modelBrowser) {
	loot := slices.Clone(b.jar)
	how := m.choose(4)
	m.note("the thief copies %s browser: %d", b.name, how)
	for i := range loot {
		switch own := m.thief.find(loot[i].name); {
		case how == 0:
			loot[i].by = nil
		case how == 1 && own != nil:
			loot[i].by = own.by
		}
	}
	m.loot = append(m.loot, loot)
}

// presents has the thief present what he has copied: by itself, before or behind his own cookies,
// or as his own browser's from then on.
func (m *model) presents() {
	if len(m.loot) == 0 {
		return
	}
	loot := m.loot[m.choose(len(m.loot))]
	how := m.choose(5)
	m.note("the thief presents copies: %d", how)
	nothing := func() []held { return nil }
	switch how {
	case 0, 1:
		m.exchange(&modelBrowser{name: "another"}, "/", nil, loot, nothing)
	case 2: // and the app, which takes the last of a name, sets it anew
		both := append(slices.Clone(m.thief.jar), loot...)
		m.exchange(&modelBrowser{name: "another"}, "/", nil, both, nothing)
	case 3:
		both := append(slices.Clone(loot), m.thief.jar...)
		m.exchange(m.thief, "/", nil, both, func() []held { return []held{m.set("sid", m.fresh("stolen"))} })
	case 4:
		m.counts.laundered++
		for _, h := range loot {
			m.thief.drop(h.name)
			m.thief.jar = append(m.thief.jar, h)
		}
	}
}

// verdict says what must become of a presented cookie, and to whom it belongs. nil: to nobody that
// is known, or it is refused.
func (m *model) verdict(all []held, i int) (passes bool, of *owner) {
	h := all[i]
	best := -1
	for _, other := range all {
		if by := other.by; by != nil && by.name == h.name && by.value == h.value {
			if rank := m.rank(by.owner); rank > best {
				best, of = rank, by.owner
			}
		}
	}
	switch {
	case of == nil:
		return !m.known[h.name], nil
	case best == 0:
		return false, nil
	}
	return true, of
}

// rank is how much an owner counts, of several.
func (m *model) rank(o *owner) int {
	switch {
	case len(o.sessions) == 0:
		return 1
	case slices.ContainsFunc(o.sessions, func(s *modelSession) bool { return !m.alive(s) }):
		return 0
	}
	return 2
}

// verdicts are those of all presented cookies. Of several of one name that belong to different ones,
// no browser would have sent more than one: that of a session counts, and of those the first.
func (m *model) verdicts(all []held) (passes []bool, owners []*owner) {
	for i := range all {
		ok, of := m.verdict(all, i)
		passes, owners = append(passes, ok), append(owners, of)
	}
	for i, h := range all {
		for j, other := range all {
			if passes[i] && passes[j] && h.name == other.name && owners[i] != nil && owners[j] != nil && !owners[i].is(owners[j]) {
				if mine, others := m.rank(owners[i]), m.rank(owners[j]); mine < others || mine == others && j < i {
					passes[i], owners[i] = false, nil
				}
			}
		}
	}
	return passes, owners
}

// exchange sends a request and compares what reaches the app with what must; then the browser takes
// what the response sets. signedIn is set by the app where the user signs in; nil: nobody does.
func (m *model) exchange(b *modelBrowser, target string, signedIn **modelSession, all []held, app func() []held) {
	all = slices.Clone(all)
	r := httptest.NewRequest("GET", target, nil)
	r.Host = modelHost
	var pairs []string
	for _, h := range all {
		pairs = append(pairs, h.name+"="+strings.ReplaceAll(h.value, " ", "."))
		if h.by != nil && h.by.sealed != "" {
			pairs = append(pairs, guard.CertificateName(h.name)+"="+h.by.sealed)
		}
	}
	if len(pairs) > 0 {
		r.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
	passes, owners := m.verdicts(all)
	var set []held
	w := httptest.NewRecorder()
	err := m.guard.Serve(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		m.compare(r, all, passes)
		set = app()
		for _, h := range set {
			w.Header().Add("Set-Cookie", m.line(h))
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}))
	m.check(err)
	var session *modelSession
	if signedIn != nil {
		session = *signedIn
	}
	m.take(b, w.Result(), set, session, all, passes, owners)
}

// compare compares what has reached the app with what must.
func (m *model) compare(r *http.Request, all []held, passes []bool) {
	var want, got []string
	for i, h := range all {
		if passes[i] {
			want = append(want, h.name+"="+strings.ReplaceAll(h.value, " ", "."))
			m.counts.passed++
		} else {
			m.counts.refused++
		}
	}
	for pair := range strings.SplitSeq(r.Header.Get("Cookie"), "; ") {
		if pair != "" && !strings.Contains(pair, "oidc_guard_") {
			got = append(got, pair)
		}
	}
	if !slices.Equal(got, want) {
		m.note("reached the app: %q, must: %q", got, want)
		m.Errorf("%q reach the app, want %q", got, want)
	}
}

func (m *model) line(h held) string {
	line := h.name + "=" + strings.ReplaceAll(h.value, " ", ".") + "; Path=/"
	if h.name != "readable" && h.name != "configured" {
		line += "; HttpOnly"
	}
	if h.value == "" {
		line += "; Max-Age=0"
	}
	return line
}

// take has the browser take what a response sets, and the model who owns it by what happened.
func (m *model) take(
	b *modelBrowser, response *http.Response, set []held, session *modelSession,
	all []held, passes []bool, owners []*owner,
) {
	sealed, dropped := make(map[string]string), make(map[string]bool)
	for _, c := range response.Cookies() {
		sealed[c.Name] = c.Value
		dropped[c.Name] = c.MaxAge < 0 || c.Value == ""
	}
	setNames := make(map[string]bool)
	for _, h := range set {
		setNames[h.name] = true
	}
	if session != nil { // what was nobody's when it was presented is the session's, copies too
		for i, of := range owners {
			if passes[i] && of != nil && len(of.sessions) == 0 {
				of.sessions = []*modelSession{session}
			}
		}
	}
	for i, h := range all { // what the response leaves as it is
		switch {
		case setNames[h.name]:
		case !passes[i]:
			if (owners[i] == nil && h.by == nil || h.by != nil && h.by.name == h.name && h.by.value == h.value) &&
				!dropped[h.name] && m.alone(all, h.name) {
				m.Errorf("the refused %s stays in the browser", h.name)
			}
			b.drop(h.name)
		case session != nil && (owners[i] != nil || m.seen[h.name]):
			m.known[h.name] = true
			m.put(b, h, m.keptBy(owners[i], session), sealed)
		}
	}
	joint := m.newOwner(owners)
	for _, h := range set {
		if h.value == "" {
			b.drop(h.name)
			continue
		}
		of := m.ownerOfSet(h, session, all, passes, owners, &joint)
		httpOnly := h.name != "readable" && h.name != "configured"
		if httpOnly {
			m.seen[h.name] = m.seen[h.name] || !m.known[h.name]
			if !m.known[h.name] && len(of.sessions) > 0 {
				m.known[h.name] = true
			}
		}
		if m.known[h.name] {
			m.put(b, h, of, sealed)
		} else {
			b.drop(h.name)
			b.jar = append(b.jar, h)
		}
	}
}

// alone reports whether one cookie of a name was presented.
func (m *model) alone(all []held, name string) bool {
	count := 0
	for _, h := range all {
		if h.name == name {
			count++
		}
	}
	return count == 1
}

// keptBy is who owns a cookie that was there before a sign-in and stays: the new session, and the
// other one with it if that lives on, in a browser of its own.
func (m *model) keptBy(of *owner, session *modelSession) *owner {
	kept := &owner{}
	if of != nil {
		for _, s := range of.sessions {
			if s != session && m.alive(s) {
				kept.sessions = append(kept.sessions, s)
			}
		}
	}
	kept.sessions = append(kept.sessions, session)
	if len(kept.sessions) > 8 {
		return of
	}
	return kept
}

// newOwner is who owns a cookie that is new: whoever owns the first of those that came with the
// request, a session before nobody.
func (m *model) newOwner(owners []*owner) *owner {
	var nobody *owner
	for _, of := range owners {
		switch {
		case of == nil:
		case len(of.sessions) > 0:
			return of
		case nobody == nil:
			nobody = of
		}
	}
	if nobody == nil {
		nobody = &owner{}
	}
	return nobody
}

func (m *model) ownerOfSet(
	h held, session *modelSession, all []held, passes []bool, owners []*owner, joint **owner,
) *owner {
	if session != nil {
		for i := range all {
			if all[i].name == h.name && all[i].value == h.value && passes[i] {
				return m.keptBy(owners[i], session) // set again as it was
			}
		}
		return &owner{[]*modelSession{session}}
	}
	for i := range all {
		if all[i].name == h.name && passes[i] && owners[i] != nil {
			return owners[i]
		}
	}
	return *joint
}

// put puts a certified cookie into the browser.
func (m *model) put(b *modelBrowser, h held, of *owner, sealed map[string]string) {
	value := sealed[guard.CertificateName(h.name)]
	if value == "" {
		m.Errorf("%s gets no certificate", h.name)
	}
	b.drop(h.name)
	h.by = &proven{sealed: value, name: h.name, value: h.value, owner: of}
	b.jar = append(b.jar, h)
}

func keysOf(keys *sessionstate.Keyring) func(context.Context) (*sessionstate.Keyring, error) {
	return func(context.Context) (*sessionstate.Keyring, error) { return keys, nil }
}
