// Package integration tests the whole product in one Caddy process: through a Caddyfile, HTTP, the
// admin API and the log, as operators, browsers and apps meet it. The files fixture_*_test.go hold
// the OP, the browser and the Caddy that the others use.
package integration
