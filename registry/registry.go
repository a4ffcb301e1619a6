package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Limit is how long a call may take: a sign-in goes on without its record then. Tests have one for
// slow machines.
var Limit = 250 * time.Millisecond

// patientLimit is how long a [Patient] call may take.
const patientLimit = 5 * time.Second

type patientKey struct{}

// Patient returns a context in which calls may take longer than [Limit]: no sign-in waits for
// them.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}

// A Registry is the durable record of sessions. It is safe for concurrent use.
//
// "Not found" is no error: it is said in the result. An error wraps [ErrUnavailable] when nothing
// can be known now, and [ErrInvalid] when the caller's values break a bound. Nothing has been
// recorded then, except that a call which ran out of time may still take effect later.
type Registry struct {
	opening   opening
	ended     func([]*Session)
	logger    *zap.Logger
	cache     cache
	listeners Listeners[Place]
}

// Open returns a registry over a store, which is opened at first use, and again when it was
// unavailable. Until then, and whenever nothing can be known, calls return an error that wraps
// [ErrUnavailable], after [Limit] at the latest.
//
// ended is called with sessions that a call of this process has ended. What it is to deliver of
// that is [Session.Leased].
func Open(opener Opener, ended func([]*Session), logger *zap.Logger) *Registry {
	r := &Registry{ended: ended, logger: logger}
	r.opening = opening{
		opener: opener, logger: logger, opened: r.watch, closed: make(chan struct{}),
	}
	return r
}

// Warm begins to open the store, so that the first call needs not wait. It does not wait itself.
func (r *Registry) Warm() {
	r.opening.mu.Lock()
	defer r.opening.mu.Unlock()
	_, _, _ = r.opening.current()
}

// Close releases the store. Calls after it, and a second Close, are harmless.
func (r *Registry) Close() error { return r.opening.close() }

