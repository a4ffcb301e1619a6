package handlers

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// observationsPatience is how long the first look at the registry is tried, which may just be opening.
	observationsPatience = 2 * time.Second
	observationsPause    = 100 * time.Millisecond // between those tries
	// observationsLoginWait is how long a login waits for that.
	observationsLoginWait = 250 * time.Millisecond
	// observationsRetryIn is how long a failure is remembered, and how often it is looked whether another handler has recorded something.
	observationsRetryIn = 5 * time.Second
	// observationsKeysAgain is how often it is recorded that the OP's keys are others: servers of one OP may differ.
	observationsKeysAgain = 30 * time.Second
	// observationsDocumentAgain is how often it is noted that another discovery document was seen.
	observationsDocumentAgain = time.Hour
)

// observations are what was seen of one site's OP. They are in the registry, so that they outlast reloads and restarts, and are recorded when
// they change, which is rare, by the request that brought the news.
type observations struct {
	env Env
	// changed is told what is known now, and whether that has all that was recorded before. It must not wait.
	changed func(known registry.Observed, complete bool)

	ready atomic.Pointer[string] // the issuer whose record was read

	mu        sync.Mutex
	issuer    string
	known     registry.Observed
	recorded  registry.Observed // what the registry has
	complete  bool              // the record was read
	loading   chan struct{}     // closed at the end of the look under way; nil when there is none
	patient   bool              // the next look is the first
	notBefore time.Time         // when the registry may be asked again
	saving    bool
	keysSaved time.Time
	failing   bool

	documentSeen time.Time // when it was last noted where a document is
}

func newObservations(env Env, changed func(registry.Observed, bool)) *observations {
	return &observations{env: env, changed: changed, patient: true}
}

// of begins anew when the issuer is another one. The caller holds the lock.
func (s *observations) of(issuer string) {
	if s.issuer == issuer {
		return
	}
	s.issuer, s.known, s.recorded = issuer, registry.Observed{}, registry.Observed{}
	s.complete, s.notBefore, s.keysSaved, s.documentSeen = false, time.Time{}, time.Time{}, time.Time{}
	s.ready.Store(nil)
}

