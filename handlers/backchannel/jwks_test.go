package backchannel_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// generated are signing keys, made once: RSA takes its time.
var generated = sync.OnceValue(func() *tokens.SigningKeys {
	keys, _, err := tokens.GenerateSigningKeys()
	if err != nil {
		panic(err)
	}
	return keys
})

// A told is a site whose clients are told, in front of an OP with this JWK Set.
type told struct {
	t        *testing.T
	w        *handlerstest.World
	b        *backchannel.BackChannel
	j        *backchannel.JWKS
	op       *handlers.OP
	keys     *tokens.SigningKeys
	given    bool // the keys are configured
	document string
	kind     string // media type of the document
}

func newTold(t *testing.T, keys *tokens.SigningKeys, given bool, opKeys ...jose.JSONWebKey) *told {
	s := &told{
		t: t, w: handlerstest.NewWorld(t), keys: keys, given: given, kind: "application/json",
		op: handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks"}), document: documentOf(t, opKeys...),
	}
	s.restart()
	return s
}

func documentOf(t *testing.T, keys ...jose.JSONWebKey) string {
	t.Helper()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	document, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(document)
}

// restart begins anew, with the same registry.
func (s *told) restart() {
	s.t.Helper()
	s.b = &backchannel.BackChannel{
		Configured: true, Adopt: func(string) {}, OPKeys: &opkeys.Keys{URI: "https://keys.example.com/jwks"}, // learns nothing from what passes
		Clients: &clients.Clients{List: []clients.Client{
			{ID: handlerstest.ClientID, BackChannelLogoutURI: "https://rp.example.com/back", IDTokenSignedResponseAlg: "ES256"},
			{ID: "secret", BackChannelLogoutURI: "https://rp.example.com/back", IDTokenSignedResponseAlg: "HS256"},
			{ID: "edwards", BackChannelLogoutURI: "https://rp.example.com/back", IDTokenSignedResponseAlg: "EdDSA"},
		}},
		Keys: func(context.Context) (*tokens.SigningKeys, error) { return s.keys, nil },
	}
	if s.given {
		s.b.ConfiguredKeys = s.keys
	}
	s.b.Setup(s.w.Env)
	if err := s.b.Clients.Setup(s.w.Env); err != nil {
		s.t.Fatal(err)
	}
	s.j = &backchannel.JWKS{BackChannel: s.b}
	s.j.Setup(s.w.Env)
	s.b.Observe(s.op)
}

// get asks for the JWK Set, as a client does.
func (s *told) get() (body string) {
	s.t.Helper()
	if !s.j.Serves(s.op, "/jwks") {
		return s.document
	}
	w := httptest.NewRecorder()
	err := s.j.Serve(s.op, w, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/jwks", nil), reply.Handler(func(w http.ResponseWriter, _ *http.Request) {
		if s.kind != "" {
			w.Header().Set("Content-Type", s.kind)
		}
		w.Header().Set("Etag", `"the OP's"`)
		_, _ = w.Write([]byte(s.document))
	}))
	if err != nil {
		s.t.Fatal(err)
	}
	if w.Body.String() == s.document && w.Header().Get("Etag") != `"the OP's"` {
		s.t.Error("a document that passes as it came has lost its validator")
	}
	return w.Body.String()
}

// adds reports whether our keys are among those of the OP.
func (s *told) adds() bool {
	s.t.Helper()
	got := s.get()
	if got == s.document {
		return false
	}
	for _, key := range s.keys.Published() {
		if !strings.Contains(got, string(key.JWK)) {
			s.t.Errorf("key %s is missing", key.ID)
		}
	}
	return true
}

// sees is an ID token of a client, with a kid or without, as its algorithm says.
func (s *told) sees(client string, token tokens.IDToken) {
	s.b.ObserveIDToken(s.t.Context(), s.op, client, token)
}

var (
	namedToken     = tokens.IDToken{KeyID: "1", SessionID: "a"}
	unnamedToken   = tokens.IDToken{SessionID: "a"}
	symmetricToken = tokens.IDToken{Algorithm: "HS256", SessionID: "a"}
)

// sign signs a token for a client, and returns it with its kid.
func (s *told) sign(client string) (token, kid string, err error) {
	s.t.Helper()
	token, err = s.w.NoticesOf(s.b).Token(s.t.Context(), registry.PendingNotice{Issuer: handlerstest.Issuer, ClientID: client, Sub: "alice", Sid: "a"})
	if err != nil {
		return "", "", err
	}
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		s.t.Fatal(err)
	}
	return token, parsed.Signatures[0].Header.KeyID, nil
}

