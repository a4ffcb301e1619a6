package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
)

// signOutTarget: CPU time per request, as a multiple of that of a `respond` and one bare
// verification of a signature together.
const signOutTarget = 1.5

// bye is where the endpoint sends browsers.
const bye = "https://shop.example/bye"

// compareSignOuts asks the end_session endpoint to be sent back, with a valid hint, for a browser
// that is not signed in: so every request is like the one before, and all of them are verified.
func compareSignOuts(ctx context.Context, r *report, s *sites, rounds int) error {
	hint, err := s.op.hint()
	if err != nil {
		return err
	}
	query := url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}.Encode()
	verify, err := verification(s.op.key.Key.(*rsa.PrivateKey))
	if err != nil {
		return err
	}
	site := func(name string, at int) *load {
		return &load{name: name, status: http.StatusSeeOther, location: bye, requests: signOutRequests(s.host(at), query)}
	}
	c := &comparison{
		sites: [3]*load{
			site("end_session with an RS256 hint", siteOP), site("respond 303", siteLeave), site("respond 303 (control)", siteLeaveControl),
		},
		work: verify, workName: "one bare RSA-2048 verification",
	}
	if err := measure(ctx, r, s.server, c, s.addresses([3]int{siteOP, siteLeave, siteLeaveControl}), rounds); err != nil {
		return err
	}
	r.target("end_session / (respond + verification)", c.subject().sums, signOutTarget, c.control().noise(), "%.2f")
	return nil
}

// verification returns the verification of a signature as RS256 has it (RFC 7518, section 3.3),
// without anything else: the digest is there already.
func verification(key *rsa.PrivateKey) (func() error, error) {
	digest := sha256.Sum256([]byte("a token"))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		return nil, err
	}
	return func() error { return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature) }, nil
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
