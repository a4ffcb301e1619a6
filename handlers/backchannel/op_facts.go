package backchannel

import (
	"context"
	"sync"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

const (
	// factsRetryIn is how long a failure of the registry is remembered.
	factsRetryIn = 5 * time.Second
	// factsWait is how long a request for a document waits for the registry, which may just be
	// opening.
	factsWait = 2 * time.Second
	// factsDay is how exactly it is recorded when something was seen.
	factsDay = 24 * time.Hour
	// missingFor is how long it counts that an ID token lacked something.
	missingFor = 30 * factsDay
	// documentAgain is how often it is noted that another discovery document was seen.
	documentAgain = time.Hour
)

// opFacts are what was seen of one issuer's OP. What its ID tokens have is recorded: once a day at
// most, by the request that brought the news. Its keys are known since the start only.
type opFacts struct {
	env handlers.Env
	// changed is called with what is known now. It must not wait.
	changed func(seen)

	mu           sync.Mutex
	issuer       string
	seen         seen
	recorded     registry.Facts // what the registry has, or is about to have
	failing      bool
	notBefore    time.Time // when the registry may be asked again without need
	documentSeen time.Time // when it was last noted where a document is
}

// seen is what is known of an OP.
type seen struct {
	registry.Facts

	names      tokens.KeyNames // of its keys; none: they were not seen
	withoutKid string          // the client whose ID token had no kid last; empty: not known
	complete   bool            // what was recorded before is known
}

// of begins anew when the issuer is another one. The caller holds the lock.
func (f *opFacts) of(issuer string) {
	if f.issuer != issuer {
		f.issuer, f.seen, f.recorded, f.notBefore, f.documentSeen = issuer, seen{}, registry.Facts{}, time.Time{}, time.Time{}
	}
}

// load has what was recorded read, unless it is known. It does not wait.
func (f *opFacts) load(issuer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(issuer)
	now := f.env.Now()
	if f.seen.complete || now.Before(f.notBefore) {
		return
	}
	f.notBefore = now.Add(factsRetryIn)
	go f.refresh(context.Background(), issuer)
}

// refresh reads what was recorded, by other servers too. It reports whether that is known: as it
// is now, or as it was when the registry could be asked last.
func (f *opFacts) refresh(ctx context.Context, issuer string) bool {
	ctx, cancel := context.WithTimeout(registry.Patient(ctx), factsWait)
	defer cancel()
	recorded, err := f.env.Registry.Facts(ctx, issuer)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(issuer)
	if err != nil {
		f.failed("what was seen of the OP before is not known, so that no keys are added to its own", err)
		return f.seen.complete
	}
	f.failing = false
	f.recorded = recorded
	f.seen.Facts, f.seen.complete = f.seen.Merge(recorded), true
	f.changed(f.seen)
	return true
}

// sawToken notes what an ID token of a client has.
func (f *opFacts) sawToken(ctx context.Context, issuer, clientID string, token tokens.IDToken) {
	day := registry.At(f.env.Now().Truncate(factsDay))
	f.note(ctx, issuer, func(s *seen) {
		set := func(has bool, with, without *registry.Time) {
			if has {
				*with = max(*with, day)
			} else {
				*without = max(*without, day)
			}
		}
		set(token.SessionID != "", &s.Sid, &s.NoSid)
		if token.Symmetric() {
			return
		}
		set(token.KeyID != "", &s.Kid, &s.NoKid)
		if token.KeyID == "" {
			s.withoutKid = clientID
		}
	})
}

// sawKeys notes the OP's keys, and returns what is known with them.
func (f *opFacts) sawKeys(issuer string, names tokens.KeyNames) seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(issuer)
	f.seen.names = names
	f.changed(f.seen)
	return f.seen
}

// sawDocument notes where a discovery document of the OP is. One is enough, but it may be gone one
// day: now and then, another takes its place.
func (f *opFacts) sawDocument(ctx context.Context, issuer, path string) {
	f.note(ctx, issuer, func(s *seen) {
		if now := f.env.Now(); now.Sub(f.documentSeen) >= documentAgain {
			f.documentSeen, s.Discovery = now, path
		}
	})
}

// note adds to what is known, and records what is not recorded yet. One call records it, which
// others do not wait for.
func (f *opFacts) note(ctx context.Context, issuer string, add func(*seen)) {
	f.mu.Lock()
	f.of(issuer)
	add(&f.seen)
	f.changed(f.seen)
	known, before := f.seen.Facts, f.recorded
	due := before.Merge(known) != before && (!f.failing || !f.env.Now().Before(f.notBefore))
	if due {
		f.recorded = before.Merge(known)
	}
	f.mu.Unlock()
	if !due {
		return
	}
	err := f.env.Registry.Note(ctx, issuer, known)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.issuer != issuer:
	case err != nil:
		f.recorded = before
		f.failed("what was seen of the OP is not recorded", err)
	default:
		f.failing = false
	}
}

// failed says once that the registry is unavailable. The caller holds the lock.
func (f *opFacts) failed(message string, err error) {
	if !f.failing {
		handlers.LogUnrecorded(f.env.Logger, message, err)
	}
	f.failing, f.notBefore = true, f.env.Now().Add(factsRetryIn)
}
