// Package handlerstest has the fixtures that the tests of several endpoint packages share. Nothing
// else may import it.
//
//   - [World] is an Env whose clock, store and log the test controls.
//   - [Agent] is a browser with a cookie jar at the OP's site; [Exit] is one whose OP has our
//     end_session endpoint.
//   - Further fixtures have the name of the behaviour that they are for.
//
// Start with fixtures.go.
package handlerstest