// facts are what is recorded of the OP.
func (s *told) facts() registry.Facts {
	s.t.Helper()
	facts, err := s.w.Env.Registry.Facts(s.t.Context(), handlerstest.Issuer)
	if err != nil {
		s.t.Fatal(err)
	}
	return facts
}

func (s *told) logged(text string) []map[string]any {
	var fields []map[string]any
	for _, entry := range s.w.Logs.FilterMessageSnippet(text).All() {
		fields = append(fields, entry.ContextMap())
	}
	return fields
}

// An OP with one key may leave out the kid (OpenID Connect Core 1.0, section 10.1): clients refuse
// its ID tokens once several keys fit.
func TestKeysAreAddedOnlyWhereThatBreaksNoSignIn(t *testing.T) {
	named, second := handlerstest.NewKey(t, "1"), handlerstest.NewKey(t, "2")
	unnamed, forEncryption := handlerstest.NewKey(t, ""), handlerstest.NewKey(t, "")
	forEncryption.Use = "enc"
	for name, tt := range map[string]struct {
		keys        []jose.JSONWebKey
		tokens      []tokens.IDToken // each of a client of its own
		adds, tells bool
	}{
		"one key, and no ID token seen":          {[]jose.JSONWebKey{named}, nil, false, true},
		"one key, and an ID token that names it": {[]jose.JSONWebKey{named}, []tokens.IDToken{namedToken}, true, true},
		"one key, and an ID token without a kid": {[]jose.JSONWebKey{named}, []tokens.IDToken{unnamedToken}, false, false},
		"two keys":                               {[]jose.JSONWebKey{named, second}, nil, true, true},
		"two keys, one without a kid":            {[]jose.JSONWebKey{named, unnamed}, []tokens.IDToken{namedToken}, false, false},
		"two keys, and an ID token without":      {[]jose.JSONWebKey{named, second}, []tokens.IDToken{unnamedToken}, false, false},
		"one key for signatures":                 {[]jose.JSONWebKey{named, forEncryption}, nil, false, true},
		"a key for encryption without a kid":     {[]jose.JSONWebKey{named, forEncryption}, []tokens.IDToken{namedToken}, true, true},
		"ID tokens by the client's secret":       {[]jose.JSONWebKey{named}, []tokens.IDToken{symmetricToken}, false, true},
		"those and others":                       {[]jose.JSONWebKey{named}, []tokens.IDToken{symmetricToken, namedToken}, true, true},
		"ID tokens with a kid and without":       {[]jose.JSONWebKey{named}, []tokens.IDToken{namedToken, unnamedToken, namedToken}, false, false},
		"no key":                                 {nil, nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTold(t, generated(), false, tt.keys...)
			for i, token := range tt.tokens {
				s.sees(string(rune('a'+i)), token)
			}
			for range 2 {
				if got := s.adds(); got != tt.adds {
					t.Errorf("added: %v", got)
				}
				if s.b.Notifies(s.op) != tt.tells || (len(s.b.Members(s.op)) > 0) != tt.tells {
					t.Errorf("told: %v", !tt.tells)
				}
			}
			if lines := s.logged("or have the OP name its keys"); (len(lines) == 1) == tt.tells || len(lines) > 1 {
				t.Errorf("logged %v", lines)
			}
			if lines := s.logged("pass as they came for now"); (len(lines) == 1) != (tt.tells && !tt.adds) || len(lines) > 1 {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

func TestAnOPThatBeginsToNameItsKeysIsToldFrom(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	s.sees("shop", unnamedToken)
	s.sees("wiki", unnamedToken)
	s.sees("shop", namedToken)
	if s.adds() || s.b.Notifies(s.op) {
		t.Error("keys are added while a client's ID tokens name none")
	}
	if lines := s.logged("or have the OP name its keys"); len(lines) != 1 {
		t.Errorf("logged %v", lines)
	}
	s.w.Clock.Advance(backchannel.MissingFor - 13*time.Hour) // from the beginning of that day
	if s.sees("shop", namedToken); s.adds() || s.b.Notifies(s.op) {
		t.Error("keys are added before a month is over")
	}
	s.w.Clock.Advance(time.Hour)
	s.sees("shop", namedToken)
	if !s.adds() || !s.b.Notifies(s.op) || len(s.logged("clients can be told of sign-outs now")) != 1 {
		t.Error("keys are not added, or that is not said")
	}
}

// A client that fetches the set without our keys refuses a logout token permanently, and one whose
// sign-in breaks does not wait for a token to be seen.
func TestWhatWasSeenOfTheOPOutlastsARestart(t *testing.T) {
	for name, tt := range map[string]struct {
		seen tokens.IDToken
		want bool
	}{"with a kid": {namedToken, true}, "without a kid": {unnamedToken, false}} {
		t.Run(name, func(t *testing.T) {
			s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
			s.sees(handlerstest.ClientID, tt.seen)
			s.restart()
			if got := s.adds(); got != tt.want || s.b.Notifies(s.op) != tt.want {
				t.Errorf("added: %v", got)
			}
			s.restart()
			if _, _, err := s.sign(handlerstest.ClientID); (err == nil) != tt.want {
				t.Errorf("before any request, signing a token: %v", err)
			}
		})
	}
}

func TestNoKeysAreAddedWhileItIsNotKnownWhatWasSeen(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"), handlerstest.NewKey(t, "2"))
	s.w.Down()
	s.restart()
	for range 3 {
		if s.adds() {
			t.Error("keys are added")
		}
	}
	if _, _, err := s.sign(handlerstest.ClientID); !errors.Is(err, backchannel.ErrFactsUnavailable) || errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("signing: %v", err)
	}
	if lines := s.logged("the OP's keys pass as they came: clients cannot verify"); len(lines) != 1 {
		t.Errorf("logged %v", lines)
	}
	if lines := s.logged("what was seen of the OP before is not known"); len(lines) != 1 {
		t.Errorf("logged %v", lines)
	}
}

// Requests may be spread over several handlers with one issuer.
func TestWhatAnotherHandlerSawCounts(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	if s.adds() {
		t.Error("keys are added before an ID token was seen")
	}
	other := &backchannel.BackChannel{Configured: true, Adopt: func(string) {}, Clients: &clients.Clients{}}
	other.Setup(s.w.Env)
	other.ObserveIDToken(s.t.Context(), s.op, handlerstest.ClientID, namedToken)
	if !s.adds() {
		t.Error("keys are not added")
	}
}

// shuffled is a JWK Set with the members of its keys in another order.
func shuffled(t *testing.T, document string) string {
	t.Helper()
	var members any
	if err := json.Unmarshal([]byte(document), &members); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(members)
	if err != nil || string(again) == document {
		t.Fatalf("%s: %v", again, err)
	}
	return string(again)
}

// signingKeys are configured keys.
func signingKeys(t *testing.T, keys ...jose.JSONWebKey) *tokens.SigningKeys {
	t.Helper()
	var documents [][]byte
	for _, key := range keys {
		document, err := key.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document)
	}
	parsed, err := tokens.ParseSigningKeys(documents...)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTheOPsOwnKeySignsWithoutBeingAdded(t *testing.T) {
	for name, kids := range map[string]struct{ op, ours string }{
		"with its kid": {"1", "1"}, "with another kid": {"1", "mine"}, "as PEM, which has no kid": {"1", ""},
		"of an OP that gives it none": {"", ""}, "of an OP that gives it none, with a kid": {"", "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			opKey := handlerstest.NewKey(t, kids.op)
			own := opKey
			own.KeyID = kids.ours
			s := newTold(t, signingKeys(t, own), true, opKey)
			s.document = shuffled(t, s.document)
			s.sees(handlerstest.ClientID, tokens.IDToken{KeyID: kids.op})
			if !s.b.Notifies(s.op) {
				t.Error("clients are not told before the OP's keys were seen")
			}
			if kids.op == "" {
				if _, _, err := s.sign(handlerstest.ClientID); !errors.Is(err, tokens.ErrWithheld) || errors.Is(err, notify.ErrCannotSign) {
					t.Errorf("a token before the OP's keys were seen: %v", err)
				}
			}
			for range 2 {
				if got := s.get(); got != s.document {
					t.Errorf("the OP's keys became %s", got)
				}
				token, kid, err := s.sign(handlerstest.ClientID)
				if err != nil || kid != kids.op {
					t.Fatalf("signed by %q: %v", kid, err)
				}
				parsed, _ := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
				if _, err := parsed.Verify(&opKey.Key.(*ecdsa.PrivateKey).PublicKey); err != nil {
					t.Error(err)
				}
				s.restart()
				if _, _, err := s.sign(handlerstest.ClientID); !errors.Is(err, tokens.ErrWithheld) || errors.Is(err, notify.ErrCannotSign) {
					t.Errorf("a token before any request has come: %v", err)
				}
			}
			if lines := s.logged("kid"); len(lines) > 0 {
				t.Errorf("logged %v", lines)
			}
		})
	}
}

// Where nothing can be added, the other keys are of no use: their clients are given up at once.
func TestBesideTheOPsOwnKeyOthersSignNothingThatCannotBeVerified(t *testing.T) {
	opKey := handlerstest.NewKey(t, "")
	other := signingKeys(t, handlerstest.NewKey(t, "other"), opKey)
	s := newTold(t, other, true, opKey)
	s.sees(handlerstest.ClientID, unnamedToken)
	s.get()
	if _, kid, err := s.sign(handlerstest.ClientID); err != nil || kid != "" {
		t.Errorf("signed by %q: %v", kid, err)
	}
	if _, _, err := s.sign("edwards"); !errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("a token for another algorithm: %v", err)
	}
	s.document = documentOf(t, handlerstest.NewKey(t, "")) // the OP has another key now
	s.get()
	if s.b.Notifies(s.op) {
		t.Error("clients are told by a key that the OP has no more")
	}
	if _, _, err := s.sign(handlerstest.ClientID); !errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("a token by a key that the OP has no more: %v", err)
	}
}

