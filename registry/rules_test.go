package registry

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

const (
	issuer = "https://op.example.com"
	second = Time(1000)
	minute = 60 * second
	hour   = 60 * minute
	start  = Time(1_900_000_000_000)
)

// A browser is one record, and the browser that it is of.
type browser struct {
	*testing.T

	rec *record
	now Time
	j   Join // the next authorization response's; Session is the cookie's
	d   Redemption
	ids uint64

	redeemed Joined // what redeem did last
}

// A tab is what a browser's tab got by an authorization response.
type tab struct {
	session  sessionstate.SessionID
	response sessionstate.ResponseID
	client   string
	full     bool
}

func newBrowser(t *testing.T) *browser {
	id := sessionstate.BrowserID{1, 2, 3}
	return &browser{
		T: t, rec: &record{Issuer: issuer}, now: start,
		j: Join{Issuer: issuer, Browser: id, ClientID: "shop", Origin: "https://shop.example.com", Lifetime: time.Hour, Notify: true},
		d: Redemption{Issuer: issuer, Lifetime: time.Hour, Notify: true},
	}
}

// browsers runs each test with a browser of its own, whose record must be sound afterwards.
func browsers(t *testing.T, tests map[string]func(b *browser)) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			test(b)
			b.sound()
		})
	}
}

func (b *browser) fresh() sessionstate.SessionID { return drawID(PlaceOf(issuer, b.j.Browser)) }

// tick is the time of a change, as [Registry] has it.
func (b *browser) tick() Time {
	b.now = max(b.now, b.rec.Clock+1)
	b.rec.Clock = b.now
	return b.now
}

// join makes an authorization response, after which the browser has its session in the cookie.
func (b *browser) join(client string) tab {
	b.ids++
	j := b.j
	j.ClientID, j.Response = client, sessionstate.ResponseID{byte(b.ids), byte(b.ids >> 8), 1}
	now := b.tick()
	b.rec.tidy(now)
	session, full := b.rec.join(j, b.fresh(), now)
	b.j.Session = session.ID
	return tab{session.ID, j.Response, client, full}
}

// redeem redeems a tab's code. The session is nil where the code is not known.
func (b *browser) redeem(p tab, sub, sid string) (*Session, bool) {
	d := b.d
	d.Response, d.Audience, d.Sub, d.Sid = p.response, []string{"other", p.client}, sub, sid
	now := b.tick()
	b.rec.tidy(now)
	b.redeemed = b.rec.redeem(d, b.fresh(), now)
	return b.redeemed.Session, b.redeemed.Full
}

// signIn is a response and its code, of a user at the shop.
func (b *browser) signIn(sub string) *Session {
	session, _ := b.redeem(b.join("shop"), sub, "sid of "+sub)
	return session
}

func (b *browser) end(reason Reason) []*Session {
	now := b.tick()
	b.rec.tidy(now)
	return b.rec.endAll(nil, reason, "", 0, now)
}

// tidy is what the clock does at a time after the start.
func (b *browser) tidy(after Time) (ended []*Session) {
	b.now = start + after
	return b.rec.tidy(b.tick())
}

func (b *browser) session(id sessionstate.SessionID) *Session {
	b.Helper()
	session := b.rec.session(id)
	if session == nil {
		b.Fatalf("session %s is not recorded", id)
	}
	return session
}

// people are the clients of a session, with the subs and sids of their subjects.
func people(s *Session) string {
	var all []string
	for _, c := range s.Clients {
		words := []string{c.ID}
		for _, subject := range c.Subjects {
			words = append(words, strings.TrimSuffix(subject.Sub+"/"+strings.TrimPrefix(subject.Sid, "sid of "+subject.Sub), "/"))
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, ", ")
}

// owed are the notices of the record that are not given up: client, sub, sid and reason, in order.
func (b *browser) owed() string {
	var all []string
	for _, s := range b.rec.Sessions {
		for _, o := range s.Pending() {
			if !o.Dead() {
				all = append(all, strings.Join([]string{o.ClientID, o.Sub, o.Sid, string(o.Reason)}, " "))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// sound reports what no record may be, and that it is the same when it is read again.
func (b *browser) sound() {
	b.Helper()
	live := 0
	for _, s := range b.rec.Sessions {
		if (s.Ended == 0) != (s.Reason == "") {
			b.Errorf("session %s has ended and has not: %+v", s.ID, s)
		}
		if s.Live(b.now) {
			live++
		}
		if next := b.rec.session(s.Successor); next != nil && s.Ended == 0 {
			b.Errorf("session %s lives beside its successor", s.ID)
		}
		if s.Ended == 0 && len(s.Pending()) > 0 {
			b.Errorf("session %s lives and owes %+v", s.ID, s.Pending())
		}
		if PlaceOfSession(s.ID) != PlaceOf(issuer, b.j.Browser) {
			b.Errorf("session %s does not lead to its record", s.ID)
		}
	}
	if live > MaxBrowserSessions {
		b.Errorf("%d sessions live", live)
	}
	value, err := encode(b.rec)
	if err != nil {
		b.Fatal(err)
	}
	again, err := decodeRecord(value)
	if err != nil {
		b.Fatal(err)
	}
	if value2, err := encode(again); err != nil || string(value2) != string(value) {
		b.Errorf("read again, the record is another one: %v", err)
	}
}

// TestAnySequence makes changes at random, with a fixed seed, of three users in one browser. At
// any time the record is sound, what has ended stays so, and each end owes each subject one
// notice.
func TestAnySequence(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		b := newBrowser(t)
		ended := make(map[sessionstate.SessionID]bool)
		var tabs []tab
		for range 60 {
			b.now += Time(random.IntN(40)) * second
			b.j.Silent, b.d.AcrossClients = random.IntN(4) == 0, round%2 == 0
			switch random.IntN(8) {
			case 0, 1, 2:
				tabs = append(tabs, b.join(fmt.Sprint("client ", random.IntN(3))))
			case 3, 4, 5:
				if len(tabs) > 0 {
					b.redeem(tabs[random.IntN(len(tabs))], fmt.Sprint("user ", random.IntN(3)), "")
				}
			case 6:
				b.tidy(b.now - start)
			default:
				if random.IntN(4) == 0 {
					b.end(ReasonLogout)
				}
				b.j.Session = sessionstate.SessionID{} // now and then the cookie is lost
			}
			for _, s := range b.rec.Sessions {
				if ended[s.ID] && s.Ended == 0 {
					t.Fatalf("round %d: session %s lives again", round, s.ID)
				}
				ended[s.ID] = ended[s.ID] || s.Ended != 0
				for _, o := range s.Pending() {
					if o.Reason == "" || o.Due < s.Ended {
						t.Fatalf("round %d: notice %+v", round, o)
					}
				}
			}
			b.sound()
		}
	}
}
