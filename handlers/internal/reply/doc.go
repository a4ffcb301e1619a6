// Package reply has the OPs of tests: handlers that answer in one way. It imports nothing of this
// module, so that the tests of exchange can use it, too.
package reply
