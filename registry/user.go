package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// A Position is where a listing goes on; empty: at its beginning, or it is at its end.
type Position string

// User lists sessions of an End-User, those of 100 browsers a call, and where to go on; empty:
// these were the last. Ended ones of the last minutes are among them. They must not be changed.
func (r *Registry) User(
	ctx context.Context, issuer, sub string, after Position,
) ([]*Session, Position, error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	keys, next, err := r.browsersOf(ctx, store, issuer, sub, after)
	if err != nil {
		return nil, "", err
	}
	sessions, err := r.sessionsOf(ctx, store, keys, issuer, sub)
	return sessions, next, err
}

// browsersOf lists the records that may have sessions of a user.
func (r *Registry) browsersOf(
	ctx context.Context, store Store, issuer, sub string, after Position,
) (keys []Key, next Position, err error) {
	sets, err := store.Members(ctx, maxMembers, userKey(issuer, sub))
	if err != nil {
		return nil, "", unavailable(err)
	}
	keys = slices.DeleteFunc(browserKeys(sets[0]), func(key Key) bool { return key <= Key(after) })
	if len(keys) > pageOfBrowsers {
		keys = keys[:pageOfBrowsers]
		next = Position(keys[len(keys)-1])
	}
	return keys, next, nil
}

// browserKeys lists the records of the places that are members of a user's set, in their order,
// each once.
func browserKeys(members []string) (keys []Key) {
	for _, member := range members {
		if len(member) == len(Place{}) {
			keys = append(keys, Key(kindBrowser)+Key(member))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// sessionsOf reads records, and returns the user's sessions in them: what led here may be stale.
func (r *Registry) sessionsOf(
	ctx context.Context, store Store, keys []Key, issuer, sub string,
) (sessions []*Session, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	values, err := store.Get(ctx, true, keys...)
	if err != nil {
		return nil, unavailable(err)
	}
	for i, value := range values {
		rec, err := r.cache.decode(placeOfKey(keys[i]), value)
		if err != nil || rec == nil || rec.Issuer != issuer {
			continue // of a later release
		}
		for _, session := range rec.Sessions {
			if session.isOf(sub) {
				sessions = append(sessions, session)
			}
		}
	}
	return sessions, nil
}

// isOf reports whether a client's ID tokens named the sub.
func (s *Session) isOf(sub string) bool {
	for _, client := range s.Clients {
		for _, subject := range client.Subjects {
			if subject.Sub == sub {
				return true
			}
		}
	}
	return false
}

// EndUser ends the live sessions of an End-User in 100 browsers, and says where to go on; empty:
// these were the last.
func (r *Registry) EndUser(
	ctx context.Context, issuer, sub string, why Reason, after Position,
) (ended []*Session, next Position, err error) {
	store, ctx, cancel, err := r.call(Patient(ctx))
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	keys, next, err := r.browsersOf(ctx, store, issuer, sub, after)
	if err != nil || len(keys) == 0 {
		return nil, "", err
	}
	e := Ending{Reason: why}
	var changes []changing
	for _, key := range keys {
		meant := func(s *Session) bool { return s.Issuer == issuer && s.isOf(sub) }
		changes = append(changes, changing{place: placeOfKey(key), rule: e.rule(meant)})
	}
	ended, err = r.edit(ctx, store, changes...)
	return ended, next, err
}

// A Holder is what an ID token names: its client, the End-User and the OP's own session. All of it
// must be there.
type Holder struct{ ClientID, Sub, Sid string }

// isHeldBy reports whether the client's ID tokens named the user and the OP's session.
func (s *Session) isHeldBy(h Holder) bool {
	client := s.Client(h.ClientID)
	return client != nil && client.subject(h.Sub, h.Sid) != nil
}

// EndHolder ends the live sessions, in whichever browser, in which a client's ID tokens named a
// user and a session of the OP. The Ending has no Place.
func (r *Registry) EndHolder(
	ctx context.Context, issuer string, h Holder, e Ending,
) ([]*Session, error) {
	err := errors.Join(
		checkName("client ID", h.ClientID), checkName("sub", h.Sub), checkName("sid", h.Sid))
	if err != nil {
		return nil, err
	}
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	sets, err := store.Members(ctx, maxMembers, userKey(issuer, h.Sub))
	if err != nil {
		return nil, unavailable(err)
	}
	sessions, err := r.sessionsOf(ctx, store, browserKeys(sets[0]), issuer, h.Sub)
	if err != nil {
		return nil, err
	}
	places := make(map[Place]bool)
	var changes []changing
	for _, s := range sessions {
		if place := PlaceOfSession(s.ID); s.Ended == 0 && s.isHeldBy(h) && !places[place] {
			places[place] = true
			meant := func(s *Session) bool { return s.isHeldBy(h) }
			changes = append(changes, changing{place: place, rule: e.rule(meant)})
		}
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return r.edit(ctx, store, changes...)
}

// limitUser ends the oldest sessions of a user who has more than [MaxUserSessions], as far as up
// to maxLooks of their browsers show. The sign-in before it stands, whatever becomes of this.
func (r *Registry) limitUser(ctx context.Context, store Store, issuer, sub string) {
	sets, err := store.Members(ctx, maxLooks, userKey(issuer, sub))
	if err != nil || len(sets[0]) <= MaxUserSessions/MaxBrowserSessions {
		return
	}
	sessions, err := r.sessionsOf(ctx, store, browserKeys(sets[0]), issuer, sub)
	now := At(store.Now())
	sessions = slices.DeleteFunc(sessions, func(s *Session) bool { return !s.Live(now) })
	if err != nil || len(sessions) <= MaxUserSessions {
		return
	}
	slices.SortFunc(sessions, func(a, b *Session) int { return cmp.Compare(a.Created, b.Created) })
	var changes []changing
	for _, oldest := range sessions[:len(sessions)-MaxUserSessions] {
		rule := func(rec *record, now Time) (bool, error) {
			session := rec.session(oldest.ID)
			if session == nil || !session.Live(now) {
				return false, nil
			}
			rec.end(session, ReasonExpiry, now)
			return true, nil
		}
		changes = append(changes, changing{place: PlaceOfSession(oldest.ID), rule: rule})
	}
	_, _ = r.edit(ctx, store, changes...)
}
