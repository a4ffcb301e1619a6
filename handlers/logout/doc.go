// Package logout is the end_session endpoint of OpenID Connect RP-Initiated Logout 1.0, with the
// page by which it notifies clients (Front-Channel Logout 1.0).
//
// A request is followed in this order: serve.go takes it, request.go reads what an app asks for,
// decide.go decides whether the user is signed out, or asked before, and sign_out.go does it:
// upstream.go ends the OP's own session, repetition.go has that done once for a double click,
// login_cookie.go says whether it is certain, and receipt.go collects which clients are notified.
// What goes on with the browser's next request is sealed (sealed.go). Requests of scripts and of
// apps' servers are in scripts.go and hint_only.go.
//
// Of the handlers' packages it imports all but registration and overview. Start with
// [EndSession.Serve].
package logout
