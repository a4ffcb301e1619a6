// Package signin observes sign-ins at the OP: authorization requests, pushed ones among them, the
// responses to them, and token responses. It starts, continues and ends the sessions of browsers,
// and adds session_state to authorization responses. It also observes how the OP signs users out
// by itself: the deletion of its login cookie, its own logout requests, and login_required.
//
// Nothing here answers a request: everything passes to the OP, and its responses pass back.
//
// Start with [Observer.Serve]. It reads a request; observation.decide then reads the response,
// decides what it means, and writes the cookies. The package imports the kernel and what is beside
// it: browser, clients and opkeys.
package signin