// call returns the store, and a context that ends in time.
func (r *Registry) call(ctx context.Context) (Store, context.Context, context.CancelFunc, error) {
	limit := Limit
	if ctx.Value(patientKey{}) != nil {
		limit = patientLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	store, err := r.opening.get(ctx)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return store, ctx, cancel, nil
}

// A change of a record: what precedes it, and the rule, which reports whether it has changed
// anything.
type changing struct {
	place    Place
	issuer   string // of a record that is not there yet; empty: then there is nothing to change
	marks    []Mark
	creates  []Create
	rule     func(rec *record, now Time) (changed bool, err error)
	adds     bool // a sign-in, which is refused where there is no room
	switches bool // a sign-in that knows its user
}

// edit makes changes, announces the sessions that ended by them, and returns these.
func (r *Registry) edit(ctx context.Context, store Store, changes ...changing) ([]*Session, error) {
	ended, _, err := r.edits(ctx, store, changes...)
	return ended, err
}

// edits also returns why each of the changes failed; none of them counts without.
func (r *Registry) edits(
	ctx context.Context, store Store, changes ...changing,
) (all []*Session, results []error, err error) {
	edits := make([]*Edit, len(changes))
	ended := make([][]*Session, len(changes))
	damaged := make([]error, len(changes))
	for i, c := range changes {
		edits[i] = &Edit{Key: recordKey(c.place), Marks: c.marks, Creates: c.creates}
		edits[i].Rule = func(old []byte) (*Change, error) {
			var change *Change
			var err error
			change, ended[i], damaged[i], err = c.apply(old, store.Now())
			return change, err
		}
	}
	if err := store.Edit(ctx, edits...); err != nil {
		return nil, nil, unavailable(err)
	}
	results = make([]error, len(edits))
	for i, edit := range edits {
		if edit.Err != nil {
			results[i] = unavailable(edit.Err)
			continue
		}
		all = append(all, ended[i]...)
		if damaged[i] != nil { // logged here, not in the rule, which has the store's lock
			r.logger.Error("session record lost: damaged",
				zap.String("place", fmt.Sprintf("%x", changes[i].place)), zap.Error(damaged[i]),
				zap.String("advice", "check the disk; this browser goes on with its cookie"))
		}
	}
	if len(all) > 0 {
		r.ended(all)
	}
	return all, results, errors.Join(results...)
}

// unavailable says of what a store failed by that nothing can be known, unless it says what else.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalid) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// apply applies a change to a record's value. It returns the sessions that ended by it,
// and what is wrong with a value that is lost.
func (c changing) apply(
	old []byte, clock time.Time,
) (change *Change, ended []*Session, damaged, err error) {
	rec, err := decodeRecord(old)
	switch {
	case errors.Is(err, errDamaged):
		if c.issuer == "" {
			// or it would be due for ever; who holds its sessions open asks again
			return &Change{Notify: true}, nil, err, nil
		}
		rec, damaged = nil, err
	case err != nil:
		return nil, nil, nil, err
	}
	if rec == nil {
		if c.issuer == "" {
			return nil, nil, nil, nil
		}
		rec = &record{Issuer: c.issuer}
	}
	if c.issuer != "" && rec.Issuer != c.issuer {
		return nil, nil, nil, fmt.Errorf("%w: the record is another issuer's", ErrInvalid)
	}
	now := max(At(clock), rec.Clock+1)
	changed, err := c.rule(rec, now)
	if err != nil || !changed {
		return nil, nil, nil, err
	}
	// Whatever ended them: no session has ended at this moment before.
	ended = slices.DeleteFunc(slices.Clone(rec.Sessions), func(s *Session) bool {
		return s.Ended != now
	})
	lease(ended, now, now.Add(Lease), newToken())
	rec.Clock = now
	change, err = c.fit(rec, max(c.room(len(ended) > 0), len(old)))
	if err != nil {
		return nil, nil, nil, err
	}
	change.Notify = len(ended) > 0 || damaged != nil
	return change, ended, damaged, nil
}

// fit is the record as a store keeps it. What a sign-in would make too large is made smaller, and
// fails with errFull if it has more than room bytes even so.
func (c changing) fit(rec *record, room int) (*Change, error) {
	change, err := rec.change()
	if err != nil || !c.adds || len(change.Value) <= MaxRecord {
		return change, err
	}
	rec.shrink()
	change, err = rec.change()
	if err == nil && len(change.Value) > room {
		err = errFull
	}
	return change, err
}

// room is how many bytes the record may have after a sign-in. One by which another user's session
// ends may take twice as many: that end must not be refused.
func (c changing) room(ends bool) int {
	if ends && c.switches {
		return 2 * MaxRecord
	}
	return MaxRecord
}

// errFull says that a record has no room for what a sign-in adds.
var errFull = fmt.Errorf("%w: the browser's record has no room", ErrInvalid)

// Join records a successful authorization response: see [Join].
func (r *Registry) Join(ctx context.Context, j Join) (Joined, error) {
	if err := j.check(); err != nil {
		return Joined{}, err
	}
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return Joined{}, err
	}
	defer cancel()
	var joined Joined
	place := PlaceOf(j.Issuer, j.Browser)
	until := store.Now().Add(j.Lifetime + wakeGrace)
	c := changing{place: place, issuer: j.Issuer, adds: true, switches: j.Sub != ""}
	if j.Sub != "" {
		c.marks = append(
			usedClients(j.Issuer, []string{j.ClientID}, store.Now()),
			Mark{Set: userKey(j.Issuer, j.Sub), Member: string(place[:]), Expires: until},
		)
	}
	if !j.Response.IsZero() {
		key, expires := codeKey(j.Issuer, j.Response), store.Now().Add(CodeLifetime)
		c.creates = []Create{{Key: key, Value: place[:], Expires: expires}}
	}
	c.rule = func(rec *record, now Time) (bool, error) {
		rec.tidy(now)
		before := slices.Clone(rec.Sessions)
		session, full := rec.join(j, drawID(place), now)
		joined = Joined{Session: session, Started: !slices.Contains(before, session), Full: full}
		return true, nil
	}
	_, err = r.edit(ctx, store, c)
	switch {
	case errors.Is(err, errFull):
		// it goes on in the browser's cookie
		return Joined{Session: joined.Session, Full: true}, nil
	case err != nil:
		return Joined{}, err // the rule may be running still
	case j.Sub != "":
		r.limitUser(ctx, store, j.Issuer, j.Sub)
	}
	return joined, nil
}

