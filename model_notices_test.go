package oidcsession

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// modelSettings are those of the site of random sequences: all of its clients can be told by back channel.
var modelSettings = map[string]any{
	"backchannel_logout": map[string]any{"redirect_wait": "1ms"}, // nobody delivers while a browser waits
	"clients": []map[string]any{
		{"client_id": "rp0", "backchannel_logout_uri": "https://rp0.example/back"},
		{"client_id": "rp1", "backchannel_logout_uri": "https://rp1.example/back"},
		{"client_id": "rp2", "backchannel_logout_uri": "https://rp2.example/back"},
	},
}

// A toldNotice is a notice that was delivered.
type toldNotice struct {
	registry.Owed

	at time.Time
}

// identified notes that the plugin saw an ID token of the response.
func (r *response) identified(idToken string, at time.Time) {
	var claims struct {
		Sub string `json:"sub"`
		Sid string `json:"sid"`
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(idToken, ".")[1])
	_ = json.Unmarshal(payload, &claims)
	r.sub, r.sid, r.latest = claims.Sub, claims.Sid, at
	if r.known.IsZero() {
		r.known = at
	}
}

// names reports whether a notice is about what the response's ID token named.
func (r *response) names(n registry.Owed) bool {
	return !r.known.IsZero() && n.ClientID == r.client && n.Sub == r.sub && n.Sid == r.sid
}

// deliver has what is past its time ended, delivers what is owed then, and compares that with the truth.
func (w *modelWorld) deliver() {
	if w.wrong != "" {
		return
	}
	now := w.clock.Now()
	w.settle(w.claim())
	w.clock.advance(2 * time.Second) // what ended by that claim is listed again
	if w.settle(w.claim()); w.wrong == "" {
		w.wrong = w.tooLittle(now)
	}
}

// claim takes what is owed: what is due, and what the server that ended a session had the first lease of.
func (w *modelWorld) claim() (due []registry.Owed) {
	ctx := w.t.Context()
	for none := false; !none; {
		some, nothing, err := w.app.registry.Claim(ctx, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		due, none = append(due, some...), nothing
	}
	owing, _, err := w.app.registry.Owing(ctx, "", 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, session := range owing {
		for _, n := range session.Owed() {
			if n.Lease != 0 && !slices.ContainsFunc(due, func(o registry.Owed) bool { return o.ID() == n.ID() }) {
				due = append(due, n)
			}
		}
	}
	return due
}

// settle delivers what was claimed, and compares that with the truth.
func (w *modelWorld) settle(due []registry.Owed) {
	now := w.clock.Now()
	var outcomes []registry.Outcome
	for _, n := range due {
		w.note("  told: %s of %s %.4s, %s", n.ClientID, n.Sub, n.Sid, n.Reason)
		if w.wrong == "" {
			w.wrong = w.tooMuch(n, now)
		}
		w.told = append(w.told, toldNotice{n, now})
		outcomes = append(outcomes, registry.Outcome{Owed: n, Delivered: true})
	}
	if err := w.app.registry.Settle(w.t.Context(), outcomes); err != nil {
		w.t.Fatal(err)
	}
}

// tooMuch tells why a notice should not be there; empty: it should.
//
// A client is told of a session once, and again only if it redeemed a code of it afterwards; and of a session that nobody wanted to
// end it is not told while the same sub and sid are signed in there by another.
func (w *modelWorld) tooMuch(n registry.Owed, now time.Time) string {
	h := w.truth
	if !slices.ContainsFunc(h.responses, func(r *response) bool { return r.names(n) }) {
		return fmt.Sprintf("%s is told of %s %s, whom it does not know", n.ClientID, n.Sub, n.Sid)
	}
	for _, before := range w.told {
		again := slices.ContainsFunc(h.responses, func(r *response) bool { return r.names(n) && !r.latest.Before(before.at) })
		if before.ID() == n.ID() && !again {
			return fmt.Sprintf("%s is told a second time of %s %s", n.ClientID, n.Sub, n.Sid)
		}
	}
	switch {
	case n.Reason != registry.ReasonExpiry && n.Reason != registry.ReasonUserSwitch:
		return ""
	case n.Reason == registry.ReasonUserSwitch && (h.traits.pairwise || h.traits.manyAccounts):
		// Whom a client in between was given is not known, or that the OP holds two accounts at once.
		return ""
	}
	for _, r := range h.responses {
		lives := r.epoch == h.epoch && h.active == r.user && r.made.After(h.lost) && now.Before(h.began(r).Add(sessionLifetime))
		if r.names(n) && lives {
			return fmt.Sprintf("%s is told of %s %s (%s), who is signed in there since epoch %d", n.ClientID, n.Sub, n.Sid, n.Reason, r.epoch)
		}
	}
	return ""
}

// tooLittle tells who should have been told by now; empty: nobody.
func (w *modelWorld) tooLittle(now time.Time) string {
	for _, r := range w.truth.responses {
		if !w.truth.isOver(r, now) || w.truth.goesOn(r, now) {
			continue
		}
		if !slices.ContainsFunc(w.told, func(n toldNotice) bool { return r.names(n.Owed) && !n.at.Before(r.latest) }) {
			return fmt.Sprintf("%s is not told of %s %s of epoch %d", r.client, r.sub, r.sid, r.epoch)
		}
	}
	return ""
}

// isOver reports whether it is known who a response was for, and that the session of it has ended. Exception: where subs cannot be compared,
// and codes are redeemed in another order than that of their responses, a switch can be known of one session and not of the next.
func (h *truth) isOver(r *response, now time.Time) bool {
	if r.known.IsZero() || r.made.Before(h.lost) {
		return false
	}
	seen, switched := h.switchSeen(r)
	switch {
	case !h.deleted.IsZero() && r.epoch <= h.through:
		return true
	case switched && !now.Before(seen) && !h.traits.pairwise:
		return true
	default:
		return now.Sub(r.made) >= sessionLifetime
	}
}

// goesOn reports whether what a response's ID token named is signed in by another session, as far as is known: what ends by itself is held
// back then, since the end of that one brings it.
func (h *truth) goesOn(r *response, now time.Time) bool {
	return slices.ContainsFunc(h.responses, func(f *response) bool {
		same := !f.known.IsZero() && f.client == r.client && f.sub == r.sub && f.sid == r.sid
		return same && f != r && !f.made.Before(h.lost) && !h.isOver(f, now)
	})
}
