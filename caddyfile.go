package oidcsession

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
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
	return options{"key": a.unmarshalKeys, "store": a.unmarshalStore}.parse(d, "oidc_session", unchecked)
}

func (a *App) unmarshalKeys(d *caddyfile.Dispenser) error {
	if a.Keys != nil {
		return d.Err("key is given twice; to rotate, write the keys on one line, the one that seals first")
	}
	if a.Keys = d.RemainingArgs(); len(a.Keys) == 0 {
		return d.ArgErr()
	}
	if err := validateSecrets(a.Keys); err != nil {
		return d.WrapErr(err)
	}
	return endOfLine(d)
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) (err error) {
	if a.StoreRaw != nil {
		return d.Err("store is given twice")
	}
	a.StoreRaw, err = parseStore(d)
	return err
}

// parseStore parses the name of a store and lets its module parse the rest.
func parseStore(d *caddyfile.Dispenser) (json.RawMessage, error) {
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	var stores []string
	for _, module := range caddy.GetModules(storeNamespace) {
		stores = append(stores, module.ID.Name())
	}
	if !slices.Contains(stores, name) {
		return nil, d.Errf("store is '%s', but must be one of %s%s", name, strings.Join(stores, ", "), handlers.DidYouMean(name, stores))
	}
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
		if err := atStart(validateStorePath)(s.Path); err != nil {
			return located(d, "store", err)
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
	if h.CheckSession == nil {
		h.CheckSession = new(check.CheckSession)
	}
	err := options{
		"issuer":               list(&h.Issuers, allAtStart(handlers.ValidateIssuers)),
		"discovery":            list(&h.Discovery, allAtStart(handlers.ValidateDiscovery)),
		"login_cookie":         scalar(&h.LoginCookie, atStart(validateLoginCookie)),
		"op_logout":            h.unmarshalOPLogout,
		"session_state":        scalar((*string)(&h.SessionState), atStart(validateSessionState)),
		"id_tokens":            list(&h.IDTokens, backchannel.ValidateIDTokens),
		"op_address":           scalar(&h.OPAddress, atStart(handlers.ValidateOPAddress)),
		"check_session":        scalar(&h.CheckSession.Path, atStart(validateEndpoint("check_session"))),
		"session_lifetime":     duration(&h.SessionLifetime, validateLifetime("session_lifetime")),
		"idle_timeout":         duration(&h.IdleTimeout, validateLifetime("idle_timeout")),
		"end_session":          h.unmarshalEndSession,
		"backchannel_logout":   h.unmarshalBackChannel,
		"frontchannel_timeout": duration(&h.FrontChannelTimeout, validateFrontChannelTimeout),
		"name":                 scalar(&h.Name, atStart(logout.ValidateName)),
		"client":               h.unmarshalClient,
		"clients_file":         scalar(&h.ClientsFile, atStart(nil)),
		"jwks_uri":             scalar(&h.JWKSURI, atStart(opkeys.ValidateJWKSURI)),
		"log_subject":          onOff(&h.LogSubject),
	}.parse(d, "oidc_session", h.validateTogether)
	if h.CheckSession.Path == "" {
		h.CheckSession = nil
	}
	return err
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*FileStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