// Redeem records a successful token response: see [Redemption].
func (r *Registry) Redeem(ctx context.Context, d Redemption) (Joined, error) {
	if err := d.check(); err != nil {
		return Joined{}, err
	}
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return Joined{}, err
	}
	defer cancel()
	place, found, err := r.placeOfCode(ctx, store, d.Issuer, d.Response)
	if err != nil || !found {
		return Joined{}, err
	}
	var redeemed Joined
	until := store.Now().Add(d.Lifetime + wakeGrace)
	_, err = r.edit(ctx, store, changing{
		place: place, adds: true, switches: true,
		marks: append(
			usedClients(d.Issuer, d.Audience, store.Now()),
			Mark{Set: userKey(d.Issuer, d.Sub), Member: string(place[:]), Expires: until},
		),
		rule: func(rec *record, now Time) (bool, error) {
			rec.tidy(now)
			redeemed = rec.redeem(d, drawID(place), now)
			return redeemed.Session != nil, nil
		},
	})
	switch {
	case errors.Is(err, errFull):
		return Joined{Session: redeemed.Session, Full: true}, nil
	case err != nil:
		return Joined{}, err // the rule may be running still
	case redeemed.Session != nil:
		r.limitUser(ctx, store, d.Issuer, d.Sub)
	}
	return redeemed, nil
}

func (r *Registry) placeOfCode(
	ctx context.Context, store Store, issuer string, id sessionstate.ResponseID,
) (Place, bool, error) {
	values, err := store.Get(ctx, true, codeKey(issuer, id))
	if err != nil || len(values[0]) != len(Place{}) {
		return Place{}, false, err
	}
	return Place(values[0]), true, nil
}

func codeKey(issuer string, id sessionstate.ResponseID) Key {
	return hashedKey(kindPointer, "code", issuer, string(id[:]))
}

func userKey(issuer, sub string) Key { return hashedKey(kindUser, issuer, sub) }

// A Ref names a session, as a handle, a cookie or a certificate does.
type Ref struct {
	Session  sessionstate.SessionID
	Response sessionstate.ResponseID // zero: that of the handle had no code
	Until    time.Time               // when the session ends at the latest; zero: not known
}

// A State says what is known of a session.
type State int

// The states of a session.
const (
	Unknown State = iota // nothing is recorded, which must never be taken for a sign-out
	Live
	Ended // by its record, or it has expired
)

// Resolve says what is known of a session. The answer may be ten seconds old where the store is
// shared and broken, and is that of a moment ago elsewhere.
func (r *Registry) Resolve(ctx context.Context, ref Ref) (State, *Session, error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return Unknown, nil, err
	}
	defer cancel()
	rec, err := r.read(ctx, store, false, PlaceOfSession(ref.Session))
	if err != nil {
		return Unknown, nil, err
	}
	now := At(store.Now())
	session := rec.resolve(ref)
	switch {
	case session != nil && session.Live(now):
		return Live, session, nil
	case session != nil, !ref.Until.IsZero() && At(ref.Until.Add(untilGrace)) <= now:
		return Ended, session, nil
	default:
		return Unknown, nil, nil
	}
}

// resolve finds the session that a response belongs to now: the one it moved to when the user
// switched, else the one that it was made for.
func (r *record) resolve(ref Ref) *Session {
	if r == nil {
		return nil
	}
	if p := r.response(ref.Response); p != nil && p.Moved && !ref.Response.IsZero() {
		if moved := r.session(p.Session); moved != nil {
			return moved
		}
	}
	return r.session(ref.Session)
}

