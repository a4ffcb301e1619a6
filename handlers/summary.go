package handlers

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// maxUnnotified is how many clients the log names that cannot be notified.
const maxUnnotified = 20

// What becomes of a part of session management at an OP, in the log.
const (
	leftToOP  = "left to the OP"
	notServed = "not served"
)

// A Summary logs, once, what is served at a site and what its OP has itself, and warns of each path
// of ours that is one of the OP's endpoints.
type Summary struct {
	LoginCookie  string
	SessionState SessionState
	CheckSession *CheckSession
	EndSession   *EndSession
	BackChannel  *BackChannel
	Clients      *Clients
	Logger       *zap.Logger

	once   sync.Once
	mu     sync.Mutex
	warned []string // paths
}

// Discovered takes the OP whenever a document of it was read.
func (s *Summary) Discovered(op *OP) {
	s.warnOfOwner("check_session", op.place(s.CheckSession.Path, DefaultCheckSessionPath), s.CheckSession.owner(op))
	if s.EndSession.isAble() {
		s.warnOfOwner("end_session", s.EndSession.place(op), s.EndSession.owner(op))
	}
	s.once.Do(func() { s.log(op) })
}

// warnOfOwner says once that the path of an option is the OP's, by a member of its metadata.
func (s *Summary) warnOfOwner(option, path, member string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if member == "" || slices.Contains(s.warned, path) {
		return
	}
	s.warned = append(s.warned, path)
	s.Logger.Warn("path is an endpoint of the OP, which keeps it", zap.String("option", option), zap.String("path", path),
		zap.String("endpoint", member), zap.String("advice", "give "+option+" a path that the OP does not use"))
}

func (s *Summary) log(op *OP) {
	fields := []zap.Field{
		zap.String("issuer", op.Issuer),
		zap.String("authorization_endpoint", op.AuthorizationPath), zap.String("token_endpoint", op.TokenPath),
		zap.Strings("op_has", membersOf(op)),
		zap.String("check_session", s.checkSession(op)), zap.String("session_state", s.sessionState(op)),
		zap.String("end_session", s.endSession(op)),
		zap.String("backchannel_logout", s.backChannel(op)), zap.String("frontchannel_logout", s.frontChannel(op)),
		zap.String("login_cookie", cmp.Or(s.LoginCookie, "none")),
	}
	if !op.tellsClients {
		known := s.Clients.known()
		unnotified := slices.DeleteFunc(slices.Clone(known), func(client Client) bool { return s.notifies(op, client) })
		var ids []string
		for _, client := range unnotified[:min(len(unnotified), maxUnnotified)] {
			ids = append(ids, client.ID)
		}
		fields = append(fields, zap.Int("clients_notified", len(known)-len(unnotified)),
			zap.Int("clients_not_notified", len(unnotified)), zap.Strings("not_notified", ids))
	}
	s.Logger.Info("provider metadata discovered", fields...)
}

// membersOf names what the OP has of session management and logout.
func membersOf(op *OP) (names []string) {
	for name, has := range map[string]bool{
		"check_session_iframe": op.checksSessions, "end_session_endpoint": op.endsSessions,
		"backchannel_logout": op.tellsClients, "frontchannel_logout": op.framesClients,
	} {
		if has {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *Summary) checkSession(op *OP) string {
	switch {
	case op.checksSessions && !s.SessionState.Replaces(op):
		return leftToOP
	case s.CheckSession.owner(op) != "":
		return notServed
	default:
		return op.place(s.CheckSession.Path, DefaultCheckSessionPath)
	}
}

func (s *Summary) sessionState(op *OP) string {
	switch s.SessionState.at(op) {
	case sessionStateOwn:
		return leftToOP
	case SessionStateReplace:
		return "added, in place of the OP's"
	default:
		return "added where the OP sends none"
	}
}

func (s *Summary) endSession(op *OP) string {
	switch {
	case op.endsSessions:
		return leftToOP
	case !s.EndSession.isServed(op):
		return notServed
	default:
		return s.EndSession.place(op)
	}
}

func (s *Summary) backChannel(op *OP) string {
	switch {
	case op.tellsClients:
		return leftToOP
	case !s.BackChannel.wouldTell(op):
		return "off"
	case s.BackChannel.hindrance(op) != "":
		return "blocked"
	default:
		return "on"
	}
}

func (s *Summary) frontChannel(op *OP) string {
	switch {
	case op.framesClients:
		return leftToOP
	case !s.EndSession.IsFramed(op):
		return "off"
	default:
		return "on"
	}
}

// notifies reports whether a client can be notified of sign-outs, for all that is known.
func (s *Summary) notifies(op *OP, client Client) bool {
	algorithm := client.IDTokenSignedResponseAlg
	if client.BackChannelLogoutURI != "" && s.backChannel(op) == "on" &&
		(algorithm == "" || slices.Contains(s.BackChannel.algorithms(), algorithm)) {
		return true
	}
	return client.FrontChannelLogoutURI != "" && s.EndSession.IsFramed(op)
}

// known are the clients of the configuration and the file, by their IDs.
func (c *Clients) known() []Client {
	all := make(map[string]Client)
	maps.Copy(all, c.listed().clients)
	maps.Copy(all, c.configured.clients)
	var clients []Client
	for _, id := range slices.Sorted(maps.Keys(all)) {
		clients = append(clients, all[id])
	}
	return clients
}