// load begins to read the record unless that is done, under way, or too early, and returns a channel that is closed when there is
// nothing more to wait for.
func (s *observations) load(issuer string) <-chan struct{} {
	if ready := s.ready.Load(); ready != nil && *ready == issuer {
		return over
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(issuer)
	switch {
	case s.loading != nil:
		return s.loading
	case s.complete || s.env.Now().Before(s.notBefore):
		return over
	}
	s.loading = make(chan struct{})
	go s.look(issuer, s.loading, s.patient)
	s.patient = false
	return s.loading
}

// look reads the record, and adds to it what was seen meanwhile.
func (s *observations) look(issuer string, done chan struct{}, patient bool) {
	defer close(done)
	s.read(issuer, patient)
	s.record(context.Background(), issuer)
}

func (s *observations) read(issuer string, patient bool) {
	observed, _, err := s.env.Registry.Observed(context.Background(), issuer)
	for began := time.Now(); patient && err != nil && time.Since(began) < observationsPatience; {
		time.Sleep(observationsPause)
		observed, _, err = s.env.Registry.Observed(context.Background(), issuer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loading = nil
	if s.issuer != issuer {
		return
	}
	if err != nil {
		s.notBefore = s.env.Now().Add(observationsRetryIn)
		s.failed("what was seen of the OP before is not known, so that no keys are added to its own", err)
		return
	}
	s.failing = false
	s.recorded, s.complete, s.notBefore = observed, true, s.env.Now().Add(observationsRetryIn)
	s.known = joined(observed, s.known)
	s.ready.Store(&issuer)
	s.changed(s.known, true)
}

// await reads the record, and waits for that. It reports whether all is known.
func (s *observations) await(ctx context.Context, issuer string) bool {
	waitFor(ctx, s.load(issuer), observationsPatience)
	ready := s.ready.Load()
	return ready != nil && *ready == issuer
}

// lookAgain takes what another handler of the same issuer has recorded meanwhile, now and then, if there is nothing of our own to record.
func (s *observations) lookAgain(ctx context.Context, issuer string) {
	s.mu.Lock()
	now := s.env.Now()
	due := s.issuer == issuer && s.isRecorded() && !now.Before(s.notBefore)
	if due {
		s.notBefore = now.Add(observationsRetryIn)
	}
	s.mu.Unlock()
	if !due {
		return
	}
	observed, found, err := s.env.Registry.Observed(ctx, issuer)
	if err != nil || !found {
		return // what is known stays
	}
	s.take(issuer, observed)
	s.record(ctx, issuer)
}

// take takes over a record.
func (s *observations) take(issuer string, observed registry.Observed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.issuer == issuer && s.isRecorded() {
		s.recorded = observed
		observed.KeyIDs.Seen, observed.SessionIDs.Seen = observed.KeyIDs.Seen || s.known.KeyIDs.Seen, observed.SessionIDs.Seen || s.known.SessionIDs.Seen
		if len(observed.Keys) == 0 {
			observed.Keys = s.known.Keys
		}
		observed.Discovery = cmp.Or(observed.Discovery, s.known.Discovery)
		s.become(observed)
	}
}

// isRecorded reports whether the registry has all that is known. The caller holds the lock.
func (s *observations) isRecorded() bool {
	return s.complete && !s.saving && isSame(s.known, s.recorded)
}

// sawToken notes what an ID token of a client has.
func (s *observations) sawToken(ctx context.Context, issuer, clientID string, token tokens.IDToken) {
	s.noteToken(issuer, clientID, token)
	s.record(ctx, issuer)
}

func (s *observations) noteToken(issuer, clientID string, token tokens.IDToken) {
	now := s.env.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(issuer)
	next := s.known
	next.SessionIDs = saw(next.SessionIDs, clientID, token.SessionID != "", now)
	if !token.Symmetric() {
		next.KeyIDs = saw(next.KeyIDs, clientID, token.KeyID != "", now)
	}
	s.become(next)
}

// sawKeys notes the OP's keys, and returns what is known with them. complete is as for changed.
func (s *observations) sawKeys(ctx context.Context, issuer string, names tokens.KeyNames) (known registry.Observed, complete bool) {
	known, complete = s.noteKeys(issuer, names)
	s.record(ctx, issuer)
	return known, complete
}

func (s *observations) noteKeys(issuer string, names tokens.KeyNames) (known registry.Observed, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(issuer)
	next := s.known
	next.Keys = nil
	short := func(text string) string { return text[:min(len(text), registry.MaxString)] }
	for _, name := range names[:min(len(names), registry.MaxObservedKeys)] {
		next.Keys = append(next.Keys, registry.ObservedKey{KeyID: short(name.ID), Thumbprint: name.Thumbprint, Algorithm: short(name.Algorithm)})
	}
	s.become(next)
	return next, s.complete
}

// sawDocument notes where a discovery document of the OP is. One is enough, but it may be gone one day: now and then, another takes
// its place.
func (s *observations) sawDocument(ctx context.Context, issuer, path string) {
	s.mu.Lock()
	s.of(issuer)
	if now := s.env.Now(); now.Sub(s.documentSeen) >= observationsDocumentAgain {
		s.documentSeen = now
		next := s.known
		next.Discovery = path
		s.become(next)
	}
	s.mu.Unlock()
	s.record(ctx, issuer)
}

// become takes what is known now. The caller holds the lock.
func (s *observations) become(next registry.Observed) {
	if !isSame(next, s.known) {
		s.known = next
		s.changed(s.known, s.complete)
	}
}

// isDue reports whether there is something to record: at once if it is about ID tokens, else now and then. The caller holds the lock.
func (s *observations) isDue() bool {
	if isSame(s.known, s.recorded) {
		return false
	}
	return !isSameOfTokens(s.known, s.recorded) || s.known.Discovery != s.recorded.Discovery || s.env.Now().Sub(s.keysSaved) >= observationsKeysAgain
}

// record records what is known, if that is due, and what comes meanwhile. One call is under way at a time, which records for the others
// too; after a failure there is none for a while.
func (s *observations) record(ctx context.Context, issuer string) {
	s.mu.Lock()
	early := s.failing && s.env.Now().Before(s.notBefore)
	begins := s.issuer == issuer && s.complete && !s.saving && !early && s.isDue()
	s.saving = s.saving || begins
	s.mu.Unlock()
	for begins {
		begins = s.goesOn(issuer, s.recordOnce(ctx, issuer))
	}
}

// recordOnce records what is known, together with what another handler has recorded.
func (s *observations) recordOnce(ctx context.Context, issuer string) error {
	observed, _, err := s.env.Registry.Observed(ctx, issuer)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.issuer != issuer {
		s.mu.Unlock()
		return nil
	}
	if !isSame(observed, s.recorded) {
		s.become(joined(observed, s.known))
	}
	known := s.known
	s.mu.Unlock()

	if err := s.env.Registry.Observe(ctx, issuer, known); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.issuer != issuer {
		return nil
	}
	if !slices.Equal(known.Keys, s.recorded.Keys) {
		s.keysSaved = s.env.Now()
	}
	s.recorded = known
	return nil
}

// goesOn reports whether there is more to record, after a call that failed or not.
func (s *observations) goesOn(issuer string, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.issuer != issuer:
	case err != nil:
		s.notBefore = s.env.Now().Add(observationsRetryIn)
		s.failed("what was seen of the OP is not recorded", err)
	default:
		s.failing = false
		if s.isDue() {
			return true
		}
	}
	s.saving = false
	return false
}

// failed says once that the registry is away. The caller holds the lock.
func (s *observations) failed(message string, err error) {
	if !s.failing {
		unrecorded(s.env.Logger, message, err)
	}
	s.failing = true
}
