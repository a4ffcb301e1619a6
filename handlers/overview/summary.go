package overview

import (
	"cmp"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
)

// What becomes of a part of session management at an OP, in the log.
const (
	leftToOP  = "left to the OP"
	notServed = "not served"
)

// A Summary logs, once, what is served at a site and what its OP has itself, and warns of each
// path of ours that is one of the OP's endpoints.
type Summary struct {
	LoginCookie  string // empty: none is configured
	SessionState handlers.SessionState
	CheckSession *check.Endpoint
	EndSession   *logout.EndSession
	BackChannel  *backchannel.BackChannel
	Clients      *clients.Clients
	Logger       *zap.Logger

	once   sync.Once
	mu     sync.Mutex
	warned []string // paths
}

// Discovered takes the OP whenever a document of it was read.
func (s *Summary) Discovered(op *handlers.OP) {
	s.warnOfOwner("check_session", s.CheckSession.PathAt(op), s.CheckSession.Owner(op))
	if s.EndSession.Able() {
		s.warnOfOwner("end_session", s.EndSession.PathAt(op), s.EndSession.Owner(op))
	}
	s.once.Do(func() { s.log(op) })
}

// warnOfOwner says once that the path of an option belongs to the OP, by a member of its metadata.
func (s *Summary) warnOfOwner(option, path, member string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if member == "" || slices.Contains(s.warned, path) {
		return
	}
	s.warned = append(s.warned, path)
	s.Logger.Warn("path is an endpoint of the OP, which keeps it",
		zap.String("option", option), zap.String("path", path), zap.String("endpoint", member),
		zap.String("advice", "give "+option+" a path that the OP does not use"))
}

func (s *Summary) log(op *handlers.OP) {
	fields := []zap.Field{
		zap.String("issuer", op.Issuer),
		zap.String("authorization_endpoint", op.AuthorizationPath),
		zap.String("token_endpoint", op.TokenPath),
		zap.Strings("op_has", membersOf(op)),
		zap.String("check_session", s.checkSession(op)),
		zap.String("session_state", s.sessionState(op)),
		zap.String("end_session", s.endSession(op)),
		zap.String("backchannel_logout", s.backChannel(op)),
		zap.String("frontchannel_logout",
			status(op.FrontChannelLogout, s.EndSession.IsFramed(op))),
		zap.String("login_cookie", cmp.Or(s.LoginCookie, "none")),
	}
	if !op.BackChannelLogout {
		listed := s.Clients.Listed()
		var ids []string
		for _, client := range listed {
			if !s.notifies(op, client) {
				ids = append(ids, client.ID)
			}
		}
		fields = append(fields, zap.Int("clients_notified", len(listed)-len(ids)),
			zap.Int("clients_not_notified", len(ids)),
			zap.Strings("not_notified", ids[:min(len(ids), backchannel.MaxUnnotified)]))
	}
	s.Logger.Info("provider metadata discovered", fields...)
}

// membersOf names what the OP has of session management and logout.
func membersOf(op *handlers.OP) (names []string) {
	for _, member := range []struct {
		name string
		has  bool
	}{
		{"backchannel_logout", op.BackChannelLogout},
		{"check_session_iframe", op.HasCheckSession()},
		{"end_session_endpoint", op.HasEndSession()},
		{"frontchannel_logout", op.FrontChannelLogout},
	} {
		if member.has {
			names = append(names, member.name)
		}
	}
	return names
}

// status is that of a channel by which clients are notified.
func status(opHas, on bool) string {
	switch {
	case opHas:
		return leftToOP
	case on:
		return "on"
	default:
		return "off"
	}
}

func (s *Summary) checkSession(op *handlers.OP) string {
	switch {
	case op.HasCheckSession() && !s.SessionState.Replaces(op):
		return leftToOP
	case s.CheckSession.Owner(op) != "":
		return notServed
	default:
		return s.CheckSession.PathAt(op)
	}
}

func (s *Summary) sessionState(op *handlers.OP) string {
	switch s.SessionState.At(op) {
	case handlers.SessionStateOwn:
		return leftToOP
	case handlers.SessionStateReplace:
		return "added, in place of the OP's"
	default:
		return "added where the OP sends none"
	}
}

func (s *Summary) endSession(op *handlers.OP) string {
	switch {
	case op.HasEndSession():
		return leftToOP
	case !s.EndSession.IsServed(op):
		return notServed
	default:
		return s.EndSession.PathAt(op)
	}
}

func (s *Summary) backChannel(op *handlers.OP) string {
	enabled := s.BackChannel.Enabled(op)
	if enabled && !s.BackChannel.Notifies(op) {
		return "blocked"
	}
	return status(op.BackChannelLogout, enabled)
}

// notifies reports whether a client can be notified of sign-outs, as far as is known.
func (s *Summary) notifies(op *handlers.OP, client clients.Client) bool {
	algorithm := client.IDTokenSignedResponseAlg
	signed := algorithm == "" || slices.Contains(s.BackChannel.Algorithms(), algorithm)
	return client.BackChannelLogoutURI != "" && signed && s.BackChannel.Notifies(op) ||
		client.FrontChannelLogoutURI != "" && s.EndSession.IsFramed(op)
}
