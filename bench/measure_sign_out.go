package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// signOutTarget: CPU time per request, as a multiple of that of a `respond` and of one bare verification of the signature.
const signOutTarget = 1.5

// bye is where the endpoint sends browsers.
const bye = "https://shop.example/bye"

// compareSignOuts asks the end_session endpoint to be sent back, with a valid hint, for a browser that is not signed in: so every request
// is like the one before, and all of them are verified.
func compareSignOuts(ctx context.Context, r *report, s *sites, rounds int) error {
	hint, err := s.op.hint()
	if err != nil {
		return err
	}
	query := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}.Encode()
	site := func(name string, at int) *load {
		return &load{name: name, status: http.StatusSeeOther, requests: signOutRequests(s.host(at), query)}
	}
	c := &comparison{sites: [3]*load{
		site("end_session with an RS256 hint", siteOP), site("respond 303", siteLeave), site("respond 303 (control)", siteLeaveControl),
	}}
	if err := measure(ctx, r, s, c, [3]int{siteOP, siteLeave, siteLeaveControl}, rounds); err != nil {
		return err
	}
	verification := verifyOnce(s.op.key.Key.(*rsa.PrivateKey))
	r.info("one bare RSA-2048 verification", "%v", verification)
	both := c.perRequest(1) + verification
	r.target("end_session / (respond + verification)", float64(c.perRequest(0))/float64(both), signOutTarget, c.ratio(2).noise(), "%.2f")
	return nil
}

// verifyOnce is the time of one verification of a signature by RS256, without anything else.
func verifyOnce(key *rsa.PrivateKey) time.Duration {
	digest := sha256.Sum256([]byte("a token"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // the key is our own
	}
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
	return time.Duration(result.NsPerOp())
}

// signOutRequests are GETs of a browser that follows an app's link.
func signOutRequests(host, query string) [][]byte {
	return [][]byte{[]byte(strings.Join([]string{
		"GET /oidc/end-session?" + query + " HTTP/1.1",
		"Host: " + host,
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language: en",
		"Sec-Fetch-Dest: document",
		"Sec-Fetch-Mode: navigate",
		"Sec-Fetch-Site: cross-site",
		"", "",
	}, "\r\n"))}
}
