// Package browser is what a browser and its cookies are at the OP: our own ones, and the OP's as
// far as they matter.
//
// Our cookies of one request are read once, by [ReadCookies], and written once, by [Cookies.Write].
// Between the two, signin and logout decide what becomes of them; [Cookies.End] ends the browser's
// sessions. Each cookie has a file: session_cookie.go, pending_request.go. Of the OP, there are the
// cookies that a sign-out deletes (clear_cookie.go) and where the login cookie is set
// (login_cookie_paths.go).
//
// The package imports the kernel alone. Start with cookies.go.
package browser