// read returns a record; nil: there is none. It must not be changed.
func (r *Registry) read(
	ctx context.Context, store Store, fresh bool, place Place,
) (*record, error) {
	values, err := store.Get(ctx, fresh, recordKey(place))
	if err != nil {
		return nil, unavailable(err)
	}
	return r.cache.decode(place, values[0])
}

// Browser returns all that is recorded of the browser's sessions, ended ones included. They must
// not be changed.
func (r *Registry) Browser(ctx context.Context, place Place) ([]*Session, error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	rec, err := r.read(ctx, store, true, place)
	if err != nil || rec == nil {
		return nil, err
	}
	return rec.Sessions, nil
}

// Response returns an authorization response by its ID. One that was made [CodeLifetime] ago is
// not found, though the record remembers it for longer if it has moved.
func (r *Registry) Response(
	ctx context.Context, issuer string, id sessionstate.ResponseID,
) (response *Response, found bool, err error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, false, err
	}
	defer cancel()
	place, found, err := r.placeOfCode(ctx, store, issuer, id)
	if err != nil || !found {
		return nil, false, err
	}
	rec, err := r.read(ctx, store, true, place)
	if err != nil || rec == nil {
		return nil, false, err
	}
	response = rec.response(id)
	if response == nil || response.Made.Add(CodeLifetime) <= At(store.Now()) {
		return nil, false, nil
	}
	return response, true, nil
}

// Ending ends the live sessions of one browser.
type Ending struct {
	Place  Place
	Reason Reason
	// Asked is the client that asked for it (RP-Initiated Logout 1.0); empty: none did. Its
	// notices are due after AskedWait.
	Asked     string
	AskedWait time.Duration
}

// End ends sessions, and returns them with what they owe, of which this server has the first
// lease. A browser without live sessions is no error.
func (r *Registry) End(ctx context.Context, e Ending) ([]*Session, error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	return r.edit(ctx, store, changing{place: e.Place, rule: e.rule(nil)})
}

// rule ends the sessions that are meant; nil: all.
func (e Ending) rule(meant func(*Session) bool) func(*record, Time) (bool, error) {
	return func(rec *record, now Time) (bool, error) {
		before := len(rec.Sessions)
		tidied := rec.tidy(now)
		ended := rec.endAll(meant, e.Reason, e.Asked, now.Add(e.AskedWait), now)
		return len(ended) > 0 || len(tidied) > 0 || len(rec.Sessions) < before, nil
	}
}

// Once records a value that counts once, and that may lead to something. first: nobody did so
// before; else before is what it leads to. An empty issuer has values of its own, like any other.
func (r *Registry) Once(
	ctx context.Context, issuer string, value [16]byte, leadsTo string, until time.Time,
) (first bool, before string, err error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return false, "", err
	}
	defer cancel()
	var there []byte
	edit := &Edit{Key: onceKey(issuer, value), Rule: func(old []byte) (*Change, error) {
		if there = slices.Clone(old); there != nil {
			return nil, nil
		}
		return &Change{Value: append([]byte{version}, leadsTo...), Expires: until}, nil
	}}
	if err = store.Edit(ctx, edit); err == nil {
		err = edit.Err
	}
	if err != nil {
		return false, "", unavailable(err)
	}
	if len(there) > 0 {
		before = string(there[1:])
	}
	return there == nil, before, nil
}

// LeadsTo returns what a value leads to that [Registry.Once] has recorded. found: it has.
func (r *Registry) LeadsTo(
	ctx context.Context, issuer string, value [16]byte,
) (leadsTo string, found bool, err error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return "", false, err
	}
	defer cancel()
	values, err := store.Get(ctx, true, onceKey(issuer, value))
	if err != nil {
		return "", false, unavailable(err)
	}
	if len(values[0]) == 0 {
		return "", false, nil
	}
	return string(values[0][1:]), true, nil
}

func onceKey(issuer string, value [16]byte) Key {
	return hashedKey(kindPointer, "once", issuer, string(value[:]))
}
