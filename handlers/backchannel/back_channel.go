package backchannel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// Bounds and defaults of back-channel logout.
const (
	// DefaultRetryFor is how long a client that cannot be reached is tried, MinRetryFor the
	// shortest time for that.
	DefaultRetryFor = 24 * time.Hour
	MinRetryFor     = time.Second
	// MaxRetryFor is the longest time for that: notices are kept a day longer.
	MaxRetryFor = 30 * 24 * time.Hour
	// DefaultRedirectWait is how long a browser waits for notices before it is sent on,
	// MinRedirectWait the shortest time for that.
	DefaultRedirectWait = 2 * time.Second
	MinRedirectWait     = time.Millisecond
	// MaxRedirectWait is the longest time for that.
	MaxRedirectWait = 30 * time.Second
)

// ValidateIDTokens returns why names cannot be those of what ID tokens have.
func ValidateIDTokens(names ...string) error {
	for i, name := range names {
		if name != handlers.IDTokensKid && name != handlers.IDTokensSid {
			return fmt.Errorf("id_tokens is %q, but must be %s, %s or both%s", name, handlers.IDTokensKid, handlers.IDTokensSid,
				handlers.DidYouMean(name, []string{handlers.IDTokensKid, handlers.IDTokensSid}))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("id_tokens has %s twice", name)
		}
	}
	return nil
}

// A BackChannel is the OP's side of OpenID Connect Back-Channel Logout 1.0, for OPs that have none
// of their own: when a session ends, its clients are told. What is owed to whom is in the
// registry; package notify delivers it.
type BackChannel struct {
	// Configured: it is on whatever is registered of the clients.
	Configured bool
	// Keys has the keys that sign logout tokens. It may fail while they cannot be had.
	Keys func(context.Context) (*tokens.SigningKeys, error)
	// Given are those keys if they are configured; nil: they are generated.
	Given *tokens.SigningKeys
	// OPKeys learns the OP's keys, which a configured one may be of; nil: they are seen only when
	// clients ask for them.
	OPKeys *opkeys.Keys
	// Guard says which addresses may be dialed, Sender dials them. Strict dials public ones only:
	// those of clients that have registered themselves.
	Guard  notify.Guard
	Sender *notify.Sender
	Strict *notify.Sender
	// RetryFor is how long a client that cannot be reached is tried.
	RetryFor time.Duration
	// RedirectWait is how long a browser waits for notices before it is sent on.
	RedirectWait time.Duration
	// Wake has new notices looked for, and Recorded returns a channel that is closed when some
	// have been delivered or failed.
	Wake     func()
	Recorded func() <-chan struct{}
	// Adopt is told an issuer that has been learnt.
	Adopt func(issuer string)
	// Clients knows where they can be told.
	Clients *clients.Clients
	// Framed reports whether clients of an OP are notified by front channel. Nil: none are.
	Framed func(op *handlers.OP) bool
	// IDTokens names what the OP's ID tokens are known to have: IDTokensKid, IDTokensSid.
	IDTokens []string

	env       handlers.Env
	op        atomic.Pointer[handlers.OP] // the last that was seen
	seen      *opFacts
	view      atomic.Pointer[keyPublication]
	published publishedKeys
	warned    handlers.Recent[struct{}] // of which clients and algorithms the log has been told

	// that this is the part for one issuer of; nil: it is the whole
	whole  *BackChannel
	issuer string                        // of that part
	parts  handlers.Lately[*BackChannel] // of the whole, where the OP has several issuers

	mu         sync.Mutex
	obstacle   string              // that the log has been told
	withoutSID map[string]struct{} // clients whose last ID token had none, as far as there is room
}

// Setup gives it its world, and tells of addresses that will be refused.
func (b *BackChannel) Setup(env handlers.Env) {
	b.env = env
	b.seen = &opFacts{env: env, changed: b.judge}
	b.judge(seen{})
	for _, client := range b.Clients.List {
		u, err := url.Parse(client.BackChannelLogoutURI)
		if err != nil || client.BackChannelLogoutURI == "" {
			continue
		}
		if address, err := netip.ParseAddr(u.Hostname()); err == nil && !b.Guard.Permits(address) || err != nil && handlers.IsLoopback(u.Hostname()) && !b.Guard.Permits(loopback) {
			env.Logger.Warn("the backchannel_logout_uri of a client is at an address that is not public: to have it told, add the address to allow_private",
				zap.String("client_id", client.ID), zap.String("host", u.Hostname()))
		}
	}
}

