package oidcsession

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/notify"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// BackChannel configures OpenID Connect Back-Channel Logout 1.0: clients with a
// `backchannel_logout_uri` are notified when a session of theirs ends, from server to server,
// until they have answered.
type BackChannel struct {
	// The private keys that sign logout tokens: PEM or JWK. The first one that fits a client's
	// algorithm signs; the public parts of all are added to the OP's own keys, except those that
	// the OP has itself. That is not done while it would break sign-ins: an OP with one key may
	// issue ID tokens that do not name it (kid), which clients refuse once there are several keys.
	// Takes placeholders that are known at start, such as {file./run/secrets/key.pem}. To rotate,
	// put the new key first; the old one may be removed at once, and stays published for an hour.
	//
	// Default: keys for RS256, PS256, ES256 and EdDSA, generated at first use and kept in Caddy's
	// storage under `oidc_session/signing_keys`.
	SigningKeys []string `json:"signing_keys,omitempty"`

	// Addresses that are not public, at which clients may be notified all the same: IP addresses,
	// ranges (CIDR), or `private_ranges` for those of private networks and of this machine. Takes
	// placeholders that are known at start.
	//
	// Default: none. Addresses of private networks, of this machine, and of cloud metadata
	// services are refused, whatever name leads there.
	AllowPrivate []string `json:"allow_private,omitempty"`

	// PEM files with further certificate authorities that clients' certificates may be from. Takes
	// placeholders that are known at start.
	//
	// Default: the system's authorities only.
	TrustedCA []string `json:"trusted_ca,omitempty"`

	// How long a client that cannot be reached is tried, at growing intervals of up to 10 minutes:
	// 1 second to 30 days. It is logged when a client is given up.
	//
	// Default: 24 hours.
	RetryFor caddy.Duration `json:"retry_for,omitempty"`

	// How long a browser that signs out waits for clients to be notified before it is sent on;
	// they are notified all the same. 1 millisecond to 30 seconds.
	//
	// Default: 2 seconds.
	RedirectWait caddy.Duration `json:"redirect_wait,omitempty"`
}

// resolve replaces the placeholders in settings that are known at start, but for those of the
// signing keys, which are secrets.
func (b *BackChannel) resolve() error {
	if slices.Contains(slices.Concat(b.SigningKeys, b.AllowPrivate, b.TrustedCA), "") {
		return errors.New("a value is empty")
	}
	allowed := settingsOf("allow_private", b.AllowPrivate)
	return resolveAll(append(allowed, settingsOf("trusted_ca", b.TrustedCA)...)...)
}

// allowed parses the addresses that are not public and may be dialed.
func (b *BackChannel) allowed() (prefixes []netip.Prefix, err error) {
	for _, text := range b.AllowPrivate {
		ranges := []string{text}
		if text == "private_ranges" {
			ranges = caddyhttp.PrivateRangesCIDR()
		}
		for _, text := range ranges {
			prefix, err := caddyhttp.CIDRExpressionToPrefix(text)
			if err != nil || strings.Contains(text, "%") { // a zone
				return nil, fmt.Errorf(
					"allow_private: %q is no IP address or range, such as 10.0.0.0/8", text)
			}
			prefixes = append(prefixes, prefix.Masked())
		}
	}
	return prefixes, nil
}

// roots reads the certificate authorities; nil: the system's.
func (b *BackChannel) roots() (*x509.CertPool, error) {
	if len(b.TrustedCA) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, path := range b.TrustedCA {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading a trusted_ca: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("trusted_ca %s has no certificate in PEM", path)
		}
	}
	return pool, nil
}

// provision makes what notifies the clients of a site.
func (b *BackChannel) provision(
	ctx caddy.Context, app *App, configured bool, known *clients.Clients,
) (*backchannel.BackChannel, error) {
	if err := b.resolve(); err != nil {
		return nil, err
	}
	allowed, err := b.allowed()
	if err != nil {
		return nil, err
	}
	roots, err := b.roots()
	if err != nil {
		return nil, err
	}
	documents, err := resolveSigningKeys(b.SigningKeys)
	if err != nil {
		return nil, err
	}
	keys, err := newSigningKeySource(documents, ctx.Storage(), ctx.Logger())
	if err != nil {
		return nil, fmt.Errorf("reading the signing_key: %w", err)
	}
	algorithms, given := tokens.GeneratedAlgorithms(), (*tokens.SigningKeys)(nil)
	if keys.has {
		algorithms, given = keys.keys.Algorithms(), keys.keys
	}
	warnOfAlgorithms(ctx.Logger(), algorithms, known)
	guard := notify.Guard{Allow: allowed}
	return &backchannel.BackChannel{
		Configured:     configured,
		Keys:           keys.get,
		ConfiguredKeys: given,
		Guard:          guard,
		Sender:         notify.NewSender(guard, roots),
		Strict:         notify.NewSender(notify.Guard{}, roots),
		RetryFor:       cmp.Or(time.Duration(b.RetryFor), backchannel.DefaultRetryFor),
		RedirectWait:   cmp.Or(time.Duration(b.RedirectWait), backchannel.DefaultRedirectWait),
		Wake:           app.run.worker.Wake,
		Recorded:       app.run.worker.Recorded,
		Clients:        known,
	}, nil
}

// warnOfAlgorithms names clients whose tokens the keys cannot sign. The algorithm of a client for
// which none is configured is known with its first ID token.
func warnOfAlgorithms(logger *zap.Logger, algorithms []string, known *clients.Clients) {
	for _, client := range known.List {
		algorithm, configured := client.IDTokenSignedResponseAlg, client.BackChannelLogoutURI != ""
		if !configured || algorithm == "" || slices.Contains(algorithms, algorithm) {
			continue
		}
		logger.Error("client cannot be notified of sign-outs: no signing key fits its algorithm",
			zap.String("client_id", client.ID), zap.String("algorithm", algorithm),
			zap.Strings("algorithms", algorithms),
			zap.String("advice", "configure a signing_key for that algorithm, or another one"))
	}
}
