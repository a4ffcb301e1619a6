package registry

import (
	"context"
	"slices"
)

// Claim ends sessions that have expired, and claims notices that are due in up to limit records:
// nobody else delivers them until [Lease] is over. none: there was nothing to do.
func (r *Registry) Claim(ctx context.Context, limit int) (claimed []Owed, none bool, err error) {
	store, ctx, cancel, err := r.call(Patient(ctx))
	if err != nil {
		return nil, false, err
	}
	defer cancel()
	keys, err := store.Due(ctx, limit)
	if err != nil || len(keys) == 0 {
		return nil, err == nil, err
	}
	holdings, err := r.look(ctx, store, keys)
	if err != nil {
		return nil, false, err
	}
	claims := make([][]Owed, len(keys))
	changes := make([]changing, len(keys))
	for i, key := range keys {
		changes[i] = changing{place: placeOfKey(key), rule: func(rec *record, now Time) (bool, error) {
			rec.tidy(now)
			claims[i] = rec.claim(now, now.Add(Lease), holdings, newToken())
			return true, nil
		}}
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

// look looks for what stands against passive notices that are due: other sessions of their users.
func (r *Registry) look(ctx context.Context, store Store, keys []Key) (map[NoticeID]holding, error) {
	values, err := store.Get(ctx, true, keys...)
	if err != nil {
		return nil, unavailable(err)
	}
	now := At(store.Now())
	var passive []Owed
	var sets []Key
	for _, value := range values {
		rec, err := decodeRecord(value)
		if err != nil || rec == nil {
			continue // whoever writes to it says why
		}
		rec.tidy(now) // as the claim will: it is claimed at once what then ends
		for _, session := range rec.Sessions {
			for _, o := range session.Owed() {
				if o.isPassive() && !o.Dead() && o.Due <= now {
					passive = append(passive, o)
					sets = append(sets, userKey(o.Issuer, o.Sub))
				}
			}
		}
	}
	if len(passive) == 0 {
		return nil, nil
	}
	return r.lookAt(ctx, store, passive, sets, now)
}

func (r *Registry) lookAt(ctx context.Context, store Store, passive []Owed, sets []Key, now Time) (map[NoticeID]holding, error) {
	unique := slices.Compact(slices.Sorted(slices.Values(sets)))
	members, err := store.Members(ctx, maxLooks+1, unique...)
	if err != nil {
		return nil, unavailable(err)
	}
	holdings := make(map[NoticeID]holding)
	for i, o := range passive {
		n, _ := slices.BinarySearch(unique, sets[i])
		h := holding{looked: true}
		if len(members[n]) > maxLooks {
			h.until = now.Add(heldInterval)
		} else if err := r.lookIn(ctx, store, &h, o, members[n], now); err != nil {
			return nil, err
		}
		holdings[o.ID()] = h
	}
	return holdings, nil
}

func (r *Registry) lookIn(ctx context.Context, store Store, h *holding, o Owed, members []string, now Time) error {
	keys := []Key{recordKey(PlaceOfSession(o.Session))} // its own browser's may not be a member yet
	for _, member := range members {
		if key := Key(kindBrowser) + Key(member); key != keys[0] {
			keys = append(keys, key)
		}
	}
	others, err := r.sessionsOf(ctx, store, keys, o.Issuer, o.Sub)
	if err != nil {
		return err
	}
	for _, other := range others {
		h.look(o, other, now)
	}
	return nil
}

// Settle records what became of claimed notices. What was delivered was, whoever has claimed it
// since; for all else, only the word of who holds the lease counts.
func (r *Registry) Settle(ctx context.Context, outcomes []Outcome) error {
	store, ctx, cancel, err := r.call(Patient(ctx))
	if err != nil {
		return err
	}
	defer cancel()
	byPlace := make(map[Place][]Outcome)
	for _, outcome := range outcomes {
		place := PlaceOfSession(outcome.Owed.Session)
		byPlace[place] = append(byPlace[place], outcome)
	}
	var changes []changing
	for place, outcomes := range byPlace {
		changes = append(changes, changing{place: place, rule: func(rec *record, now Time) (bool, error) {
			rec.settle(outcomes, now)
			rec.tidy(now)
			return true, nil
		}})
	}
	_, err = r.edit(ctx, store, changes...)
	return err
}

// Owing lists sessions that owe notices, given-up ones included, in up to limit browsers, and says
// where to go on; empty: these were the last. They must not be changed.
func (r *Registry) Owing(ctx context.Context, after Position, limit int) (sessions []*Session, next Position, err error) {
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
			if len(session.Owed()) > 0 {
				sessions = append(sessions, session)
			}
		}
	}
	if len(keys) == limit {
		next = Position(keys[len(keys)-1])
	}
	return sessions, next, nil
}
