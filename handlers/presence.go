package handlers

import (
	"cmp"
	"slices"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// missingFor is how long a client counts whose last ID token lacked something: it may be gone for good.
	missingFor = 30 * 24 * time.Hour
	// missingAgain is how often it is noted that it lacks it still.
	missingAgain = 24 * time.Hour
)

// isPresent reports whether ID tokens have something: one had it, and no client's last one was without.
func isPresent(p registry.Presence) bool { return p.Seen && len(p.Missing) == 0 }

// saw returns what is known once an ID token of a client was seen. What it is made from stays as it was.
func saw(p registry.Presence, clientID string, has bool, now time.Time) registry.Presence {
	now = now.UTC().Truncate(time.Millisecond)
	clientID = clientID[:min(len(clientID), registry.MaxString)]
	after := registry.Presence{Seen: p.Seen || has}
	isNoted := false
	for _, missing := range p.Missing {
		if missing.ClientID == clientID {
			if has {
				continue
			}
			isNoted = true
			if now.Sub(missing.Last) >= missingAgain {
				missing.Last = now
			}
		}
		if now.Sub(missing.Last) < missingFor {
			after.Missing = append(after.Missing, missing)
		}
	}
	if !has && !isNoted {
		after.Missing = noted(after.Missing, registry.Missing{ClientID: clientID, Last: now})
	}
	return after
}

// noted adds a client. Where there are too many, it takes the place of one that was not seen for a while; else it is left out, and counts
// when one of the others does not any more.
func noted(clients []registry.Missing, client registry.Missing) []registry.Missing {
	if len(clients) < registry.MaxMissing {
		return append(clients, client)
	}
	for i := range clients {
		if client.Last.Sub(clients[i].Last) >= missingAgain {
			clients[i] = client
			break
		}
	}
	return clients
}

// both returns what two records of one thing say together.
func both(a, b registry.Presence) registry.Presence {
	merged := registry.Presence{Seen: a.Seen || b.Seen, Missing: slices.Clone(a.Missing)}
	for _, client := range b.Missing {
		at := slices.IndexFunc(merged.Missing, func(m registry.Missing) bool { return m.ClientID == client.ClientID })
		switch {
		case at >= 0 && client.Last.After(merged.Missing[at].Last):
			merged.Missing[at] = client
		case at < 0:
			merged.Missing = noted(merged.Missing, client)
		}
	}
	return merged
}

// isSame reports whether two records say the same.
func isSame(a, b registry.Observed) bool {
	return isSameOfTokens(a, b) && slices.Equal(a.Keys, b.Keys) && a.Discovery == b.Discovery
}

// isSameOfTokens reports whether they say the same of ID tokens.
func isSameOfTokens(a, b registry.Observed) bool {
	same := func(a, b registry.Presence) bool { return a.Seen == b.Seen && slices.Equal(a.Missing, b.Missing) }
	return same(a.KeyIDs, b.KeyIDs) && same(a.SessionIDs, b.SessionIDs)
}

// joined is what two handlers of one issuer have seen together. The keys and the document are those that the second saw, if it saw any.
func joined(a, b registry.Observed) registry.Observed {
	both := registry.Observed{KeyIDs: both(a.KeyIDs, b.KeyIDs), SessionIDs: both(a.SessionIDs, b.SessionIDs), Keys: b.Keys}
	both.Discovery = cmp.Or(b.Discovery, a.Discovery)
	if len(both.Keys) == 0 {
		both.Keys = a.Keys
	}
	return both
}
