package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Bounds that keep the server's rate limiter out of the measurement: it lets each handle have a
// burst of 20 checks, and each address one of 500.
const (
	checksPerHandle    = 12
	handlesPerAddress  = 32
	madeUpBrowserState = "a-browser-state-that-the-server-does-not-look-at"
)

// checkBodies returns the bodies of questions of the check page: handles of as many clients as
// needed, all in the session of sessionState, so that count checks do not meet the rate limiter.
func checkBodies(keys *sessionstate.Keyring, issuer, sessionState string, count int) ([]string, error) {
	_, salt, _ := sessionstate.Split(sessionState)
	signedIn, err := keys.OpenHandle(issuer, salt)
	if err != nil {
		return nil, fmt.Errorf("opening the handle of the sign-in: %w", err)
	}
	bodies := make([]string, 0, count/checksPerHandle+1)
	for i := range cap(bodies) {
		clientID := fmt.Sprintf("client-%d", i)
		origin := "https://" + clientID + ".example"
		handle := sessionstate.NewHandle(clientID, origin)
		handle.Session = signedIn.Session
		handle.Response, handle.Until = sessionstate.NewResponseID("code of "+clientID), time.Now().Add(time.Hour)
		state := sessionstate.Compute(clientID, origin, madeUpBrowserState, keys.SealHandle(issuer, handle))
		// As assets/check_session.js writes it where the browser hides the cookie from it.
		bodies = append(bodies, "client_id="+url.QueryEscape(clientID)+"&session_state="+url.QueryEscape(state)+
			"&origin="+url.QueryEscape(origin)+"&browser_state=")
	}
	return bodies, nil
}

// checkRequests are POSTs of the check page of the issuer to a site, from many addresses.
func checkRequests(issuer, host string, bodies []string) [][]byte {
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		requests[i] = []byte(strings.Join([]string{
			"POST /oidc/check-session HTTP/1.1",
			"Host: " + host,
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
			"Accept: */*",
			"Content-Type: application/x-www-form-urlencoded",
			"Origin: " + issuer,
			"X-Forwarded-For: " + madeUpAddress(i/handlesPerAddress),
			fmt.Sprintf("Content-Length: %d", len(body)),
			"", body,
		}, "\r\n"))
	}
	return requests
}

// pageRequests are GETs of the check page's path on a site, of a browser that does not have the
// page yet.
func pageRequests(host string) [][]byte {
	requests := make([][]byte, 64)
	for i := range requests {
		requests[i] = []byte(strings.Join([]string{
			"GET /oidc/check-session HTTP/1.1",
			"Host: " + host,
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
			"X-Forwarded-For: " + madeUpAddress(i),
			"", "",
		}, "\r\n"))
	}
	return requests
}

func madeUpAddress(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }
