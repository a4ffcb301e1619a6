package registry

import "time"

// RegisteredKey is the set of an issuer's clients that have registered themselves, and UsedKey
// that of those that took part in a session.
var RegisteredKey, UsedKey = registeredKey, usedKey

func init() { Limit = time.Minute } // no test fails for a machine that is busy
