package registry

import (
	"strings"
	"testing"
)

// ended is the one session of alice at the shop, ended at the start.
func (b *browser) ended(reason Reason, sid string) *Session {
	s, _ := b.redeem(b.join("shop"), "alice", sid)
	b.rec.end(s, reason, b.tick())
	return s
}

// claim claims what is due, of which nothing is known that stands against it.
func (b *browser) claim(token uint64) []PendingNotice {
	holdings := make(map[NoticeID]holding)
	for _, s := range b.rec.Sessions {
		for _, o := range s.Pending() {
			holdings[o.ID()] = holding{looked: true}
		}
	}
	now := b.tick()
	return b.rec.claim(now, now.Add(Lease), holdings, token)
}

func TestClaims(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"what is claimed is claimed once until the lease expires": func(b *browser) {
			b.ended(ReasonLogout, "1")
			equal(b, "claimed", len(b.claim(1)), 1)
			b.now += 30*second - 2
			equal(b, "again", len(b.claim(2)), 0)
			b.now += 2
			equal(b, "taken over", len(b.claim(3)), 1)
		},
		"a lease stands in the record": func(b *browser) {
			b.ended(ReasonLogout, "1")
			claimed := b.claim(7)
			value, err := encode(b.rec)
			if err != nil {
				b.Fatal(err)
			}
			if b.rec, err = decodeRecord(value); err != nil {
				b.Fatal(err)
			}
			equal(b, "claimed by another server", len(b.claim(8)), 0)
			equal(b, "lease", b.rec.Sessions[0].Pending()[0].Lease, claimed[0].Lease)
		},
		"who ends a session has the first lease, but not of what needs a look or is due later": func(b *browser) {
			for reason, want := range map[Reason]bool{
				ReasonLogout: true, ReasonLoginCookie: true, ReasonOPEnded: true, ReasonOperator: true,
				ReasonExpiry: false, ReasonUserSwitch: false,
			} {
				s := b.ended(reason, "1")
				lease([]*Session{s}, b.now, b.now.Add(Lease), 5)
				o := s.Pending()[0]
				equal(b, string(reason), o.Lease == 5 && o.Due == b.now.Add(Lease), want)
			}
			s := b.ended(ReasonLogout, "1")
			s.Clients[0].Subjects[0].Notice.Due = b.now + minute
			lease([]*Session{s}, b.now, b.now.Add(Lease), 5)
			equal(b, "asked", s.Pending()[0].Lease, 0)
		},
		"who gets new tokens while its notice is under way is notified anew": func(b *browser) {
			s := b.ended(ReasonLogout, "1")
			first := b.claim(1)[0]
			s.Clients[0].Subjects[0].enqueue(b.tick(), true)
			b.rec.recordOutcomes([]Outcome{{Notice: first, Delivered: true}}, b.tick())
			again := b.claim(2)
			equal(b, "claimed anew", len(again), 1)
			b.rec.recordOutcomes([]Outcome{{Notice: again[0], Delivered: true}}, b.tick())
			equal(b, "owed", len(s.Pending()), 0)
		},
		"what was put off is nobody's": func(b *browser) {
			s := b.ended(ReasonLogout, "1")
			b.rec.recordOutcomes([]Outcome{{Notice: b.claim(1)[0], Due: b.now + minute}}, b.now)
			equal(b, "lease", s.Pending()[0].Lease, 0)
		},
		"what was delivered is, whoever has the lease; for all else only its holder's word counts": func(b *browser) {
			s := b.ended(ReasonLogout, "1")
			first := b.claim(1)[0]
			b.now += 31 * second
			holder := b.claim(2)[0]
			b.rec.recordOutcomes([]Outcome{{Notice: first, Dead: true, Why: "stopped"}}, b.now)
			equal(b, "given up by another", s.Pending()[0].Dead(), false)
			b.rec.recordOutcomes([]Outcome{{Notice: first, Due: 1, Attempts: 5}}, b.now)
			equal(b, "put off by another", s.Pending()[0].Attempts, 0)
			b.rec.recordOutcomes([]Outcome{{Notice: holder, Due: b.now + minute, Attempts: 1, Why: "status 503"}}, b.now)
			equal(b, "put off by the holder", s.Pending()[0].Due, b.now+minute)
			equal(b, "why", s.Pending()[0].Why, "status 503")
			b.rec.recordOutcomes([]Outcome{{Notice: first, Delivered: true}}, b.now)
			equal(b, "delivered by another", len(s.Pending()), 0)
		},
		"the dead do not come back": func(b *browser) {
			s := b.ended(ReasonLogout, "1")
			o := b.claim(1)[0]
			settled := b.now
			b.rec.recordOutcomes([]Outcome{{Notice: o, Dead: true, Attempts: 3, Why: strings.Repeat("x", MaxWhy+1)}}, b.now)
			b.rec.recordOutcomes([]Outcome{{Notice: o, Due: b.now}}, b.now)
			b.now += hour
			equal(b, "claimed", len(b.claim(2)), 0)
			equal(b, "dead", s.Pending()[0].Dead(), true)
			equal(b, "why", len(s.Pending()[0].Why), MaxWhy)
			equal(b, "until", s.Pending()[0].Until, settled.Add(DeadLetterLifetime))
		},
		"what is settled of a session that is not recorded is lost": func(b *browser) {
			s := b.ended(ReasonLogout, "1")
			o := b.claim(1)[0]
			b.rec.Sessions = nil
			b.rec.recordOutcomes([]Outcome{{Notice: o, Delivered: true}}, b.now)
			equal(b, "sessions", len(b.rec.Sessions), 0)
			equal(b, "owed", len(s.Pending()), 1)
		},
		"a client that knows no such sid is notified of the sub alone": func(b *browser) {
			s := b.ended(ReasonUserSwitch, "1")
			o := b.claim(1)[0]
			b.rec.recordOutcomes([]Outcome{{Notice: o, WithoutSid: true, Due: b.now}}, b.now)
			equal(b, "sid", s.Pending()[0].Sid, "")
			equal(b, "ID", s.Pending()[0].ID(), NameNotice(s.ID, "shop", "alice", ""))
			again := b.claim(2)[0]
			b.rec.recordOutcomes([]Outcome{{Notice: again, Delivered: true}}, b.now)
			equal(b, "owed", len(s.Pending()), 0)
		},
		"what needs a look is not claimed before it": func(b *browser) {
			b.ended(ReasonExpiry, "1")
			now := b.tick()
			equal(b, "claimed", len(b.rec.claim(now, now.Add(Lease), nil, 1)), 0)
			equal(b, "still due", b.rec.Sessions[0].Pending()[0].Due < now, true)
		},
	})
}