// Of returns the part for one issuer of an OP that has several: each issuer has ID tokens and keys
// of its own. Else it returns the whole.
func (b *BackChannel) Of(op *handlers.OP, issuer string) *BackChannel {
	if op == nil || !op.HasSeveralIssuers() || !op.Issues(issuer) {
		return b
	}
	return b.part(issuer)
}

// part returns the part for one issuer.
func (b *BackChannel) part(issuer string) *BackChannel {
	if b.whole != nil {
		return b
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.parts.Get(issuer, func() *BackChannel {
		part := &BackChannel{
			Configured: b.Configured, Keys: b.Keys, Given: b.Given, OPKeys: b.OPKeys, Clients: b.Clients, IDTokens: b.IDTokens, env: b.env, whole: b, issuer: issuer,
		}
		part.seen = &opFacts{env: b.env, changed: part.judge}
		part.view.Store(part.outlook(seen{}))
		part.seen.load(issuer)
		return part
	})
}

// name is what the part or the whole is recorded as.
func (b *BackChannel) name(op *handlers.OP) string { return cmp.Or(b.issuer, op.Issuer) }

// lastOP returns the OP as it was last seen, and as the issuer of a part has it; nil: no request
// has come to it.
func (b *BackChannel) lastOP() *handlers.OP {
	if b.whole == nil {
		return b.op.Load()
	}
	op := b.whole.op.Load()
	if op != nil {
		if view := op.As(b.issuer); view != nil {
			return view
		}
	}
	return op
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ValidateTimes tells why times cannot be used; zero ones stand for the defaults.
func ValidateTimes(retryFor, redirectWait time.Duration) error {
	var errs []error
	if retryFor != 0 && (retryFor < MinRetryFor || retryFor > MaxRetryFor) {
		errs = append(errs, fmt.Errorf("retry_for is %s, but must be %s to %s", retryFor, MinRetryFor, MaxRetryFor))
	}
	if redirectWait != 0 && (redirectWait < MinRedirectWait || redirectWait > MaxRedirectWait) {
		errs = append(errs, fmt.Errorf("redirect_wait is %s, but must be %s to %s", redirectWait, MinRedirectWait, MaxRedirectWait))
	}
	return errors.Join(errs...)
}

// MayNotify reports whether clients may have to be told, now or when the clients_file changes.
func (b *BackChannel) MayNotify() bool {
	return b.Configured || b.Clients.File != "" || b.Clients.HasNotifiable()
}

// Enabled reports whether clients of an OP are told if they can verify tokens. An OP that tells
// its clients itself is left to it.
func (b *BackChannel) Enabled(op *handlers.OP) bool {
	return (b.Configured || b.Clients.HasNotifiable()) && !op.HasBackChannelLogout
}

// Notifies reports whether clients of an OP are told. Where our keys cannot join the OP's, and
// none of them is the OP's own, nobody could verify a token. It is asked with every request: what
// it goes by is at hand.
func (b *BackChannel) Notifies(op *handlers.OP) bool {
	return b.Enabled(op) && b.BlockedReason(op) == ""
}

// LogsSubject reports whether the log of its site says who users are.
func (b *BackChannel) LogsSubject() bool { return b.env.LogSubject }

// Observe notes what is known of the OP, for notices that are due without any request.
func (b *BackChannel) Observe(op *handlers.OP) {
	before := b.op.Load()
	if before == op || !b.op.CompareAndSwap(before, op) {
		return
	}
	if before == nil || before.Issuer != op.Issuer {
		b.Adopt(op.Issuer)
	}
	b.logBlocked(op)
	if op.Discovered && op.AskedPath() == "" {
		b.seen.sawDocument(context.Background(), op.Issuer, op.DocumentPath)
	}
}

// Members are what the sender adds to the discovery document (Back-Channel Logout 1.0, section
// 2.1). That tokens name sessions is said only while the OP's own ID tokens do: clients could not
// find theirs otherwise.
func (b *BackChannel) Members(op *handlers.OP) []exchange.Member {
	if b = b.Of(op, op.DocumentIssuer); !b.Notifies(op) {
		return nil
	}
	members := []exchange.Member{{Name: "backchannel_logout_supported", Value: true, Replace: true}}
	if b.NamesSessions(op) {
		members = append(members, exchange.Member{Name: "backchannel_logout_session_supported", Value: true, Replace: true})
	}
	return members
}
