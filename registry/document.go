package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what is kept of an issuer, a client or a site.
const (
	// MaxKey is the longest public key, in bytes of JSON.
	MaxKey = 8 << 10
	// MaxRegistered is how many clients that registered themselves one issuer has.
	MaxRegistered = 10_000
	// MaxMetadata is the longest metadata of such a client, in bytes.
	MaxMetadata = 16 << 10
	// IdleClient is for how long a client that registered itself is kept, whatever comes, after it
	// took part in a session.
	IdleClient = 90 * 24 * time.Hour
	// MaxNames is how many names of session cookies one site has: see [Registry.AddCookieName].
	MaxNames = 64

	// documentLifetime is how long a document is kept after its last change.
	documentLifetime = 366 * 24 * time.Hour
)

// document reads a document; found: there is one.
func document[T any](ctx context.Context, r *Registry, key Key) (doc T, found bool, err error) {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return doc, false, err
	}
	defer cancel()
	values, err := store.Get(ctx, false, key)
	if err != nil || values[0] == nil {
		return doc, false, err
	}
	err = decode(values[0], &doc)
	if errors.Is(err, errDamaged) {
		return *new(T), false, nil
	}
	return doc, err == nil, err
}

// editDocument has a rule change a document, which is empty where there is none. The rule reports
// whether it has changed anything.
func editDocument[T any](
	ctx context.Context, r *Registry, key Key, edit *Edit,
	rule func(doc *T, now time.Time) (bool, error),
) error {
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	edit.Key = key
	edit.Rule = func(old []byte) (*Change, error) {
		doc := new(T)
		if old != nil {
			if err := decode(old, doc); errors.Is(err, errDamaged) {
				doc = new(T)
			} else if err != nil {
				return nil, err
			}
		}
		changed, err := rule(doc, store.Now())
		if err != nil || !changed {
			return nil, err
		}
		value, err := encode(doc)
		if err == nil && len(value) > MaxRecord {
			err = fmt.Errorf("%w: a document of %d bytes, over %d",
				ErrInvalid, len(value), MaxRecord)
		}
		return &Change{Value: value, Expires: store.Now().Add(documentLifetime)}, err
	}
	if err = store.Edit(ctx, edit); err == nil {
		err = edit.Err
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// now returns the time of the store, which is that of all servers.
func (r *Registry) now(ctx context.Context) (time.Time, error) {
	store, _, cancel, err := r.call(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer cancel()
	return store.Now(), nil
}

// Facts are what was observed of an OP: the days of the last ID token with something, and of the
// last one without it; zero: none was observed.
type Facts struct {
	Kid   Time `cbor:"1,keyasint,omitempty"` // it named its key
	NoKid Time `cbor:"2,keyasint,omitempty"`
	Sid   Time `cbor:"3,keyasint,omitempty"` // it named the OP's session
	NoSid Time `cbor:"4,keyasint,omitempty"`
	// Discovery is the path of the discovery document, where the configuration does not say it.
	Discovery string `cbor:"5,keyasint,omitempty"`
}

// Merge returns what f and other say together: the later day of each.
func (f Facts) Merge(other Facts) Facts {
	f.Kid, f.NoKid = max(f.Kid, other.Kid), max(f.NoKid, other.NoKid)
	f.Sid, f.NoSid = max(f.Sid, other.Sid), max(f.NoSid, other.NoSid)
	if other.Discovery != "" {
		f.Discovery = other.Discovery
	}
	return f
}

func factsKey(issuer string) Key { return hashedKey(kindDocument, "facts", issuer) }

// Facts returns what was observed of an issuer's OP.
func (r *Registry) Facts(ctx context.Context, issuer string) (Facts, error) {
	facts, _, err := document[Facts](ctx, r, factsKey(issuer))
	return facts, err
}

// Note adds to what was observed of an issuer's OP.
func (r *Registry) Note(ctx context.Context, issuer string, seen Facts) error {
	if err := checkBound("discovery path", seen.Discovery, MaxString); err != nil {
		return err
	}
	rule := func(facts *Facts, _ time.Time) (bool, error) {
		before := *facts
		*facts = facts.Merge(seen)
		return *facts != before, nil
	}
	return editDocument(ctx, r, factsKey(issuer), new(Edit), rule)
}

// A PublicKey is one public key of an OP.
type PublicKey struct {
	ID    string `cbor:"1,keyasint"` // its thumbprint (RFC 7638), unpadded base64url
	JWK   []byte `cbor:"2,keyasint"` // JSON (RFC 7517)
	Until Time   `cbor:"3,keyasint"` // when it may be forgotten
}

type publicKeys struct {
	Keys []PublicKey `cbor:"1,keyasint,omitempty"`
}

func keysKey(issuer string) Key { return hashedKey(kindDocument, "keys", issuer) }

// Keys lists the issuer's recorded keys whose time is not over, in the order of their IDs.
func (r *Registry) Keys(ctx context.Context, issuer string) ([]PublicKey, error) {
	now, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	doc, _, err := document[publicKeys](ctx, r, keysKey(issuer))
	return slices.DeleteFunc(doc.Keys, func(k PublicKey) bool { return k.Until <= At(now) }), err
}

// KeepKeys records public keys of the issuer's OP, each until the later one of both times where it
// is recorded already. Where they have no room, those that expire first are forgotten.
func (r *Registry) KeepKeys(ctx context.Context, issuer string, keys []PublicKey) error {
	for _, key := range keys {
		if key.ID == "" || len(key.ID) > MaxString || len(key.JWK) == 0 || len(key.JWK) > MaxKey {
			return fmt.Errorf("%w: key of %d bytes", ErrInvalid, len(key.JWK))
		}
	}
	rule := func(doc *publicKeys, now time.Time) (bool, error) {
		doc.keep(keys, At(now))
		return true, nil
	}
	return editDocument(ctx, r, keysKey(issuer), new(Edit), rule)
}

func (d *publicKeys) keep(keys []PublicKey, now Time) {
	for _, key := range keys {
		i := slices.IndexFunc(d.Keys, func(k PublicKey) bool { return k.ID == key.ID })
		if i < 0 {
			d.Keys = append(d.Keys, key)
			continue
		}
		d.Keys[i].Until = max(d.Keys[i].Until, key.Until)
	}
	d.Keys = slices.DeleteFunc(d.Keys, func(k PublicKey) bool { return k.Until <= now })
	slices.SortFunc(d.Keys, func(a, b PublicKey) int { return cmp.Compare(b.Until, a.Until) })
	size := 0
	for i, key := range d.Keys {
		if size += len(key.ID) + len(key.JWK) + 32; size > MaxRecord-1024 {
			d.Keys = d.Keys[:i]
			break
		}
	}
	slices.SortFunc(d.Keys, func(a, b PublicKey) int { return strings.Compare(a.ID, b.ID) })
}

// A Registered is a client that has registered itself. ID and Metadata must not be empty.
type Registered struct {
	ID string `cbor:"1,keyasint"`
	// URI is where its registration is changed; empty: not known.
	URI string `cbor:"2,keyasint,omitempty"`
	// Metadata is not read by the registry.
	Metadata []byte `cbor:"3,keyasint"`
}

func clientKey(issuer, id string) Key { return hashedKey(kindDocument, "client", issuer, id) }
func clientURIKey(issuer, uri string) Key {
	return hashedKey(kindPointer, "client at", issuer, uri)
}
func registeredKey(issuer string) Key { return hashedKey(kindUser, "clients", issuer, "idle") }
func usedKey(issuer string) Key       { return hashedKey(kindUser, "clients", issuer, "used") }
func namesKey(site string) Key        { return hashedKey(kindDocument, "cookies", site) }

// Registered returns the issuer's client with an ID.
func (r *Registry) Registered(
	ctx context.Context, issuer, id string,
) (client Registered, found bool, err error) {
	client, found, err = document[Registered](ctx, r, clientKey(issuer, id))
	return client, found && client.ID != "", err
}

// RegisteredAt returns the issuer's client with a URI.
func (r *Registry) RegisteredAt(
	ctx context.Context, issuer, uri string,
) (client Registered, found bool, err error) {
	store, limited, cancel, err := r.call(ctx)
	if err != nil {
		return client, false, err
	}
	values, err := store.Get(limited, false, clientURIKey(issuer, uri))
	cancel()
	if err != nil || values[0] == nil {
		return client, false, err
	}
	client, found, err = r.Registered(ctx, issuer, string(values[0]))
	return client, found && client.URI == uri, err
}

// Register records or replaces a client that has registered itself. A URI that is another client's
// stays that one's. Where [MaxRegistered] are recorded, one that took part in no session for
// [IdleClient] gives way; if there is none, the error wraps [ErrInvalid].
func (r *Registry) Register(ctx context.Context, issuer string, client Registered) error {
	err := errors.Join(checkName("issuer", issuer),
		checkName("client ID", client.ID), checkBound("client's URI", client.URI, MaxString))
	if n := len(client.Metadata); n == 0 || n > MaxMetadata {
		err = errors.Join(err, fmt.Errorf("%w: client of %d bytes", ErrInvalid, n))
	}
	if err != nil {
		return err
	}
	if err := r.makeRoomFor(ctx, issuer, client.ID); err != nil {
		return err
	}
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	edit := &Edit{}
	expires := now.Add(documentLifetime)
	if client.URI != "" {
		key := clientURIKey(issuer, client.URI)
		edit.Creates = []Create{{Key: key, Value: []byte(client.ID), Expires: expires}}
	}
	edit.Marks = []Mark{{Set: registeredKey(issuer), Member: client.ID, Expires: expires}}
	rule := func(doc *Registered, _ time.Time) (bool, error) {
		*doc = client
		return true, nil
	}
	return editDocument(ctx, r, clientKey(issuer, client.ID), edit, rule)
}

// makeRoomFor has another client give way where too many are registered: one that took part in no
// session for [IdleClient].
func (r *Registry) makeRoomFor(ctx context.Context, issuer, id string) error {
	store, limited, cancel, err := r.call(ctx)
	if err != nil {
		return err
	}
	sets, err := store.Members(limited, 4*MaxRegistered, registeredKey(issuer), usedKey(issuer))
	cancel()
	if err != nil {
		return unavailable(err)
	}
	registered, used := sets[0], sets[1]
	if len(registered) < MaxRegistered || slices.Contains(registered, id) {
		return nil
	}
	slices.Sort(used)
	for _, other := range registered {
		if _, found := slices.BinarySearch(used, other); !found {
			return r.Deregister(ctx, issuer, other)
		}
	}
	return fmt.Errorf("%w: over %d clients", ErrInvalid, MaxRegistered)
}

// usedClients are the marks that clients took part in a session. Those of one day are equal, so
// that a store writes them once.
func usedClients(issuer string, ids []string, now time.Time) (marks []Mark) {
	const day = 24 * time.Hour
	until := now.Add(IdleClient + day).Truncate(day)
	for _, id := range ids {
		if checkName("client ID", id) == nil {
			marks = append(marks, Mark{Set: usedKey(issuer), Member: id, Expires: until})
		}
	}
	return marks
}

// Deregister forgets a client, and frees its URI. One that is not recorded is no error.
func (r *Registry) Deregister(ctx context.Context, issuer, id string) error {
	client, _, err := r.Registered(ctx, issuer, id)
	if err != nil {
		return err
	}
	store, ctx, cancel, err := r.call(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	forget := &Edit{
		Key:   clientKey(issuer, id),
		Marks: []Mark{{Set: registeredKey(issuer), Member: id}},
		Rule:  func([]byte) (*Change, error) { return new(Change), nil },
	}
	free := &Edit{Key: clientURIKey(issuer, client.URI), Rule: func(old []byte) (*Change, error) {
		if string(old) != id {
			return nil, nil
		}
		return new(Change), nil
	}}
	if err = store.Edit(ctx, forget, free); err == nil {
		err = errors.Join(forget.Err, free.Err)
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// A CookieName is the name of a cookie that holds a session at a site.
type CookieName struct {
	Name string `cbor:"1,keyasint"`
	// Since is when it was first known. The registry sets it.
	Since Time `cbor:"2,keyasint"`
	// Derived: no sign-in has set it, but a response to somebody who had signed in.
	Derived bool `cbor:"3,keyasint,omitempty"`
}

// cookieNames are in the order in which they became known.
type cookieNames struct {
	Names []CookieName `cbor:"1,keyasint,omitempty"`
	// Kept is when they were last written: that keeps them for another documentLifetime.
	Kept Time `cbor:"2,keyasint"`
}

// keptEach is how often names are written that have not changed, if they are added still.
const keptEach = 24 * time.Hour

// CookieNames lists the names of a site's session cookies, as far as they were seen, in the order
// in which they became known.
func (r *Registry) CookieNames(ctx context.Context, site string) ([]CookieName, error) {
	doc, _, err := document[cookieNames](ctx, r, namesKey(site))
	return doc.Names, err
}

// AddCookieName adds one, which is known since now, by the clock of the store: its own Since does
// not count. One that is known stays as it is, but is Derived no longer once it is added as one
// that is not. All of a site's names are forgotten when none was added for a year.
//
// Of more than [MaxNames], the oldest derived one is forgotten, and the oldest of all only if none
// is derived: names that an app draws at random and that merely followed a sign-in displace none
// that a sign-in has set. A derived one is not added, then, where there is no room.
func (r *Registry) AddCookieName(ctx context.Context, site string, name CookieName) error {
	if err := checkName("cookie name", name.Name); err != nil {
		return err
	}
	rule := func(doc *cookieNames, now time.Time) (bool, error) {
		name.Since = At(now)
		if !doc.add(name) && At(now) < doc.Kept.Add(keptEach) {
			return false, nil
		}
		doc.Kept = At(now)
		return true, nil
	}
	return editDocument(ctx, r, namesKey(site), new(Edit), rule)
}

// add adds a name. It reports whether that has changed anything.
func (d *cookieNames) add(name CookieName) bool {
	i := slices.IndexFunc(d.Names, func(n CookieName) bool { return n.Name == name.Name })
	if i >= 0 {
		promoted := d.Names[i].Derived && !name.Derived
		d.Names[i].Derived = d.Names[i].Derived && name.Derived
		return promoted
	}
	d.Names = append(d.Names, name)
	if len(d.Names) <= MaxNames {
		return true
	}
	i = max(0, slices.IndexFunc(d.Names, func(n CookieName) bool { return n.Derived }))
	isNew := i == len(d.Names)-1
	d.Names = slices.Delete(d.Names, i, i+1)
	return !isNew
}
