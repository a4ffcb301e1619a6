package oidcsession

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("oidc_session", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("oidc_session", parseDirective)
	// Outermost: a `header` block with deferred fields would write on our pages, and authentication or rewrites of the site
	// must not stand between browsers and the endpoints.
	httpcaddyfile.RegisterDirectiveOrder("oidc_session", httpcaddyfile.Before, "header")
}

// parseGlobalOption parses the global option. Syntax:
//
//	oidc_session {
//		key   <secret...>
//		store file [<path>] | memory
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("oidc_session: the global option is given twice")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "oidc_session", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile parses the global option; see parseGlobalOption.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "key":
			if a.Keys != nil {
				return d.Err("key is given twice; to rotate, write the keys on one line, the one that seals first")
			}
			if a.Keys = d.RemainingArgs(); len(a.Keys) == 0 {
				return d.ArgErr()
			}
			if err := endOfLine(d); err != nil {
				return err
			}
		case "store":
			if a.StoreRaw != nil {
				return d.Err("store is given twice")
			}
			store, err := parseStore(d)
			if err != nil {
				return err
			}
			a.StoreRaw = store
		default:
			return d.Errf("unrecognized oidc_session option '%s'", d.Val())
		}
	}
	return nil
}

// parseStore parses the name of a store and lets its module parse the rest.
func parseStore(d *caddyfile.Dispenser) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	store, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(store, "module", name, nil), nil
}

// UnmarshalCaddyfile parses the file store. Syntax:
//
//	file [<path>]
func (s *FileStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if d.NextArg() {
		s.Path = d.Val()
		if s.Path == "" {
			return d.Err("the store's path is empty")
		}
	}
	return endOfLine(d)
}

// UnmarshalCaddyfile parses the memory store. Syntax:
//
//	memory
func (*MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	return endOfLine(d)
}

// endOfLine refuses further arguments and a block.
func endOfLine(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("unrecognized option '%s'", d.Val())
	}
	return nil
}

// parseDirective parses the directive. Syntax:
//
//	oidc_session {
//		issuer           <url...>
//		discovery        <path...>
//		login_cookie     <name>
//		op_logout        [<method>] <path...>
//		session_state    auto | keep | replace
//		id_tokens        [kid] [sid]
//		op_address       <url>
//		check_session    <path>
//		session_lifetime <duration>
//		idle_timeout     <duration>
//		end_session [<path>] {
//			upstream [<method>] <path> {
//				header  <field> <value>
//				form    <field> <value>
//				body    <text>
//				success <status...>
//			}
//			clear_cookies <name...> {
//				domain <domain>
//				path   <path...>
//			}
//			confirm   needed | always
//			templates <dir>
//			access_log
//			allow_hint_only
//		}
//		backchannel_logout {
//			signing_key   <pem or jwk...>
//			allow_private <address, range or private_ranges...>
//			trusted_ca    <path...>
//			retry_for     <duration>
//			redirect_wait <duration>
//		}
//		frontchannel_timeout <duration>
//		name         <text>
//		client <client_id> {
//			name                     <text>
//			post_logout_redirect_uri <uri...>
//			backchannel_logout_uri   <uri>
//			backchannel_logout_session_required
//			logout_token             sid | sub | both
//			frontchannel_logout_uri  <uri>
//			frontchannel_logout_session_required
//			id_token_signed_response_alg <alg>
//			insecure_http
//		}
//		clients_file <path>
//		jwks_uri     <url>
//		log_subject
//	}
func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile parses the directive; see parseDirective.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		var err error
		switch d.Val() {
		case "issuer":
			err = list(d, &h.Issuers)
		case "discovery":
			err = list(d, &h.Discovery)
		case "login_cookie":
			err = scalar(d, &h.LoginCookie)
		case "op_logout":
			err = h.unmarshalOPLogout(d)
		case "session_state":
			err = scalar(d, (*string)(&h.SessionState))
		case "id_tokens":
			err = list(d, &h.IDTokens)
		case "op_address":
			err = scalar(d, &h.OPAddress)
		case "check_session":
			err = h.unmarshalCheckSession(d)
		case "session_lifetime":
			err = duration(d, &h.SessionLifetime)
		case "idle_timeout":
			err = duration(d, &h.IdleTimeout)
		case "end_session":
			err = h.unmarshalEndSession(d)
		case "backchannel_logout":
			err = h.unmarshalBackChannel(d)
		case "frontchannel_timeout":
			err = duration(d, &h.FrontChannelTimeout)
		case "name":
			err = scalar(d, &h.Name)
		case "client":
			err = h.unmarshalClient(d)
		case "clients_file":
			err = scalar(d, &h.ClientsFile)
		case "jwks_uri":
			err = scalar(d, &h.JWKSURI)
		case "log_subject":
			err = onOff(d, &h.LogSubject)
		default:
			err = d.Errf("unrecognized oidc_session option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalCheckSession(d *caddyfile.Dispenser) error {
	if h.CheckSession == nil {
		h.CheckSession = new(handlers.CheckSession)
	}
	return scalar(d, &h.CheckSession.Path)
}

// scalar parses the one argument of an option that may be given once.
func scalar(d *caddyfile.Dispenser, value *string) error {
	name := d.Val()
	if *value != "" {
		return d.Errf("%s is given twice", name)
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	if *value = d.Val(); *value == "" {
		return d.Errf("%s is empty", name)
	}
	return endOfLine(d)
}

// duration parses an option with a duration, such as 12h or 30d, that may be given once.
func duration(d *caddyfile.Dispenser, value *caddy.Duration) error {
	var text string
	name := d.Val()
	if *value != 0 {
		return d.Errf("%s is given twice", name)
	}
	if err := scalar(d, &text); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil || parsed == 0 {
		return d.Errf("%s: '%s' is no duration", name, text)
	}
	*value = caddy.Duration(parsed)
	return nil
}

// onOff parses an option without arguments that may be given once.
func onOff(d *caddyfile.Dispenser, value *bool) error {
	if *value {
		return d.Errf("%s is given twice", d.Val())
	}
	*value = true
	return endOfLine(d)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*FileStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
