package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/oidc-session/caddy-oidc-session/internal/clock"
)

// A receiver is a client's back-channel logout endpoint (Back-Channel Logout 1.0, section 2.5), which verifies what it gets as clients
// do: by the OP's document and the keys that it names.
type receiver struct {
	t      *testing.T
	issuer string
	client string
	found  string // where the client finds the OP's document; empty: at its issuer
	algs   []jose.SignatureAlgorithm
	server *httptest.Server

	mu     sync.Mutex
	status []int // of the next answers; none left: 200, or 400 for a bad token
	tokens []logoutToken
	tries  int
}

// A logoutToken is what a receiver was notified by.
type logoutToken struct {
	Issuer   string                     `json:"iss"`
	Audience string                     `json:"aud"`
	Sub      string                     `json:"sub"`
	Sid      string                     `json:"sid"`
	ID       string                     `json:"jti"`
	Issued   int64                      `json:"iat"`
	Expires  int64                      `json:"exp"`
	Events   map[string]json.RawMessage `json:"events"`
	Nonce    *string                    `json:"nonce"`
	alg      string
}

func newReceiver(t *testing.T, s site, client string, algs ...jose.SignatureAlgorithm) *receiver {
	if len(algs) == 0 {
		algs = []jose.SignatureAlgorithm{jose.RS256}
	}
	r := &receiver{t: t, issuer: s.issuer, client: client, algs: algs}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) uri() string { return r.server.URL + "/backchannel?tenant=a" }

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	token, err := r.verify(request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	status := http.StatusOK
	if len(r.status) > 0 {
		status, r.status = r.status[0], r.status[1:]
	} else if err != nil {
		r.t.Errorf("%s cannot verify a logout token: %v", r.client, err)
		status = http.StatusBadRequest
	}
	if status == http.StatusOK {
		r.tokens = append(r.tokens, token)
	}
	w.WriteHeader(status)
}

// verify verifies a request as Back-Channel Logout 1.0, section 2.6, has it.
func (r *receiver) verify(request *http.Request) (token logoutToken, err error) {
	if request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || request.URL.RawQuery != "tenant=a" {
		return token, fmt.Errorf("it is %s %s of %s", request.Method, request.URL, request.Header.Get("Content-Type"))
	}
	if err := request.ParseForm(); err != nil || len(request.PostForm) != 1 || len(request.PostForm["logout_token"]) != 1 {
		return token, fmt.Errorf("the form has %d fields: %w", len(request.PostForm), err)
	}
	parsed, err := jwt.ParseSigned(request.PostForm.Get("logout_token"), r.algs)
	if err != nil {
		return token, err
	}
	header := parsed.Headers[0]
	keys, err := r.keys()
	if err != nil {
		return token, err
	}
	found := keys.Key(header.KeyID)
	if len(found) != 1 || found[0].Use != "sig" || found[0].Algorithm != header.Algorithm || !found[0].IsPublic() {
		return token, fmt.Errorf("%d keys with kid %q", len(found), header.KeyID)
	}
	if err := parsed.Claims(found[0], &token); err != nil {
		return token, err
	}
	token.alg = header.Algorithm
	now := clock.Now().Unix()
	switch {
	case header.ExtraHeaders["typ"] != "logout+jwt":
		err = fmt.Errorf("typ is %v", header.ExtraHeaders["typ"])
	case token.Issuer != r.issuer || token.Audience != r.client:
		err = fmt.Errorf("it is of %s for %s", token.Issuer, token.Audience)
	case token.Issued > now+5 || token.Expires <= now || token.Expires-token.Issued > 120 || token.ID == "" || token.Nonce != nil:
		err = fmt.Errorf("claims %+v", token)
	case string(token.Events["http://schemas.openid.net/event/backchannel-logout"]) != "{}" || len(token.Events) != 1:
		err = fmt.Errorf("events %s", token.Events)
	}
	return token, err
}

// keys are those of the OP, found as clients find them.
func (r *receiver) keys() (keys jose.JSONWebKeySet, err error) {
	client := &http.Client{Transport: transport(), Timeout: time.Minute}
	defer client.CloseIdleConnections()
	var document struct {
		JWKSURI   string `json:"jwks_uri"`
		Supported bool   `json:"backchannel_logout_supported"`
	}
	if err := getJSON(client, cmp.Or(r.found, strings.TrimSuffix(r.issuer, "/")+"/.well-known/openid-configuration"), &document); err != nil {
		return keys, err
	}
	if !document.Supported {
		return keys, fmt.Errorf("the OP's document does not say that it notifies clients")
	}
	return keys, getJSON(client, document.JWKSURI, &keys)
}

func getJSON(client *http.Client, url string, into any) error {
	response, err := client.Get(url)
	for tries := 0; tries < 5 && errors.Is(err, syscall.ECONNRESET); tries++ { // by a reload, as in transport
		response, err = client.Get(url)
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// answers has the next tries answered so.
func (r *receiver) answers(status ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// notified waits until the receiver was notified so often, and returns of whom: sub and sid, sorted by time.
func (r *receiver) notified(n int) []logoutToken {
	r.t.Helper()
	for range 3000 {
		r.mu.Lock()
		tokens := append([]logoutToken(nil), r.tokens...)
		r.mu.Unlock()
		if len(tokens) >= n {
			return tokens
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("%s was not notified %d times", r.client, n)
	return nil
}

// attempts is how often the receiver was asked so far.
func (r *receiver) attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

// tried waits until the receiver was asked so often.
func (r *receiver) tried(n int) {
	r.t.Helper()
	for range 3000 {
		if r.attempts() >= n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("%s was not tried %d times", r.client, n)
}

// wake has what is due claimed at once, as at each end of a session: here, one that no client is
// notified of.
func wake(t *testing.T, s site) {
	t.Helper()
	b := newBrowser(t)
	b.signIn(s, "nobody", "carol", nil)
	b.get(s.issuer + "/logout")
}

// withReceivers is a site whose clients are notified by back channel.
func withReceivers(directives string, receivers ...*receiver) string {
	var b strings.Builder
	b.WriteString("oidc_session {\n\t\tissuer ISSUER\n\t\tlogin_cookie login\n\t\tend_session {\n\t\t\tupstream GET /logout\n\t\t}\n" +
		"\t\tbackchannel_logout {\n\t\t\tallow_private 127.0.0.1\n\t\t\tredirect_wait 10s\n\t\t}\n" + directives)
	for _, r := range receivers {
		fmt.Fprintf(&b, "\t\tclient %s {\n\t\t\tname \"The %s\"\n\t\t\tpost_logout_redirect_uri %s\n\t\t\tbackchannel_logout_uri %s\n\t\t\tid_token_signed_response_alg %s\n\t\t}\n",
			r.client, r.client, shopBye, r.uri(), r.algs[0])
	}
	b.WriteString("\t}\n\t")
	return b.String()
}
