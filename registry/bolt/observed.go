package bolt

import (
	"encoding/binary"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

func (t *tx) putObserved(observed registry.Observed) {
	t.put(bucketObserved, t.key(), encodeObserved(observed))
}

// observed is what is recorded of the issuer's OP; nil: nothing.
func (t *tx) observed() *registry.Observed {
	observed, found := get(t, bucketObserved, t.key(), decodeObserved)
	if !found {
		return nil
	}
	return &observed
}

func encodeObserved(observed registry.Observed) []byte {
	b := appendPresence(appendPresence(nil, observed.KeyIDs), observed.SessionIDs)
	b = binary.BigEndian.AppendUint16(b, uint16(len(observed.Keys)))
	for _, key := range observed.Keys {
		b = appendText(appendText(appendText(b, key.KeyID), key.Thumbprint), key.Algorithm)
	}
	if observed.Discovery != "" { // left out where there is none
		b = appendText(b, observed.Discovery)
	}
	return b
}

func decodeObserved(value []byte) (observed registry.Observed, err error) {
	d := decoder{rest: value}
	observed.KeyIDs, observed.SessionIDs = d.presence(), d.presence()
	for range d.number() {
		if d.err != nil {
			break
		}
		observed.Keys = append(observed.Keys, registry.ObservedKey{KeyID: d.text(), Thumbprint: d.text(), Algorithm: d.text()})
	}
	if len(d.rest) > 0 {
		observed.Discovery = d.text()
	}
	return observed, d.end()
}

func appendPresence(b []byte, presence registry.Presence) []byte {
	seen := byte(0)
	if presence.Seen {
		seen = 1
	}
	b = binary.BigEndian.AppendUint16(append(b, seen), uint16(len(presence.Missing)))
	for _, missing := range presence.Missing {
		b = appendTime(appendText(b, missing.ClientID), missing.Last)
	}
	return b
}

func (d *decoder) presence() (presence registry.Presence) {
	presence.Seen = d.take(1)[0] != 0
	for range d.number() {
		if d.err != nil {
			break
		}
		presence.Missing = append(presence.Missing, registry.Missing{ClientID: d.text(), Last: d.time()})
	}
	return presence
}
