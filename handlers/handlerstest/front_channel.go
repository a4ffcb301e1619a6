package handlerstest

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

var (
	FrameAddress = regexp.MustCompile(`data-src="([^"]*)"`)
	NextAddress  = regexp.MustCompile(`data-next="([^"]*)"`)
)

// Next is where the page of the frames goes on.
func (x *Exit) Next(page string) *http.Request {
	x.T.Helper()
	found := NextAddress.FindStringSubmatch(page)
	if found == nil {
		x.T.Fatalf("there are no frames on %s", page)
	}
	return httptest.NewRequest(http.MethodGet, Issuer+html.UnescapeString(found[1]), nil)
}

// Reads sends a request and returns the page that the user reads.
func (x *Exit) Reads(r *http.Request) string {
	x.T.Helper()
	return reply.ReadAll(x.T, x.Once(r).Body)
}
