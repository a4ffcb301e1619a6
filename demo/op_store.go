package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// ssoSession is one End-User signed in at the OP in one browser. The zero value is nobody.
type ssoSession struct {
	user     string
	sid      string // the ID tokens' sid claim (Front-Channel Logout 1.0, section 3)
	authTime time.Time
}

// opStore holds, in memory, all that the OP knows. It implements op.Storage as far as the code
// flow needs; see unsupported.
type opStore struct {
	unsupported
	key     signingKey
	clients map[string]*opClient
	now     func() time.Time

	mu       sync.Mutex
	requests map[string]*opRequest // by ID
	codes    map[string]string     // code to request ID
	sessions map[string]ssoSession // by the value of the login cookie
}

func newOPStore(clients []*opClient) (*opStore, error) {
	key, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	s := &opStore{
		key:      key,
		clients:  make(map[string]*opClient),
		now:      time.Now,
		requests: make(map[string]*opRequest),
		codes:    make(map[string]string),
		sessions: make(map[string]ssoSession),
	}
	for _, c := range clients {
		s.clients[c.id] = c
	}
	return s, nil
}

// Requests that nobody ends are forgotten after requestLifetime, and at most maxRequests are kept.
const (
	requestLifetime = 10 * time.Minute
	maxRequests     = 1000
)

// CreateAuthRequest begins an authorization request. A browser that is signed in is not asked
// again (single sign-on), unless the RP asks for that; prompt=none with nobody, or somebody else
// than the id_token_hint names, is login_required (OpenID Connect Core 1.0, section 3.1.2.1).
func (s *opStore) CreateAuthRequest(ctx context.Context, params *oidc.AuthRequest, hintedUser string) (op.AuthRequest, error) {
	request := &opRequest{id: rand.Text(), created: s.now(), params: params}
	session := sessionOf(ctx)
	if !s.mustAsk(params, session) && (hintedUser == "" || hintedUser == session.user) {
		request.session = session
	}
	if slices.Contains(params.Prompt, oidc.PromptNone) && !request.Done() {
		return nil, oidc.ErrLoginRequired()
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOldRequests()
	if len(s.requests) >= maxRequests {
		return nil, oidc.ErrServerError().WithDescription("too many requests under way")
	}
	s.requests[request.id] = request
	return request, nil
}

// mustAsk reports whether the RP wants the End-User to sign in anew: by prompt=login (and
// select_account: there is one account a browser), or because the session is older than max_age.
func (s *opStore) mustAsk(params *oidc.AuthRequest, session ssoSession) bool {
	if slices.Contains(params.Prompt, oidc.PromptLogin) || slices.Contains(params.Prompt, oidc.PromptSelectAccount) {
		return true
	}
	return params.MaxAge != nil && s.now().Sub(session.authTime) > time.Duration(*params.MaxAge)*time.Second
}

// forgetOldRequests needs s.mu.
func (s *opStore) forgetOldRequests() {
	for id, request := range s.requests {
		if s.now().Sub(request.created) > requestLifetime {
			delete(s.requests, id)
		}
	}
	for code, id := range s.codes {
		if s.requests[id] == nil {
			delete(s.codes, code)
		}
	}
}

var errNoSuchRequest = errors.New("no such authorization request; it may have expired")

// AuthRequestByID returns an authorization request that is under way.
func (s *opStore) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, ok := s.requests[id]
	if !ok || s.now().Sub(request.created) > requestLifetime {
		return nil, errNoSuchRequest
	}
	return request, nil
}

// SaveAuthCode remembers the code that was issued for a request.
func (s *opStore) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

// AuthRequestByCode returns the request that a code was issued for, once.
func (s *opStore) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

// DeleteAuthRequest ends a request.
func (s *opStore) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// CreateAccessToken names an access token; nothing in the demo takes one.
func (s *opStore) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), s.now().Add(time.Hour), nil
}

// GetClientByClientID returns a registered client.
func (s *opStore) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, ok := s.clients[id]
	if !ok {
		return nil, errors.New("no such client")
	}
	return c, nil
}

// AuthorizeClientIDSecret checks a client's secret.
func (s *opStore) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, ok := s.clients[id]
	if !ok || subtle.ConstantTimeCompare([]byte(c.secret), []byte(secret)) != 1 {
		return errors.New("wrong client ID or secret")
	}
	return nil
}

// SetUserinfoFromRequest gives an ID token its sub and sid.
func (s *opStore) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, request op.IDTokenRequest, _ []string) error {
	info.Subject = request.GetSubject()
	if r, ok := request.(*opRequest); ok {
		info.AppendClaims("sid", r.session.sid)
	}
	return nil
}

// signIn begins a session for user, ends the browser's earlier one (cookie, may be empty), and
// completes the authorization request id. It returns the new value of the login cookie.
func (s *opStore) signIn(id, user, cookie string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, ok := s.requests[id]
	if !ok || s.now().Sub(request.created) > requestLifetime {
		return "", errNoSuchRequest
	}
	done := *request
	done.session = ssoSession{user: user, sid: rand.Text(), authTime: s.now()}
	s.requests[id] = &done

	value := rand.Text()
	delete(s.sessions, cookie)
	s.sessions[value] = done.session
	return value, nil
}

// signOut ends the session of a login cookie.
func (s *opStore) signOut(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, cookie)
}

func (s *opStore) session(cookie string) (ssoSession, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := s.sessions[cookie]
	return session, ok
}

var (
	_ op.Storage                   = (*opStore)(nil)
	_ op.CanSetUserinfoFromRequest = (*opStore)(nil)
)
