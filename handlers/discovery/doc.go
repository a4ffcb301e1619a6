// Package discovery adds to the OP's discovery document what is served in front of the OP (OpenID
// Connect Discovery 1.0, section 3), and hands each document that passes to the provider.
//
// [Discovery.Serve] is all of it; the members that are added come from the packages that serve what
// they name. The package may import the kernel (package handlers) only.
package discovery