// A client may have the OP's keys since long ago, and ask for them no more.
func TestTheOPIsAskedForItsKeysWhereOneMayBeOurs(t *testing.T) {
	// what is published goes by them, which are not recorded
	for _, given := range []bool{true, false} {
		x := handlerstest.NewExit(t)
		s := newTold(t, signingKeys(t, x.Key), given)
		s.b.OPKeys = &opkeys.Keys{Discovered: s.b.ObserveKeys}
		s.b.OPKeys.Setup(s.w.Env)
		for range 3 {
			s.b.Recall(x.W.OP, httptest.NewRequest(http.MethodGet, handlerstest.Issuer+"/anything", nil), reply.Handler(x.OP))
			s.b.OPKeys.Mu.Lock()
			flight := s.b.OPKeys.Flight
			s.b.OPKeys.Mu.Unlock()
			if flight != nil {
				<-flight
			}
		}
		if got := x.Fetches.Load(); got != 1 {
			t.Errorf("configured: %v: it was asked %d times", given, got)
		}
		if view := s.b.Publication(); view.OPOwned() != given {
			t.Errorf("configured: %v: the OP's own key: %v", given, view.OPOwned())
		}
	}
}

// The OP's keys may be elsewhere, where none can be added to them.
func TestTheOPsOwnKeySignsWhereverItIsPublished(t *testing.T) {
	opKey := handlerstest.NewKey(t, "1")
	for name, tt := range map[string]struct {
		configured string // jwks_uri
		ours       jose.JSONWebKey
		seen, want bool
	}{
		"with jwks_uri":           {"https://keys.example.com/", opKey, true, true},
		"before it was asked":     {"https://keys.example.com/", opKey, false, true},
		"a key that is not there": {"https://keys.example.com/", handlerstest.NewKey(t, "2"), true, false},
		"without jwks_uri":        {"", opKey, false, false},
	} {
		s := newTold(t, signingKeys(t, tt.ours), true)
		s.op = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: "https://keys.example.com/"})
		s.b.OPKeys = &opkeys.Keys{URI: tt.configured}
		s.b.Observe(s.op)
		s.sees(handlerstest.ClientID, namedToken)
		if tt.seen {
			s.b.ObserveKeys(s.op, []byte(documentOf(t, opKey)))
		}
		if got := s.b.Notifies(s.op); got != tt.want {
			t.Errorf("%s: told: %v", name, got)
		}
		_, kid, err := s.sign(handlerstest.ClientID)
		if signs := tt.want && tt.seen; signs && (err != nil || kid != "1") || !signs && err == nil {
			t.Errorf("%s: signed by %q, %v", name, kid, err)
		}
		if lines := s.logged("missing or not on the issuer's origin"); (len(lines) == 1) == tt.want {
			t.Errorf("%s: logged %v", name, lines)
		}
	}
}

