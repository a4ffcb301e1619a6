package registry

import (
	"context"
	"maps"
	"slices"
)

// Claim ends sessions that have expired, and claims notices that are due in up to limit records:
// nobody else delivers them until [Lease] has expired. none: there was nothing to do.
func (r *Registry) Claim(
	ctx context.Context, limit int,
) (claimed []PendingNotice, none bool, err error) {
	store, ctx, cancel, err := r.call(Patient(ctx))
	if err != nil {
		return nil, false, err
	}
	defer cancel()
	keys, err := store.Due(ctx, limit)
	if err != nil || len(keys) == 0 {
		return nil, err == nil, err
	}
	holdings, err := r.holdings(ctx, store, keys)
	if err != nil {
		return nil, false, err
	}
	claims := make([][]PendingNotice, len(keys))
	changes := make([]changing, len(keys))
	for i, key := range keys {
		changes[i].place = placeOfKey(key)
		changes[i].rule = func(rec *record, now Time) (bool, error) {
			rec.tidy(now)
			claims[i] = rec.claim(now, now.Add(Lease), holdings, newToken())
			return true, nil
		}
	}
	_, results, err := r.edits(ctx, store, changes...)
	for i, result := range results {
		if result == nil {
			claimed = append(claimed, claims[i]...)
		}
	}
	if len(claimed) > 0 {
		err = nil // the others are due again
	}
	return claimed, false, err
}

// holdings looks for what stands against passive notices that are due: other sessions of their
// users.
func (r *Registry) holdings(
	ctx context.Context, store Store, keys []Key,
) (map[NoticeID]holding, error) {
	values, err := store.Get(ctx, true, keys...)
	if err != nil {
		return nil, unavailable(err)
	}
	now := At(store.Now())
	byUser := make(map[Key][]PendingNotice)
	for _, value := range values {
		rec, err := decodeRecord(value)
		if err != nil || rec == nil {
			continue // the next write logs why
		}
		rec.tidy(now) // as the claim will: what then ends is claimed at once
		for _, session := range rec.Sessions {
			for _, o := range session.Pending() {
				if o.isPassive() && !o.Dead() && o.Due <= now {
					user := userKey(o.Issuer, o.Sub)
					byUser[user] = append(byUser[user], o)
				}
			}
		}
	}
	if len(byUser) == 0 {
		return nil, nil
	}
	return r.holdingsOf(ctx, store, byUser, now)
}

// holdingsOf is holdings of notices by their users' sets.
func (r *Registry) holdingsOf(
	ctx context.Context, store Store, byUser map[Key][]PendingNotice, now Time,
) (map[NoticeID]holding, error) {
	users := slices.Sorted(maps.Keys(byUser))
	members, err := store.Members(ctx, maxLooks+1, users...)
	if err != nil {
		return nil, unavailable(err)
	}
	holdings := make(map[NoticeID]holding)
	for i, user := range users {
		notices := byUser[user]
		var others []*Session
		tooMany := len(members[i]) > maxLooks
		if !tooMany {
			places := members[i]
			for _, o := range notices { // their own browsers may not be members yet
				place := PlaceOfSession(o.Session)
				places = append(places, string(place[:]))
			}
			issuer, sub := notices[0].Issuer, notices[0].Sub
			others, err = r.sessionsOf(ctx, store, browserKeys(places), issuer, sub)
			if err != nil {
				return nil, err
			}
		}
		for _, o := range notices {
			h := holding{looked: true}
			if tooMany {
				h.until = now.Add(heldInterval)
			}
			for _, other := range others {
				h.consider(o, other, now)
			}
			holdings[o.ID()] = h
		}
	}
	return holdings, nil
}

// RecordOutcomes records what became of claimed notices. A delivery counts even if
// the notice was claimed anew since; all else counts only from the holder of the lease.
func (r *Registry) RecordOutcomes(ctx context.Context, outcomes []Outcome) error {
	store, ctx, cancel, err := r.call(Patient(ctx))
	if err != nil {
		return err
	}
	defer cancel()
	byPlace := make(map[Place][]Outcome)
	for _, outcome := range outcomes {
		place := PlaceOfSession(outcome.Notice.Session)
		byPlace[place] = append(byPlace[place], outcome)
	}
	var changes []changing
	for place, outcomes := range byPlace {
		rule := func(rec *record, now Time) (bool, error) {
			rec.recordOutcomes(outcomes, now)
			rec.tidy(now)
			return true, nil
		}
		changes = append(changes, changing{place: place, rule: rule})
	}
	_, err = r.edit(ctx, store, changes...)
	return err
}

// Owing lists sessions that owe notices, given-up ones included, in up to limit browsers, and says
// where to go on; empty: these were the last. They must not be changed.
func (r *Registry) Owing(
	ctx context.Context, after Position, limit int,
) (sessions []*Session, next Position, err error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	keys, err := store.Owing(ctx, Key(after), limit)
	if err != nil || len(keys) == 0 {
		return nil, "", err
	}
	values, err := store.Get(ctx, true, keys...)
	if err != nil {
		return nil, "", unavailable(err)
	}
	for i, value := range values {
		rec, err := r.cache.decode(placeOfKey(keys[i]), value)
		if err != nil || rec == nil {
			continue
		}
		for _, session := range rec.Sessions {
			if len(session.Pending()) > 0 {
				sessions = append(sessions, session)
			}
		}
	}
	if len(keys) == limit {
		next = Position(keys[len(keys)-1])
	}
	return sessions, next, nil
}
