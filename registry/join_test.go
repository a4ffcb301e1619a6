package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func TestJoin(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"a browser without a session starts one": func(b *browser) {
			s := b.session(b.join("shop").session)
			equal(b, "created", s.Created, start)
			equal(b, "expires", s.Expires, start+hour)
			equal(b, "limit", s.Limit, start+hour)
			equal(b, "forgotten", s.Forgotten, start.Add(CodeLifetime))
			equal(b, "issuer", s.Issuer, issuer)
			equal(b, "clients", people(s), "shop")
		},
		"a live session is continued": func(b *browser) {
			first := b.join("shop")
			b.now += 5 * minute
			equal(b, "session", b.join("wiki").session, first.session)
			equal(b, "clients", people(b.session(first.session)), "shop, wiki")
		},
		"a session lives until Expires exactly": func(b *browser) {
			first := b.signIn("alice")
			b.now = first.Expires - 1
			equal(b, "before", b.join("shop").session, first.ID)
			equal(b, "at Expires", b.join("shop").session == first.ID, false)
			equal(b, "reason", first.Reason, ReasonExpiry)
		},
		"an ended session is not continued": func(b *browser) {
			first := b.join("shop")
			b.end(ReasonLogout)
			equal(b, "continued", b.join("shop").session == first.session, false)
		},
		"the last of many successors is continued": func(b *browser) {
			first := b.signIn("user")
			for i := range 20 {
				b.signIn(fmt.Sprint("user ", i))
			}
			last := b.rec.Sessions[len(b.rec.Sessions)-1].ID
			b.j.Session = first.ID
			equal(b, "session", b.join("shop").session, last)
		},
		"a dead last successor is not continued": func(b *browser) {
			first := b.signIn("alice")
			b.signIn("bob")
			b.end(ReasonLogout)
			b.j.Session = first.ID
			joined := b.join("shop").session
			equal(b, "sessions", len(b.rec.Sessions), 3)
			equal(b, "a fresh one", joined, b.rec.Sessions[2].ID)
		},
		"a session of which nothing is recorded goes on under its ID": func(b *browser) {
			b.j.Session = b.fresh() // the registry was unavailable, or lost it
			lost := b.j.Session
			equal(b, "session", b.join("shop").session, lost)
		},
		"a session of another browser is not continued": func(b *browser) {
			foreign := drawID(PlaceOf(issuer, sessionstate.BrowserID{9}))
			b.j.Session = foreign
			equal(b, "continued", b.join("shop").session == foreign, false)
		},
		"clients and origins are there once": func(b *browser) {
			for _, client := range []string{"wiki", "app", "wiki"} {
				b.j.Origin = "https://" + client + ".example.com"
				b.join(client)
			}
			b.j.Origin = ""
			b.join("app")
			b.j.Origin = "https://m.app.example.com"
			s := b.session(b.join("app").session)
			equal(b, "clients", people(s), "wiki, app")
			equal(b, "origins", strings.Join(s.Client("app").Origins, " "), "https://app.example.com https://m.app.example.com")
		},
		"origins and clients over their bounds are not recorded, and the latter is said": func(b *browser) {
			for i := range MaxOrigins + 3 {
				b.j.Origin = fmt.Sprintf("https://shop%d.example.com", i)
				b.join("shop")
			}
			s := b.session(b.j.Session)
			equal(b, "origins", len(s.Clients[0].Origins), MaxOrigins)
			for i := range MaxClients - 1 {
				equal(b, "full", b.join(fmt.Sprint(i)).full, false)
			}
			equal(b, "full", b.join("last").full, true)
			equal(b, "clients", len(s.Clients), MaxClients)
		},
		"a browser that starts more sessions than it may have loses the oldest": func(b *browser) {
			var ids []sessionstate.SessionID
			for i := range MaxBrowserSessions + 3 {
				b.j.Session, b.j.Sub, b.j.Sid = sessionstate.SessionID{}, "alice", fmt.Sprint(i)
				ids = append(ids, b.join("shop").session)
			}
			for i, id := range ids {
				equal(b, fmt.Sprint(i, " lives"), b.session(id).Live(b.now), i >= 3)
			}
			equal(b, "owed", b.owed(), "shop alice 0 expiry, shop alice 1 expiry, shop alice 2 expiry")
			equal(b, "ended", len(b.end(ReasonLogout)), MaxBrowserSessions)
		},
		"sessions that have expired are none of those": func(b *browser) {
			b.j.Lifetime = time.Minute
			for range MaxBrowserSessions {
				b.j.Session = sessionstate.SessionID{}
				b.join("shop")
			}
			b.now, b.j.Lifetime = start+2*minute, time.Hour
			for range MaxBrowserSessions {
				b.j.Session = sessionstate.SessionID{}
				b.join("shop")
			}
			equal(b, "live", len(b.rec.live(b.now)), MaxBrowserSessions)
		},
		"the first response of an ID stays as it was": func(b *browser) {
			first := b.join("shop")
			b.ids--
			b.j.Session = sessionstate.SessionID{}
			b.join("wiki")
			equal(b, "responses", len(b.rec.Responses), 1)
			equal(b, "client", b.rec.response(first.response).ClientID, "shop")
			equal(b, "session", b.rec.response(first.response).Session, first.session)
		},
		"the order of responses is that of writes, though the clock goes back": func(b *browser) {
			alice := b.join("shop")
			b.now -= hour
			bob := b.join("shop")
			if made := b.rec.response(bob.response).Made; made <= b.rec.response(alice.response).Made {
				b.Errorf("the second response was made at %d", made)
			}
		},
	})
}

