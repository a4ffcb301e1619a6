// Package backchannel is the OP's side of OpenID Connect Back-Channel Logout 1.0, for OPs that have
// none of their own: when a session ends, its clients are notified.
//
// Start reading at [BackChannel] (backchannel.go), one for each site. A notice of the registry
// leaves by [Notices] (notices.go), which says where it goes and signs its token; package notify
// delivers it. [JWKS] (jwks.go) adds our public keys to the OP's. Both go by what was observed of
// the OP (op_facts.go), from which key_publication.go decides whether keys can be added and what
// keeps clients from being notified; unnotified.go logs and lists such clients.
//
// The package may import the kernel (package handlers), the packages on its ground floor (browser,
// clients, opkeys), and notify.
package backchannel
