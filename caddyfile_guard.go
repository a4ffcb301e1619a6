package oidcsession

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

// parseGuard parses the directive; its syntax is that of [Guard].
func parseGuard(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Guard)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile parses the directive.
func (g *Guard) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	return options{
		"app_cookie":      list(&g.AppCookies, allAtStart(guard.ValidateCookies)),
		"ignore_cookie":   list(&g.IgnoreCookies, allAtStart(guard.ValidateCookies)),
		"on_logout":       g.unmarshalOnLogout,
		"adopt":           g.unmarshalAdopt,
		"close_streams":   g.unmarshalCloseStreams,
		"clear_site_data": onOff(&g.ClearSiteData),
		"on_store_error":  scalar(&g.OnStoreError, atStart(validateStoreError)),
		"issuer":          list(&g.Issuers, allAtStart(validateOPs)),
	}.parse(d, "oidc_guard", nil)
}

// unmarshalOnLogout parses `on_logout`.
func (g *Guard) unmarshalOnLogout(d *caddyfile.Dispenser) error {
	if g.OnLogout != nil {
		return d.Err("on_logout is given twice")
	}
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 {
		return d.ArgErr()
	}
	g.OnLogout = &OnLogout{Action: guard.Action(args[0])}
	if len(args) == 2 {
		g.OnLogout.URL = args[1]
	}
	if err := guard.ValidateAction(g.OnLogout.Action, g.OnLogout.URL); err != nil {
		return d.WrapErr(err)
	}
	return endOfLine(d)
}

// unmarshalAdopt parses `adopt`, for which 0 is a value like others.
func (g *Guard) unmarshalAdopt(d *caddyfile.Dispenser) error {
	return arguments(1, 1, func(name string, args []string) error {
		parsed, err := caddy.ParseDuration(args[0])
		switch {
		case g.Adopt != nil:
			return fmt.Errorf("%s is given twice", name)
		case err != nil:
			return fmt.Errorf("'%s' is no duration, such as 24h, 7d or 0", args[0])
		}
		g.Adopt = new(caddy.Duration(parsed))
		return guard.ValidateAdopt(time.Duration(*g.Adopt))
	})(d)
}

// unmarshalCloseStreams parses `close_streams`.
func (g *Guard) unmarshalCloseStreams(d *caddyfile.Dispenser) error {
	return arguments(1, 1, func(name string, args []string) error {
		on := args[0] == "on"
		switch {
		case g.CloseStreams != nil:
			return fmt.Errorf("%s is given twice", name)
		case !on && args[0] != "off":
			return fmt.Errorf("%s is '%s', but must be on or off", name, args[0])
		}
		g.CloseStreams = &on
		return nil
	})(d)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Guard)(nil)