func TestIdleSessions(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"a session ends when it was not used for a while, and later when it was": func(b *browser) {
			b.j.Idle, b.d.Idle = 10*time.Minute, 10*time.Minute
			s := b.signIn("alice")
			equal(b, "expires", s.Expires, start+10*minute)
			equal(b, "limit", s.Limit, start+hour)
			b.now = start + 9*minute
			b.join("shop")
			equal(b, "expires later", s.Expires, start+19*minute)
			equal(b, "too early", len(b.tidy(19*minute-1)), 0)
			b.tidy(19 * minute)
			equal(b, "owed", b.owed(), "shop alice sid of alice expiry")
		},
		"no use makes it last longer than its limit": func(b *browser) {
			b.j.Idle = 40 * time.Minute
			s := b.signIn("alice")
			b.now = start + 30*minute
			b.join("shop")
			equal(b, "expires", s.Expires, s.Limit)
		},
		"without an idle timeout it lasts until its limit again": func(b *browser) {
			b.j.Idle = time.Minute
			s := b.signIn("alice")
			b.j.Idle = 0
			b.join("shop")
			equal(b, "expires", s.Expires, s.Limit)
		},
		"a successor begins to be idle when it starts": func(b *browser) {
			b.d.Idle = 10 * time.Minute
			b.signIn("alice")
			bob := b.signIn("bob")
			equal(b, "expires", bob.Expires, b.now+10*minute)
			equal(b, "limit", bob.Limit, b.now+hour)
		},
	})
}

func TestCodesThatNobodyRedeems(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"their session is forgotten after ten minutes, and nobody is owed a notice": func(b *browser) {
			b.join("shop")
			b.tidy(10*minute - 1)
			equal(b, "sessions", len(b.rec.Sessions), 1)
			equal(b, "ended", len(b.tidy(10*minute)), 0)
			equal(b, "sessions", len(b.rec.Sessions)+len(b.rec.Responses), 0)
		},
		"each further response gives it ten minutes more": func(b *browser) {
			s := b.session(b.join("shop").session)
			b.now = start + 9*minute
			b.join("shop")
			equal(b, "forgotten", s.Forgotten, start+19*minute)
		},
		"once one is redeemed it lasts for its lifetime": func(b *browser) {
			s := b.signIn("alice")
			b.now = start + 5*minute
			b.join("shop")
			equal(b, "forgotten", s.Forgotten, 0)
			b.tidy(hour - 1)
			equal(b, "lives", s.Live(b.now), true)
		},
		"a response with a subject counts as redeemed": func(b *browser) {
			b.join("shop")
			b.j.Sub = "alice"
			equal(b, "forgotten", b.session(b.join("shop").session).Forgotten, 0)
		},
		"a response without a code leaves nothing to redeem": func(b *browser) {
			first := b.session(b.join("shop").session)
			b.j.Complete = true
			p := b.join("shop")
			equal(b, "forgotten", first.Forgotten, 0)
			equal(b, "redeemed", b.rec.response(p.response).Redeemed, b.rec.response(p.response).Made)
			b.j.Session = sessionstate.SessionID{}
			equal(b, "a session it starts is forgotten", b.session(b.join("shop").session).Forgotten, 0)
			b.tidy(hour - 1)
			equal(b, "sessions", len(b.rec.live(b.now)), 2)
		},
		"a code beside an ID token is to be redeemed still": func(b *browser) {
			b.j.Sub = "alice"
			p := b.join("shop")
			equal(b, "before", b.rec.response(p.response).Redeemed, 0)
			b.redeem(p, "alice", "")
			equal(b, "redeemed", b.rec.response(p.response).Redeemed > b.rec.response(p.response).Made, true)
		},
		"a session that was forgotten goes on under its ID when its browser comes back": func(b *browser) {
			first := b.join("shop")
			b.tidy(30 * minute)
			again := b.join("shop")
			equal(b, "session", again.session, first.session)
			s, _ := b.redeem(again, "alice", "")
			equal(b, "redeemed", s.ID, first.session)
		},
		"one that ended is known as such for as long as its browser may hold it": func(b *browser) {
			first := b.join("shop")
			b.end(ReasonLogout)
			b.tidy(hour)
			equal(b, "reason", b.session(first.session).Reason, ReasonLogout)
			equal(b, "continued", b.join("shop").session == first.session, false)
			b.tidy(hour + 10*minute)
			equal(b, "recorded", b.rec.session(first.session) != nil, false)
		},
		"clients with such codes give way to one that redeems its own": func(b *browser) {
			first := b.join("first")
			b.redeem(first, "alice", "")
			for i := range MaxClients - 1 {
				b.join(fmt.Sprint("registered ", i))
			}
			s, full := b.redeem(b.join("shop"), "alice", "")
			equal(b, "full", full, false)
			equal(b, "clients", len(s.Clients), MaxClients)
			equal(b, "origins", strings.Join(s.Client("shop").Origins, " "), "https://shop.example.com")
			b.end(ReasonLogout)
			equal(b, "owed", b.owed(), "first alice  logout, shop alice  logout")
		},
	})
}

