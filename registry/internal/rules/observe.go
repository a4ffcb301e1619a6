package rules

import (
	"fmt"
	"slices"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// CheckObserved reports whether what was seen of an OP keeps the bounds.
func CheckObserved(issuer string, observed registry.Observed) error {
	if len(observed.Keys) > registry.MaxObservedKeys {
		return fmt.Errorf("%w: %d keys, over %d", registry.ErrInvalid, len(observed.Keys), registry.MaxObservedKeys)
	}
	for _, key := range observed.Keys {
		err := first(checkLength("key ID", key.KeyID), checkLength("thumbprint", key.Thumbprint), checkLength("algorithm", key.Algorithm))
		if err != nil {
			return err
		}
	}
	return first(CheckIssuer(issuer), checkPresence(observed.KeyIDs), checkPresence(observed.SessionIDs), checkLength("discovery path", observed.Discovery))
}

func checkPresence(presence registry.Presence) error {
	if len(presence.Missing) > registry.MaxMissing {
		return fmt.Errorf("%w: %d clients, over %d", registry.ErrInvalid, len(presence.Missing), registry.MaxMissing)
	}
	for _, missing := range presence.Missing {
		if err := checkName("client ID", missing.ClientID); err != nil {
			return err
		}
	}
	return nil
}

// CloneObserved is a copy whose times are as the registry records them.
func CloneObserved(observed registry.Observed) registry.Observed {
	observed.KeyIDs, observed.SessionIDs = clonePresence(observed.KeyIDs), clonePresence(observed.SessionIDs)
	observed.Keys = slices.Clone(observed.Keys)
	return observed
}

func clonePresence(presence registry.Presence) registry.Presence {
	presence.Missing = slices.Clone(presence.Missing)
	for i := range presence.Missing {
		presence.Missing[i].Last = instant(presence.Missing[i].Last)
	}
	return presence
}
