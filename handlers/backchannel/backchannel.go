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

// Defaults of what may be configured.
const (
	// DefaultRetryFor is how long a client that cannot be reached is tried.
	DefaultRetryFor = 24 * time.Hour
	// DefaultRedirectWait is how long a browser waits for notices before it is sent on.
	DefaultRedirectWait = 2 * time.Second
)

// Bounds of these. Notices are kept a day longer than maxRetryFor.
const (
	minRetryFor, maxRetryFor         = time.Second, 30 * 24 * time.Hour
	minRedirectWait, maxRedirectWait = time.Millisecond, 30 * time.Second
)

// ValidateTimes reports why times cannot be used; zero ones stand for the defaults.
func ValidateTimes(retryFor, redirectWait time.Duration) error {
	return errors.Join(
		validateTime("retry_for", retryFor, minRetryFor, maxRetryFor),
		validateTime("redirect_wait", redirectWait, minRedirectWait, maxRedirectWait),
	)
}

func validateTime(option string, value, least, most time.Duration) error {
	if value != 0 && (value < least || value > most) {
		return fmt.Errorf("%s is %s, but must be %s to %s", option, value, least, most)
	}
	return nil
}

// ValidateIDTokens reports why names cannot be those of what ID tokens have.
func ValidateIDTokens(names ...string) error {
	const kid, sid = handlers.IDTokensKid, handlers.IDTokensSid
	for i, name := range names {
		if name != kid && name != sid {
			return fmt.Errorf("id_tokens is %q, but must be %s, %s or both%s", name, kid, sid,
				handlers.DidYouMean(name, []string{kid, sid}))
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("id_tokens has %s twice", name)
		}
	}
	return nil
}

// A BackChannel notifies the clients of one site. Pending notices are in the registry; package
// notify delivers them. All exported fields are set before Setup.
type BackChannel struct {
	// Configured: it is on even if no client is known that can be notified.
	Configured bool
	// Keys returns the keys that sign logout tokens. It may fail while they are unavailable.
	Keys func(context.Context) (*tokens.SigningKeys, error)
	// ConfiguredKeys are those keys if they are configured; nil: they are generated.
	ConfiguredKeys *tokens.SigningKeys
	// OPKeys has the OP's keys, which a configured one may be one of; nil: they are observed only
	// when clients ask for them.
	OPKeys *opkeys.Keys
	// Guard says which addresses may be dialed, Sender dials them. Strict dials public ones only:
	// those of clients that have registered themselves.
	Guard          notify.Guard
	Sender, Strict *notify.Sender
	// RetryFor is how long a client that cannot be reached is tried.
	RetryFor time.Duration
	// RedirectWait is how long a browser waits for notices before it is sent on.
	RedirectWait time.Duration
	// Wake has new notices looked for, and Recorded returns a channel that is closed when some
	// have been delivered or failed.
	Wake     func()
	Recorded func() <-chan struct{}
	// Adopt takes an issuer that has been discovered.
	Adopt func(issuer string)
	// Clients has the addresses of the clients.
	Clients *clients.Clients
	// Framed reports whether clients of an OP are notified by front channel. Nil: none are.
	Framed func(op *handlers.OP) bool
	// IDTokens names what the OP's ID tokens are configured to have: IDTokensKid, IDTokensSid.
	IDTokens []string

	env         handlers.Env
	op          atomic.Pointer[handlers.OP] // as it was observed last; nil: not yet
	facts       *opFacts
	publication atomic.Pointer[keyPublication]
	published   publishedKeys
	warned      handlers.Recent[struct{}] // clients and algorithms that the log has warned of

	whole  *BackChannel // that this is the part for one issuer of; nil: it is the whole
	issuer string       // of that part

	mu         sync.Mutex
	parts      handlers.Lately[*BackChannel] // of the whole, by issuer, where the OP has several
	blocked    string                        // the reason that the log has
	withoutSID map[string]struct{}           // clients whose last ID token had none, up to a bound
}

// Setup prepares the back channel for requests, and warns of addresses that will be refused.
func (b *BackChannel) Setup(env handlers.Env) {
	b.env = env
	b.facts = &opFacts{env: env, changed: b.judge}
	b.judge(observed{})
	for _, client := range b.Clients.List {
		u, err := url.Parse(client.BackChannelLogoutURI)
		if err != nil {
			continue
		}
		address, err := netip.ParseAddr(u.Hostname())
		if err != nil && handlers.IsLoopback(u.Hostname()) {
			address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		if address.IsValid() && !b.Guard.Permits(address) {
			env.Logger.Warn("the backchannel_logout_uri of a client is at an address that is not "+
				"public: to have it notified, add the address to allow_private",
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
			Configured: b.Configured, Keys: b.Keys, ConfiguredKeys: b.ConfiguredKeys,
			OPKeys: b.OPKeys, Clients: b.Clients, IDTokens: b.IDTokens,
			env: b.env, whole: b, issuer: issuer,
		}
		part.facts = &opFacts{env: b.env, changed: part.judge}
		part.publication.Store(part.publicationFrom(observed{}))
		part.facts.load(issuer)
		return part
	})
}

// name is what the part or the whole is recorded as.
func (b *BackChannel) name(op *handlers.OP) string { return cmp.Or(b.issuer, op.Issuer) }

// lastOP returns the OP as it was observed last, and as the issuer of a part has it; nil: no
// request has come to it.
func (b *BackChannel) lastOP() *handlers.OP {
	if b.whole == nil {
		return b.op.Load()
	}
	op := b.whole.op.Load()
	if op != nil {
		return cmp.Or(op.As(b.issuer), op)
	}
	return nil
}

// MayNotify reports whether clients may have to be notified, now or when the clients_file changes.
func (b *BackChannel) MayNotify() bool {
	return b.Clients.File != "" || b.isOn()
}

// isOn reports whether clients are notified, as far as the configuration says.
func (b *BackChannel) isOn() bool { return b.Configured || b.Clients.HasNotifiable() }

// Enabled reports whether clients of an OP are notified if they can verify tokens. An OP that
// notifies its clients itself is left to it.
func (b *BackChannel) Enabled(op *handlers.OP) bool {
	return b.isOn() && !op.BackChannelLogout
}

// Notifies reports whether clients of an OP are notified. Where our keys cannot join the OP's, and
// none of them is the OP's own, nobody could verify a token. It is called for every request, and
// waits for nothing.
func (b *BackChannel) Notifies(op *handlers.OP) bool {
	return b.Enabled(op) && b.blockedReason(op) == ""
}

// LogsSubject reports whether the log of its site says who users are.
func (b *BackChannel) LogsSubject() bool { return b.env.LogSubject }

// Observe notes what is discovered of the OP, for notices that are due without any request.
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
		b.facts.observeDocument(context.Background(), op.Issuer, op.DocumentPath)
	}
}

// Members returns what the back channel adds to the provider metadata (Back-Channel Logout 1.0,
// section 2.1). That tokens name sessions is said only while the OP's own ID tokens do: clients
// could not find theirs otherwise.
func (b *BackChannel) Members(op *handlers.OP) []exchange.Member {
	if b = b.Of(op, op.DocumentIssuer); !b.Notifies(op) {
		return nil
	}
	names := []string{"backchannel_logout_supported"}
	if b.NamesSessions(op) {
		names = append(names, "backchannel_logout_session_supported")
	}
	var members []exchange.Member
	for _, name := range names {
		members = append(members, exchange.Member{Name: name, Value: true, Replace: true})
	}
	return members
}
