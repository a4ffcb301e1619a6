package oidcsession

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalBackChannel parses `backchannel_logout`; see parseDirective.
func (h *Handler) unmarshalBackChannel(d *caddyfile.Dispenser) error {
	if h.BackChannel != nil {
		return d.Err("backchannel_logout is given twice")
	}
	h.BackChannel = new(BackChannel)
	if d.NextArg() {
		return d.ArgErr()
	}
	b := h.BackChannel
	return options{
		"signing_key":   list(&b.SigningKeys, validateSigningKeys),
		"allow_private": list(&b.AllowPrivate, allAtStart(validateAllowPrivate)),
		"trusted_ca":    list(&b.TrustedCA, allAtStart(nil)),
		"retry_for":     duration(&b.RetryFor, validateRetryFor),
		"redirect_wait": duration(&b.RedirectWait, validateRedirectWait),
	}.parse(d, "backchannel_logout", unchecked)
}