func TestSubjectsInResponses(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"the subject is recorded at once": func(b *browser) {
			b.j.Sub, b.j.Sid = "alice", "1"
			p := b.join("shop")
			equal(b, "clients", people(b.session(p.session)), "shop alice/1")
			s, _ := b.redeem(p, "alice", "1")
			equal(b, "session", s.ID, p.session)
		},
		"another user switches at once": func(b *browser) {
			alice := b.signIn("alice")
			b.j.Sub = "bob"
			p := b.join("shop")
			equal(b, "predecessor", b.session(p.session).Predecessor, alice.ID)
			equal(b, "reason", alice.Reason, ReasonUserSwitch)
			s, _ := b.redeem(p, "bob", "")
			equal(b, "session by the code", s.ID, p.session)
			equal(b, "sessions", len(b.rec.Sessions), 2)
		},
		"another user in the first response of a session does not end it twice": func(b *browser) {
			b.j.Sub, b.d.AcrossClients, b.j.AcrossClients = "alice", true, true
			b.join("shop")
			b.j.Sub = "bob"
			bob := b.session(b.join("wiki").session)
			equal(b, "bob's", people(bob), "wiki bob")
			equal(b, "owed", b.owed(), "shop alice  user_switch")
		},
	})
}

var long = strings.Repeat("x", MaxString+1)

func TestBounds(t *testing.T) {
	b := newBrowser(t)
	for name, change := range map[string]func(*Join){
		"no issuer":        func(j *Join) { j.Issuer = "" },
		"long issuer":      func(j *Join) { j.Issuer = long },
		"no client ID":     func(j *Join) { j.ClientID = "" },
		"long client ID":   func(j *Join) { j.ClientID = long },
		"long origin":      func(j *Join) { j.Origin = long },
		"long sub":         func(j *Join) { j.Sub = long },
		"long sid":         func(j *Join) { j.Sid = long },
		"no browser":       func(j *Join) { j.Browser = sessionstate.BrowserID{} },
		"no lifetime":      func(j *Join) { j.Lifetime = 0 },
		"long token iss":   func(j *Join) { j.IDToken.Issuer = long[:MaxIDTokenIssuer+1] },
		"long algorithm":   func(j *Join) { j.IDToken.Algorithm = long[:MaxAlgorithm+1] },
		"less than 1 ms":   func(j *Join) { j.Lifetime = time.Millisecond - 1 },
		"several mistakes": func(j *Join) { j.Issuer, j.ClientID = "", "" },
	} {
		j := b.j
		change(&j)
		if err := j.check(); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnavailable) {
			t.Errorf("Join with %s: error is %v", name, err)
		}
	}
	for name, change := range map[string]func(*Redemption){
		"long issuer": func(d *Redemption) { d.Issuer = long },
		"no sub":      func(d *Redemption) { d.Sub = "" },
		"long sub":    func(d *Redemption) { d.Sub = long },
		"long sid":    func(d *Redemption) { d.Sid = long },
		"no lifetime": func(d *Redemption) { d.Lifetime = -time.Second },
		"long iss":    func(d *Redemption) { d.IDToken.Issuer = long[:MaxIDTokenIssuer+1] },
	} {
		d := b.d
		d.Sub = "alice"
		change(&d)
		if err := d.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("Redemption with %s: error is %v", name, err)
		}
	}
	longest := b.j
	longest.Issuer, longest.ClientID, longest.Origin, longest.Sub, longest.Sid = long[1:], long[1:], long[1:], long[1:], long[1:]
	if err := longest.check(); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

func TestASessionIDLeadsToItsRecord(t *testing.T) {
	one, other := sessionstate.BrowserID{1}, sessionstate.BrowserID{2}
	id, again := NewSessionID(issuer, one), NewSessionID(issuer, one)
	equal(t, "place", PlaceOfSession(id), PlaceOf(issuer, one))
	equal(t, "drawn twice", id == again, false)
	places := []Place{PlaceOf(issuer, one), PlaceOf(issuer, other), PlaceOf(issuer+"/tenant", one)}
	for i, place := range places {
		equal(t, "index", slices.Index(places, place), i)
	}
}