func TestAKidThatTheOPHasTooIsNotUsed(t *testing.T) {
	opKey, ours := handlerstest.NewKey(t, "1"), handlerstest.NewKey(t, "1")
	s := newTold(t, signingKeys(t, ours), true, opKey, handlerstest.NewKey(t, "2"))
	for range 3 {
		s.get()
	}
	lines := s.logged("a signing key has the kid of another key of the OP")
	if len(lines) != 1 {
		t.Errorf("logged %v", lines)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.get()), &set); err != nil || len(set.Keys) != 3 || set.Keys[0].KeyID != "1" || set.Keys[2].KeyID == "1" {
		t.Fatalf("the keys are %+v, %v", set, err)
	}
	token, kid, err := s.sign(handlerstest.ClientID)
	if err != nil || kid != set.Keys[2].KeyID {
		t.Fatalf("signed by %q: %v", kid, err)
	}
	parsed, _ := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if _, err := parsed.Verify(set.Keys[2]); err != nil {
		t.Error(err)
	}
}

func TestATokenThatNobodyCanSignIsSaidToBeOne(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	if _, _, err := s.sign("secret"); !errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("by HS256: %v", err)
	}
	// No ID token was seen yet, so that the key is not published: this may pass.
	if _, _, err := s.sign(handlerstest.ClientID); !errors.Is(err, tokens.ErrWithheld) || errors.Is(err, notify.ErrCannotSign) {
		t.Errorf("by ES256: %v", err)
	}
	s.sees(handlerstest.ClientID, namedToken)
	if _, _, err := s.sign(handlerstest.ClientID); err != nil {
		t.Error(err)
	}
}

