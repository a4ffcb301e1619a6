package registry

import (
	"math/rand/v2"
	"slices"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// A PendingNotice is a notice, with all that its delivery needs.
//
// One with a Sid ends what the client has of that sid; without one, it ends all of the user's
// sessions at that client (Back-Channel Logout 1.0, section 2.4). When a session ended by
// [ReasonExpiry] or [ReasonUserSwitch], nobody wanted the user to be signed out of what another
// session, which lives, has set up there. The same holds for a notice without a sid of a code that
// was redeemed after its session had ended. Such a notice is claimed only after a look at the
// user's other sessions ([holding]).
type PendingNotice struct {
	Notice

	Issuer   string
	Session  sessionstate.SessionID
	Reason   Reason // why the session ended
	ClientID string
	Sub      string
	Sid      string // empty: the client's ID tokens had none, or it knows none of that name
	IDToken  IDToken
}

// ID returns the name of the notice.
func (o PendingNotice) ID() NoticeID { return NameNotice(o.Session, o.ClientID, o.Sub, o.Sid) }

// An Outcome is what became of a claimed notice: it was delivered; or it is given up (Dead); or it
// is due again at Due, of which the attempt counts unless Attempts is as before.
type Outcome struct {
	Notice PendingNotice // as it was claimed

	Delivered  bool
	Dead       bool
	WithoutSid bool // its client is to be notified without the sid
	Due        Time
	Attempts   int
	Why        string // at most [MaxWhy] bytes; more is cut off
}

// eachNotice calls visit with each notice that the session owes.
func (s *Session) eachNotice(visit func(*Client, *Subject)) {
	for _, client := range s.Clients {
		for _, subject := range client.Subjects {
			if subject.Notice != nil {
				visit(client, subject)
			}
		}
	}
}

func (s *Session) describe(client *Client, subject *Subject) PendingNotice {
	o := PendingNotice{
		Notice: *subject.Notice, Issuer: s.Issuer, Session: s.ID, Reason: s.Reason,
		ClientID: client.ID, Sub: subject.Sub, Sid: subject.Sid, IDToken: client.IDToken,
	}
	if subject.Notice.WithoutSid {
		o.Sid = ""
	}
	return o
}

// Pending lists what the session owes.
func (s *Session) Pending() (all []PendingNotice) {
	s.eachNotice(func(client *Client, subject *Subject) {
		all = append(all, s.describe(client, subject))
	})
	return all
}

// Leased lists what the server owes that has ended the session, and delivers at once. What had to
// be looked at first is not among it: [Registry.Claim] returns that.
func (s *Session) Leased() []PendingNotice {
	return slices.DeleteFunc(s.Pending(), func(o PendingNotice) bool {
		return o.Lease == 0 || o.isPassive()
	})
}

// isPassive reports whether a notice must not end what another session has set up.
func (o PendingNotice) isPassive() bool {
	return o.Reason == ReasonExpiry || o.Reason == ReasonUserSwitch || o.Late && o.Sid == ""
}

// A holding says what stands against a passive notice. The zero value says that nothing was looked
// at.
type holding struct {
	looked bool
	// another session holds the same client, sub and sid: its end brings an equal notice
	equal bool
	// another session holds the sub with a sid, and this notice has none; zero: none does
	until Time
}

// consider adds what another session of the same user says.
func (h *holding) consider(o PendingNotice, other *Session, now Time) {
	if other.ID == o.Session || other.Silent || !other.Live(now) {
		return
	}
	client := other.Client(o.ClientID)
	if client == nil {
		return
	}
	for _, subject := range client.Subjects {
		switch {
		case subject.Sub != o.Sub:
		case subject.Sid == o.Sid:
			h.equal = true
		case o.Sid == "":
			h.until = max(h.until, min(other.Expires, now.Add(heldInterval)))
		}
	}
}

// newToken draws what tells one lease from another: not a secret.
func newToken() uint64 { return rand.Uint64() | 1 } //nolint:gosec // see above

// claim returns the notices that are due, which are claimed until the lease expires. Of a passive
// one that was not looked at, nothing is known yet: it stays due.
func (r *record) claim(
	now, lease Time, holdings map[NoticeID]holding, token uint64,
) (claimed []PendingNotice) {
	for _, session := range r.Sessions {
		session.eachNotice(func(client *Client, subject *Subject) {
			n := subject.Notice
			if n.Dead() || n.Due > now {
				return
			}
			o := session.describe(client, subject)
			if o.isPassive() {
				h := holdings[o.ID()]
				switch {
				case !h.looked:
					return
				case h.equal:
					subject.Notice = nil
					return
				case h.until != 0:
					n.Due = h.until
					return
				}
			}
			n.Due, n.Lease = lease, token
			o.Notice = *n
			claimed = append(claimed, o)
		})
	}
	return claimed
}

// lease takes the first lease of what sessions that have just ended owe, unless it needs a look
// first or is due later.
func lease(sessions []*Session, now, until Time, token uint64) {
	for _, session := range sessions {
		session.eachNotice(func(client *Client, subject *Subject) {
			if n := subject.Notice; n.Due <= now && !session.describe(client, subject).isPassive() {
				n.Due, n.Lease = until, token
			}
		})
	}
}

// recordOutcomes records what became of claimed notices. A delivery counts even if the notice was
// claimed anew since, unless it is owed anew; all else counts only from the holder of the lease.
func (r *record) recordOutcomes(outcomes []Outcome, now Time) {
	for _, outcome := range outcomes {
		session := r.session(outcome.Notice.Session)
		if session == nil {
			continue
		}
		session.eachNotice(func(client *Client, subject *Subject) {
			o, of := session.describe(client, subject), outcome.Notice
			if o.ClientID == of.ClientID && o.Sub == of.Sub && o.Sid == of.Sid {
				subject.recordOutcome(outcome, now)
			}
		})
	}
}

func (s *Subject) recordOutcome(outcome Outcome, now Time) {
	n := s.Notice
	switch {
	case outcome.Delivered && n.Until == outcome.Notice.Until:
		s.Notice = nil
		return
	case outcome.Delivered, n.Dead() || n.Lease != outcome.Notice.Lease:
		return
	case outcome.Dead:
		n.Due, n.Until = 0, now.Add(DeadLetterLifetime)
	default:
		n.Due = max(outcome.Due, 1)
	}
	n.Lease = 0
	n.Attempts, n.Why = outcome.Attempts, outcome.Why[:min(len(outcome.Why), MaxWhy)]
	n.WithoutSid = n.WithoutSid || outcome.WithoutSid
}
