// Package guard refuses an app's own session once the session at the OP has ended. It stands on the
// site of the app, which it changes nothing in.
//
// Beside each session cookie that an app sets, the guard sets a certificate, a cookie of its own
// that names the OP's session (sessionstate.Certificate): by it, and never by the value of the
// app's cookie alone, it decides whether that cookie passes. A request and its response are one
// passage:
//
//   - request.go judges the cookies of a request; refusal.go takes refused ones off it, or answers;
//   - sign_in.go finds out whether a response signs the user in, and to which session;
//   - response.go sets the certificates; set_cookie.go reads the app's Set-Cookie lines;
//   - names.go knows which cookies of a site are session cookies, cookie_name.go what names say;
//   - sessions.go remembers which sessions live, until they end; streams.go closes streams then.
//
// Start reading at [Guard.Serve].
package guard