// On a quiet site nobody asks for the keys between a token and the next configuration.
func TestAKeyThatSignedStaysPublishedForAnHour(t *testing.T) {
	first, second := handlerstest.NewKey(t, "first"), handlerstest.NewKey(t, "second")
	s := newTold(t, signingKeys(t, first), true, handlerstest.NewKey(t, "1"))
	s.sees(handlerstest.ClientID, namedToken)
	s.get()
	s.w.Clock.Advance(24 * time.Hour)
	for range 2 {
		if _, kid, err := s.sign(handlerstest.ClientID); err != nil || kid != "first" {
			t.Fatalf("signed by %q: %v", kid, err)
		}
		s.w.Clock.Advance(backchannel.PublishedAgain - time.Second)
	}
	s.keys = signingKeys(t, second)
	s.restart()
	last := s.w.Clock.Now().Add(time.Second - backchannel.PublishedAgain)
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{backchannel.PublishedFor - time.Second, true}, {3 * backchannel.PublishedFor, false}} {
		s.w.Clock.Advance(last.Add(tt.after).Sub(s.w.Clock.Now()))
		got := s.get()
		if strings.Contains(got, `"kid":"first"`) != tt.want || !strings.Contains(got, `"kid":"second"`) {
			t.Errorf("%s after the last token: %s", tt.after, got)
		}
	}
}

func TestThePublishedKeysAreRecordedNowAndThen(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	s.sees(handlerstest.ClientID, namedToken)
	edits := s.w.Counted("edit")
	for range 10 {
		s.get()
		if _, _, err := s.sign(handlerstest.ClientID); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.w.Env.Registry.Keys(t.Context(), backchannel.SignedBy(handlerstest.Issuer))
	if err != nil || len(kept) == 0 || edits() != 1 {
		t.Errorf("recorded were %+v by %d calls, %v", kept, edits(), err)
	}
}

// The first client that fetches the set may keep it permanently: what is configured counts before
// any token was seen.
func TestKeysJoinAtOnceWhereIDTokensAreKnownToNameTheirs(t *testing.T) {
	for _, tt := range []struct {
		known []string
		want  bool
	}{{nil, false}, {[]string{handlers.IDTokensSid}, false}, {[]string{handlers.IDTokensKid}, true}, {[]string{handlers.IDTokensKid, handlers.IDTokensSid}, true}} {
		s := newTold(t, signingKeys(t, handlerstest.NewKey(t, "ours")), false, handlerstest.NewKey(t, "1"))
		s.b.IDTokens = tt.known
		if got := s.adds(); got != tt.want {
			t.Errorf("%q: they join: %v", tt.known, got)
		}
		s.sees(handlerstest.ClientID, unnamedToken)
		if s.adds() {
			t.Errorf("%q: they join where a client's tokens have no kid", tt.known)
		}
		s.w.Clock.Advance(backchannel.FactsDay)
		if s.sees(handlerstest.ClientID, namedToken); s.adds() != tt.want {
			t.Errorf("%q: the day after, they join: %v", tt.known, !tt.want)
		}
	}
}

func TestDiscoverySaysThatTokensNameSessionsAsSoonAsThatIsKnown(t *testing.T) {
	says := func(s *told) bool {
		return slices.ContainsFunc(s.b.Members(s.op), func(m exchange.Member) bool { return m.Name == "backchannel_logout_session_supported" })
	}
	for name, tt := range map[string]struct {
		known  []string
		claims []string
		want   bool
	}{
		"nothing is known":              {nil, []string{"sub", "SID"}, false},
		"the configuration says it":     {[]string{handlers.IDTokensKid, handlers.IDTokensSid}, nil, true},
		"the OP's document says it":     {[]string{handlers.IDTokensKid}, []string{"sub", "sid"}, true},
		"the configuration says of kid": {[]string{handlers.IDTokensKid}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTold(t, signingKeys(t, handlerstest.NewKey(t, "ours")), false, handlerstest.NewKey(t, "1"))
			s.b.IDTokens = tt.known
			s.op = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{JWKSURI: handlerstest.Issuer + "/jwks", ClaimsSupported: tt.claims})
			s.b.Observe(s.op)
			if got := says(s); got != tt.want {
				t.Errorf("it is said: %v", got)
			}
			s.sees(handlerstest.ClientID, tokens.IDToken{KeyID: "1"})
			if says(s) {
				t.Error("it is said although a client's token has none")
			}
			s.w.Clock.Advance(backchannel.MissingFor)
			if s.sees(handlerstest.ClientID, namedToken); !says(s) {
				t.Error("it is not said although tokens have had one for a month")
			}
		})
	}
}

