// Package registration observes the OP's registration endpoint (OpenID Connect Dynamic Client
// Registration 1.0, section 3): what clients register for logout is kept, and echoed where the OP
// drops it.
//
// Start reading at [Registration.Serve] (registration.go); document.go reads requests and responses
// and says which of their members are used.
//
// The package stands above the endpoints and may import the kernel (package handlers), the packages
// on its ground floor (browser, clients, opkeys), backchannel and logout.
package registration
