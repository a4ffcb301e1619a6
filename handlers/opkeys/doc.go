// Package opkeys has the OP's public keys: it fetches them from the OP's jwks_uri (OpenID Connect
// Discovery 1.0, section 3) and keeps those that have left the set, for hints that come back later.
//
// [Keys.Find] is where to start reading: it returns the keys at hand, and asks the OP or the
// registry for those that are not.
//
// The package stands on the ground floor of the endpoints and may import the kernel (package
// handlers) only.
package opkeys
