// Package handlerstest has the fixtures that the tests of several endpoint packages share.
//
//   - [World] is an Env whose clock, store and log the test controls.
//   - [Agent] is a browser with a cookie jar at the OP's site; [Exit] is one whose OP has our
//     end_session endpoint.
//   - [Crowd] is an OP with many issuers; [Registrar] is one that clients register at.
//
// Start with world.go. The other files are for what a test is about: the OP's documents and keys,
// sign-ins, sign-outs, registrations.
package handlerstest