func TestWhatIDTokensMayBeKnownToHave(t *testing.T) {
	for names, good := range map[string]bool{"": true, "kid": true, "kid sid": true, "sid": true, "sub": false, handlers.IDTokensKid + " " + handlers.IDTokensKid: false, "KID": false} {
		if err := backchannel.ValidateIDTokens(strings.Fields(names)...); (err == nil) != good {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// Clients take the set whatever media type it has, so it is read so.
func TestAKeySetOfAnyMediaTypeGetsOurKeys(t *testing.T) {
	for _, kind := range []string{"application/json", "application/jwk-set+json", "text/plain; charset=utf-8", "application/octet-stream", ""} {
		s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"), handlerstest.NewKey(t, "2"))
		s.kind = kind
		if !s.adds() {
			t.Errorf("%q: they are not added", kind)
		}
	}
}

func TestAKeySetThatPassesAsItCameIsSaidOnce(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"), handlerstest.NewKey(t, "2"))
	good := s.document
	for i, bad := range []string{"<html>", `{"keys":{}}`, `{"keys":[],"x":"` + strings.Repeat("x", exchange.MaxJSON) + `"}`, `{"keys":[` + strings.Repeat("{},", tokens.MaxKeys) + `{}]}`} {
		s.document = bad
		for range 3 {
			if s.adds() {
				t.Errorf("%.20s: keys are added", bad)
			}
		}
		s.document = good
		if !s.adds() {
			t.Errorf("after %.20s: they are not added", bad)
		}
		lines := s.w.Logs.FilterMessageSnippet("the OP's keys pass as they came").All()
		if len(lines) != i+1 || lines[i].Level != zapcore.ErrorLevel || lines[i].ContextMap()["error"] == "" {
			t.Errorf("%.20s: logged %v", bad, lines)
		}
	}
}

func TestWhetherIDTokensNameSessionsDoesNotFlap(t *testing.T) {
	s := newTold(t, generated(), false, handlerstest.NewKey(t, "1"))
	named := func() bool {
		return slices.ContainsFunc(s.b.Members(s.op), func(m exchange.Member) bool { return m.Name == "backchannel_logout_session_supported" })
	}
	for i, step := range []struct {
		after time.Duration
		sid   string
		want  bool
	}{{0, "1", true}, {0, "", false}, {0, "2", false}, {backchannel.MissingFor - 13*time.Hour, "3", false}, {time.Hour, "4", true}, {0, "", false}} {
		s.w.Clock.Advance(step.after)
		s.sees(handlerstest.ClientID, tokens.IDToken{KeyID: "1", SessionID: step.sid})
		if named() != step.want {
			t.Errorf("step %d: %v", i, !step.want)
		}
		s.restart()
		s.b.Facts().Refresh(t.Context(), handlerstest.Issuer)
		if named() != step.want {
			t.Errorf("step %d, after a restart: %v", i, !step.want)
		}
	}
}
