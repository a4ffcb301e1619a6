package oidcsession

import (
	"slices"

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
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "signing_key":
			err = list(d, &h.BackChannel.SigningKeys)
		case "allow_private":
			err = list(d, &h.BackChannel.AllowPrivate)
		case "trusted_ca":
			err = list(d, &h.BackChannel.TrustedCA)
		case "retry_for":
			err = duration(d, &h.BackChannel.RetryFor)
		case "redirect_wait":
			err = duration(d, &h.BackChannel.RedirectWait)
		default:
			err = d.Errf("unrecognized backchannel_logout option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list parses an option with one or more arguments that may be given once.
func list(d *caddyfile.Dispenser, values *[]string) error {
	name := d.Val()
	if *values != nil {
		return d.Errf("%s is given twice: write all on one line", name)
	}
	if *values = d.RemainingArgs(); len(*values) == 0 {
		return d.ArgErr()
	}
	if slices.Contains(*values, "") {
		return d.Errf("%s is empty", name)
	}
	return endOfLine(d)
}