func TestWhichNoticesNeedALook(t *testing.T) {
	for name, row := range map[string]struct {
		owed    PendingNotice
		passive bool
	}{
		"a sign-out":                         {PendingNotice{Reason: ReasonLogout, Sid: "1"}, false},
		"a sign-out, without a sid":          {PendingNotice{Reason: ReasonLogout}, false},
		"the OP's word":                      {PendingNotice{Reason: ReasonOPEnded}, false},
		"an operator":                        {PendingNotice{Reason: ReasonOperator}, false},
		"expiry":                             {PendingNotice{Reason: ReasonExpiry, Sid: "1"}, true},
		"user switch":                        {PendingNotice{Reason: ReasonUserSwitch, Sid: "1"}, true},
		"a late code of a sign-out":          {PendingNotice{Reason: ReasonLogout, Sid: "1", Notice: Notice{Late: true}}, false},
		"a late code of it, without its sid": {PendingNotice{Reason: ReasonLogout, Notice: Notice{Late: true}}, true},
	} {
		equal(t, name, row.owed.isPassive(), row.passive)
	}
}

// TestWhatStandsAgainstAPassiveNotice: another session of the same user.
func TestWhatStandsAgainstAPassiveNotice(t *testing.T) {
	other := func(client, sub, sid string) *Session {
		return &Session{ID: [16]byte{2}, Expires: start + 2*hour, Clients: []*Client{{ID: client, Subjects: []*Subject{{Sub: sub, Sid: sid}}}}}
	}
	changed := func(s *Session, change func(*Session)) *Session {
		change(s)
		return s
	}
	with, without := PendingNotice{Session: [16]byte{1}, ClientID: "shop", Sub: "alice", Sid: "1"}, PendingNotice{Session: [16]byte{1}, ClientID: "shop", Sub: "alice"}
	for name, row := range map[string]struct {
		owed  PendingNotice
		other *Session
		want  holding
	}{
		"the same sid":                    {with, other("shop", "alice", "1"), holding{equal: true}},
		"both without":                    {without, other("shop", "alice", ""), holding{equal: true}},
		"another sid":                     {with, other("shop", "alice", "2"), holding{}},
		"ours with, the other without":    {with, other("shop", "alice", ""), holding{}},
		"ours without, the other with":    {without, other("shop", "alice", "2"), holding{until: start + hour}},
		"another client":                  {without, other("wiki", "alice", "2"), holding{}},
		"another user":                    {without, other("shop", "bob", "2"), holding{}},
		"one that has ended":              {with, changed(other("shop", "alice", "1"), func(s *Session) { s.Ended = 1 }), holding{}},
		"one that has expired":            {with, changed(other("shop", "alice", "1"), func(s *Session) { s.Expires = start }), holding{}},
		"one whose end is not changed":    {with, changed(other("shop", "alice", "1"), func(s *Session) { s.Silent = true }), holding{}},
		"the same session":                {with, changed(other("shop", "alice", "1"), func(s *Session) { s.ID = [16]byte{1} }), holding{}},
		"one that expires within an hour": {without, changed(other("shop", "alice", "2"), func(s *Session) { s.Expires = start + minute }), holding{until: start + minute}},
	} {
		var h holding
		h.consider(row.owed, row.other, start)
		equal(t, name, h, row.want)
	}
	browsers(t, map[string]func(*browser){
		"an equal one drops it": func(b *browser) {
			s := b.ended(ReasonExpiry, "1")
			o := s.Pending()[0]
			now := b.tick()
			b.rec.claim(now, now.Add(Lease), map[NoticeID]holding{o.ID(): {looked: true, equal: true}}, 1)
			equal(b, "owed", len(s.Pending()), 0)
		},
		"one with a sid puts it off, which is no try": func(b *browser) {
			s := b.ended(ReasonExpiry, "")
			o := s.Pending()[0]
			now := b.tick()
			b.rec.claim(now, now.Add(Lease), map[NoticeID]holding{o.ID(): {looked: true, until: now + hour}}, 1)
			equal(b, "due", s.Pending()[0].Due, now+hour)
			equal(b, "attempts", s.Pending()[0].Attempts, 0)
		},
	})
}

func TestShrinking(t *testing.T) {
	browsers(t, map[string]func(*browser){
		"all but the last responses whose codes nobody has redeemed go, with their clients": func(b *browser) {
			first := b.join("first")
			b.redeem(first, "alice", "")
			for range 20 {
				b.join("page")
			}
			for range fewResponses {
				b.join("shop")
			}
			b.rec.shrink()
			equal(b, "responses", len(b.rec.Responses), 1+fewResponses)
			equal(b, "the redeemed one", b.rec.response(first.response) != nil, true)
			equal(b, "clients", people(b.rec.Sessions[0]), "first alice, shop")
		},
	})
}
