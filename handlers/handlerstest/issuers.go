package handlerstest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
)

// Slugs is an OP that has an issuer for each of its clients.
const Slugs = Issuer + "/application/o/*/"

// A crowd is an OP with an issuer for each client, whose documents and keys are answered by the
// client's name.
type crowd struct {
	Source
	W *World
	P *handlers.Provider
}

func NewCrowd(t *testing.T, configured string, paths ...string) *crowd {
	t.Helper()
	c := &crowd{W: NewWorld(t)}
	c.Respond = func(w http.ResponseWriter, r *http.Request) error {
		client, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/application/o/"), handlers.WellKnown)
		if !ok || strings.HasPrefix(client, "none") {
			http.NotFound(w, r)
			return nil
		}
		reply.Answering(crowdDocument(client))(w, r)
		return nil
	}
	c.P = &handlers.Provider{Issuers: []string{configured}, Discovery: paths}
	if err := c.P.Setup(c.W.Env); err != nil {
		t.Fatal(err)
	}
	return c
}

func crowdDocument(client string) string {
	return fmt.Sprintf(`{"issuer":"%[1]s/application/o/%[2]s/","authorization_endpoint":"%[1]s/authorize","token_endpoint":"%[1]s/token",`+
		`"jwks_uri":"%[1]s/application/o/%[2]s/jwks/","end_session_endpoint":"%[1]s/application/o/%[2]s/end/","subject_types_supported":["public"],`+
		`"id_token_signing_alg_values_supported":["ES256"]}`, Issuer, client)
}

func (c *crowd) Find(path string) *handlers.OP {
	return c.P.Find(httptest.NewRequest("GET", Issuer+path, nil), c)
}

// HintOf is a token of an issuer whose signature fits no key.
func HintOf(t *testing.T, issuer string) string {
	t.Helper()
	claims := fmt.Sprintf(`{"iss":%q,"sub":"alice","aud":"shop","exp":%d}`, issuer, time.Now().Add(time.Hour).Unix())
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return strings.Join([]string{encode(`{"alg":"ES256","kid":"x"}`), encode(claims), encode(strings.Repeat("x", 64))}, ".")
}
