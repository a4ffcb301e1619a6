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
	// factsDay is how exactly it is recorded when something was observed.
	factsDay = 24 * time.Hour
	// missingFor is how long an ID token that lacked something counts.
	missingFor = 30 * factsDay
	// documentAgain is how often it is noted that another discovery document was observed.
	documentAgain = time.Hour
)

// opFacts are what was observed of one issuer's OP. What its ID tokens have is recorded: at most
// once a day, by the request that brought the news. Its keys are known since the start only.
type opFacts struct {
	env handlers.Env
	// changed is called with what is known now. It must not wait.
	changed func(observed)

	mu           sync.Mutex
	issuer       string
	observed     observed
	recorded     registry.Facts // what the registry has, or is about to have
	failing      bool
	notBefore    time.Time // when the registry may be asked again without need
	documentSeen time.Time // when it was last noted where a document is
}

// observed is what is known of an OP.
type observed struct {
	registry.Facts

	names      tokens.KeyNames // of its keys; none: they were not observed
	withoutKid string          // the client whose last ID token had no kid; empty: not known
	complete   bool            // what was recorded before is known
}

// of begins anew when the issuer is another one. The caller holds the lock.
func (f *opFacts) of(issuer string) {
	if f.issuer == issuer {
		return
	}
	f.issuer, f.observed, f.recorded = issuer, observed{}, registry.Facts{}
	f.notBefore, f.documentSeen = time.Time{}, time.Time{}
}

// load has what was recorded read, unless it is known. It does not wait.
func (f *opFacts) load(issuer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(issuer)
	now := f.env.Now()
	if f.observed.complete || now.Before(f.notBefore) {
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
		f.failed("what was seen of the OP before is not known, "+
			"so that no keys are added to its own", err)
		return f.observed.complete
	}
	f.failing = false
	f.recorded = recorded
	f.observed.Facts, f.observed.complete = f.observed.Merge(recorded), true
	f.changed(f.observed)
	return true
}

// observeToken notes what an ID token of a client has.
func (f *opFacts) observeToken(
	ctx context.Context, issuer, clientID string, token tokens.IDToken,
) {
	day := registry.At(f.env.Now().Truncate(factsDay))
	f.note(ctx, issuer, func(s *observed) {
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

// observeKeys notes the OP's keys, and returns what is known with them.
func (f *opFacts) observeKeys(issuer string, names tokens.KeyNames) observed {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of(issuer)
	f.observed.names = names
	f.changed(f.observed)
	return f.observed
}

// observeDocument notes where a discovery document of the OP is. One is enough, but it may be gone
// one day: now and then, another takes its place.
func (f *opFacts) observeDocument(ctx context.Context, issuer, path string) {
	f.note(ctx, issuer, func(s *observed) {
		if now := f.env.Now(); now.Sub(f.documentSeen) >= documentAgain {
			f.documentSeen, s.Discovery = now, path
		}
	})
}

// note adds to what is known, and records what is not recorded yet. One call records it, which
// others do not wait for.
func (f *opFacts) note(ctx context.Context, issuer string, add func(*observed)) {
	f.mu.Lock()
	f.of(issuer)
	add(&f.observed)
	f.changed(f.observed)
	known, before := f.observed.Facts, f.recorded
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
