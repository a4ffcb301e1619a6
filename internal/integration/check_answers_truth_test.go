package integration

import (
	"slices"
	"time"
)

// A truth is what is so at the OP, in one browser: who is signed in, and which response was for whom. It decides what a check must
// say. What the OP tells nobody cannot be known behind it; the exceptions are those of the README.
type truth struct {
	traits traits
	hidden bool // the browser shows the check page no cookie

	epoch     int      // grows with each change of who is signed in
	active    string   // the user of the latest sign-in; empty: nobody
	accounts  []string // all who are signed in
	deleted   time.Time
	through   int       // the last epoch that the latest deletion of the login cookie ended
	lost      time.Time // when the registry was lost last
	responses []*response
}

// A response is one authorization response, as the OP knows it.
type response struct {
	client, user string // user is empty for an error
	epoch        int
	silent       bool
	made, known  time.Time // known: when the plugin saw an ID token for it; zero: it did not
	nobody       bool      // nobody was signed in
}

// signedIn notes that user signed in, or was chosen of several who are.
func (h *truth) signedIn(user string) {
	if user != h.active {
		h.epoch++
	}
	h.active = user
	if !h.traits.manyAccounts {
		h.accounts = nil
	}
	if !slices.Contains(h.accounts, user) {
		h.accounts = append(h.accounts, user)
	}
}

// cookieDeleted notes that the login cookie was deleted, which ended all up to an epoch.
func (h *truth) cookieDeleted(at time.Time, ended int) { h.deleted, h.through = at, ended }

func (h *truth) signedOut() {
	if h.active != "" {
		h.epoch++
	}
	h.active, h.accounts = "", nil
}

// mayBeChanged reports whether `changed` is right, if the page asked the server for the last time at the given time.
func (h *truth) mayBeChanged(r *response, asked, now time.Time) bool {
	return r.epoch != h.epoch || now.Sub(h.began(r)) >= defaultLifetime || h.mayFollow(r, asked)
}

// mayFollow reports whether a response may get `changed` once on account of a switch before it, which was known, or reached the
// browser's cookies, after it only. Exceptions: the session_state of an error is over what the browser had then; an account
// that is held beside others is known from its first ID token on; subs that cannot be compared, and codes that are not redeemed
// yet, leave open whom a client in between was given; and after the loss of the registry nobody knows on which side of the switch a
// response was.
func (h *truth) mayFollow(r *response, asked time.Time) bool {
	return slices.ContainsFunc(h.responses, func(f *response) bool {
		switch {
		case r.user == "" && !r.nobody:
			return true
		case f.known.IsZero():
			return false
		case r.user == "":
			return true
		case f.user != r.user && r.made.Before(h.lost):
			return true
		case !f.known.After(r.made):
			return false
		}
		return r.known.IsZero() || asked.Before(r.known) || h.traits.manyAccounts && f.user != r.user || h.isSwitch(f) && f.client != r.client
	})
}

// isSwitch reports whether a response was for another user than an earlier one for the same client, whose subs are its own.
func (h *truth) isSwitch(f *response) bool {
	return h.traits.pairwise && slices.ContainsFunc(h.responses, func(e *response) bool {
		return e.client == f.client && e.user != f.user && !e.known.IsZero()
	})
}

// began is when the first response of an epoch was made.
func (h *truth) began(r *response) time.Time {
	for _, f := range h.responses {
		if f.epoch == r.epoch {
			return f.made
		}
	}
	return r.made
}

// mayBeUnchanged reports whether `unchanged` is right for a page that asked the server for the last time at the given time.
func (h *truth) mayBeUnchanged(r *response, asked time.Time) bool {
	switch {
	case r.user == "": // where the OP's sign-out is not seen, the browser's state stays what it was
		return !r.nobody || h.active == "" || h.unseen() || !h.signInSeen(r)
	case r.made.After(h.lost) && !asked.Before(r.made.Add(h.longest(r, asked))):
		return false
	case !h.deleted.IsZero() && r.epoch <= h.through: // the cookie says so at once, where it can be seen
		return h.hidden && asked.Before(h.deleted)
	}
	seen, known := h.switchSeen(r)
	return !known || asked.Before(seen)
}

// signInSeen reports whether a sign-in after a response, and after the latest sign-out, was seen: one that takes more than an hour, or
// begins before eight others do, is not.
func (h *truth) signInSeen(r *response) bool {
	return slices.ContainsFunc(h.responses, func(f *response) bool { return f.user != "" && f.epoch > max(r.epoch, h.through) })
}

// unseen reports whether the OP signs users out without a trace.
func (h *truth) unseen() bool { return h.traits.signOut == byNothing || h.traits.cookie == neverSet }

// switchSeen returns since when it is known that another user signed in after a response. Exceptions: its own user is signed in (again),
// or may be, beside others; neither code was redeemed through the plugin in time; the clients cannot be compared; the registry
// was lost in between.
func (h *truth) switchSeen(r *response) (seen time.Time, known bool) {
	if r.epoch == h.epoch || h.traits.manyAccounts || r.known.IsZero() || slices.Contains(h.accounts, r.user) || r.made.Before(h.lost) {
		return seen, false
	}
	for _, f := range h.responses {
		if f.epoch <= r.epoch || f.user == r.user || f.known.IsZero() || !h.comparable(f, r) || h.undone(r, f) {
			continue
		}
		at := f.known
		if r.known.After(at) {
			at = r.known
		}
		if !known || at.Before(seen) {
			seen, known = at, true
		}
	}
	return seen, known
}

func (h *truth) comparable(f, r *response) bool { return f.client == r.client || !h.traits.pairwise }

// undone reports whether a later response f says nothing against r. Exceptions: the user of r was known to be back before f was known;
// or the two may be beside each other.
func (h *truth) undone(r, f *response) bool {
	return f.silent || slices.ContainsFunc(h.responses, func(g *response) bool {
		back := g.user == r.user && g.epoch > f.epoch && g.known.Before(f.known)
		beside := (g.user == r.user || g.user == f.user) && (g.made.Before(f.made) || g.known.Before(f.known)) && h.maybeBeside(g)
		return !g.known.IsZero() && (back || beside)
	})
}

// maybeBeside reports whether a silent response is for a user who was there before another: an OP that holds several accounts at once
// may have answered for it beside that other, and it looks like one that does not.
func (h *truth) maybeBeside(g *response) bool {
	return g.silent && slices.ContainsFunc(h.responses, func(e *response) bool {
		return !e.known.IsZero() && e.user != g.user && e.made.Before(g.made)
	})
}

// longest is how long after a response its session may seem to last. Of one that is not recorded,
// servers whose clocks differ by up to a minute do not say that it has expired.
func (h *truth) longest(r *response, asked time.Time) time.Duration {
	if r.forgotten(asked) {
		return defaultLifetime + time.Minute
	}
	return defaultLifetime
}

// mayBeSilent reports whether no reply is right: neither the server nor a cookie knows anything.
func (h *truth) mayBeSilent(r *response, state string, now time.Time) bool {
	return state == "" && (r.user == "" || r.made.Before(h.lost) || r.forgotten(now))
}

// forgotten reports whether the server has forgotten the session of a response: it does when it has
// observed no user of it for ten minutes.
func (r *response) forgotten(now time.Time) bool {
	return r.known.IsZero() && now.Sub(r.made) >= 10*time.Minute
}
