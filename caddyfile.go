package oidcsession

import (
	"cmp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/backchannel"
	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/check"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("oidc_session", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("oidc_session", parseDirective)
	// Outermost: a `header` block with deferred fields would write on our pages, and
	// authentication or rewrites of the site must not stand between browsers and the endpoints.
	httpcaddyfile.RegisterDirectiveOrder("oidc_session", httpcaddyfile.Before, "header")
	// Behind it, which its order of registration makes it. It has to see all that the rest of the
	// site sets, forward_auth and sign-in plugins included, and they are to get what it lets pass.
	httpcaddyfile.RegisterHandlerDirective("oidc_guard", parseGuard)
	httpcaddyfile.RegisterDirectiveOrder("oidc_guard", httpcaddyfile.Before, "header")
}

// parseGlobalOption parses the global option; its syntax is that of [App].
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

// UnmarshalCaddyfile parses the global option.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	return options{"key": a.unmarshalKeys, "store": a.unmarshalStore}.parse(d, "oidc_session", nil)
}

func (a *App) unmarshalKeys(d *caddyfile.Dispenser) error {
	if a.Keys != nil {
		return d.Err("key is given twice; " +
			"to rotate, write the keys on one line, the one that seals first")
	}
	if a.Keys = d.RemainingArgs(); len(a.Keys) == 0 {
		return d.ArgErr()
	}
	if err := validateSecrets(a.Keys); err != nil {
		return d.WrapErr(err)
	}
	return endOfLine(d)
}

// unmarshalStore parses the name of a store and lets its module parse the rest.
func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if a.StoreRaw != nil {
		return d.Err("store is given twice")
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	var stores []string
	for _, module := range caddy.GetModules(storeNamespace) {
		stores = append(stores, module.ID.Name())
	}
	if !slices.Contains(stores, name) {
		return d.Errf("store is '%s', but must be one of %s%s",
			name, strings.Join(stores, ", "), handlers.DidYouMean(name, stores))
	}
	store, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err == nil {
		a.StoreRaw = caddyconfig.JSONModuleObject(store, "module", name, nil)
	}
	return err
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

// parseDirective parses the directive; its syntax is that of [Handler].
func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile parses the directive.
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
		"check_session":        scalar(&h.CheckSession.Path, endpointPath("check_session")),
		"session_lifetime":     duration(&h.SessionLifetime, validateLifetime("session_lifetime")),
		"idle_timeout":         duration(&h.IdleTimeout, validateLifetime("idle_timeout")),
		"end_session":          h.unmarshalEndSession,
		"backchannel_logout":   h.unmarshalBackChannel,
		"frontchannel_timeout": duration(&h.FrontChannelTimeout, validateFrontChannelTimeout),
		"name":                 scalar(&h.Name, atStart(logout.ValidateName)),
		"client":               h.unmarshalClient,
		"clients_file":         scalar(&h.ClientsFile, validatePlaceholders),
		"jwks_uri":             scalar(&h.JWKSURI, atStart(opkeys.ValidateJWKSURI)),
		"log_subject":          onOff(&h.LogSubject),
	}.parse(d, "oidc_session", h.validateTogether)
	if h.CheckSession.Path == "" {
		h.CheckSession = nil
	}
	return err
}

// unmarshalEndSession parses `end_session`.
func (h *Handler) unmarshalEndSession(d *caddyfile.Dispenser) error {
	if h.EndSession != nil {
		return d.Err("end_session is given twice")
	}
	e := new(logout.Config)
	h.EndSession = e
	if d.NextArg() {
		if e.Path = d.Val(); e.Path == "" {
			return d.Err("end_session: the path is empty")
		}
		if err := endpointPath("end_session")(e.Path); err != nil {
			return located(d, "end_session", err)
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return options{
		"upstream": func(d *caddyfile.Dispenser) error { return unmarshalUpstream(d, e) },
		"clear_cookies": func(d *caddyfile.Dispenser) error {
			return unmarshalClearCookies(d, e)
		},
		"confirm":         scalar(&e.Confirm, atStart(logout.ValidateConfirm)),
		"templates":       scalar(&e.Templates, validatePlaceholders),
		"access_log":      onOff(&e.AccessLog),
		"allow_hint_only": onOff(&e.AllowHintOnly),
	}.parse(d, "end_session", nil)
}

// unmarshalOPLogout parses `op_logout`, which may be given several times. Paths begin with a
// slash, or are placeholders.
func (h *Handler) unmarshalOPLogout(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	var logout signin.OPLogout
	if len(args) > 0 && !strings.HasPrefix(args[0], "/") && !strings.HasPrefix(args[0], "{") {
		logout.Method, args = strings.ToUpper(args[0]), args[1:]
	}
	if len(args) == 0 {
		return d.ArgErr()
	}
	logout.Paths = args
	check := allAtStart(func(paths ...string) error {
		return signin.OPLogout{Method: logout.Method, Paths: paths}.Validate()
	})
	if err := check(args...); err != nil {
		return located(d, "op_logout", err)
	}
	h.OPLogouts = append(h.OPLogouts, logout)
	return endOfLine(d)
}

// unmarshalUpstream parses `upstream` of `end_session`. Its last argument is the path.
func unmarshalUpstream(d *caddyfile.Dispenser, e *logout.Config) error {
	if e.Upstream != nil {
		return d.Err("upstream is given twice")
	}
	u := new(logout.Upstream)
	e.Upstream = u
	switch args := d.RemainingArgs(); len(args) {
	case 1:
		u.Path = args[0]
	case 2:
		u.Method, u.Path = strings.ToUpper(args[0]), args[1]
	default:
		return d.ArgErr()
	}
	return options{
		"header":  pair(&u.Headers),
		"form":    pair(&u.Form),
		"body":    scalar(&u.Body, nil),
		"success": statuses(&u.Success),
	}.parse(d, "upstream", func() error {
		literal := *u
		err := validatePlaceholders(u.Path)
		if hasPlaceholder(u.Path) {
			literal.Path = "/"
		}
		return cmp.Or(err, literal.Validate())
	})
}

// unmarshalClearCookies parses `clear_cookies` of `end_session`, which may be given several times.
// Each name goes with the domain and with each of the paths.
func unmarshalClearCookies(d *caddyfile.Dispenser, e *logout.Config) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	var domain string
	var paths []string
	cookies := func() (cleared []browser.ClearCookie) {
		for _, name := range names {
			for _, path := range paths {
				cookie := browser.ClearCookie{Name: name, Domain: domain, Path: path}
				cleared = append(cleared, cookie)
			}
			if paths == nil {
				cleared = append(cleared, browser.ClearCookie{Name: name, Domain: domain})
			}
		}
		return cleared
	}
	err := options{
		"domain": scalar(&domain, nil),
		"path":   more(&paths),
	}.parse(d, "clear_cookies", func() error {
		for _, cookie := range cookies() {
			judge := atStart(func(string) error { return cookie.Validate() })
			if err := judge(cookie.Name + cookie.Domain + cookie.Path); err != nil {
				return err
			}
		}
		return nil
	})
	e.ClearCookies = append(e.ClearCookies, cookies()...)
	return err
}

// unmarshalClient parses `client`.
func (h *Handler) unmarshalClient(d *caddyfile.Dispenser) error {
	var client clients.Client
	if !d.NextArg() {
		return d.ArgErr()
	}
	client.ID = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	for _, other := range h.Clients {
		if other.ID == client.ID {
			return d.Errf("client %s is given twice", client.ID)
		}
	}
	err := options{
		"name":                                 scalar(&client.Name, nil),
		"post_logout_redirect_uri":             more(&client.PostLogoutRedirectURIs),
		"backchannel_logout_uri":               scalar(&client.BackChannelLogoutURI, nil),
		"backchannel_logout_session_required":  onOff(&client.BackChannelLogoutSessionRequired),
		"logout_token":                         scalar(&client.LogoutToken, nil),
		"frontchannel_logout_uri":              scalar(&client.FrontChannelLogoutURI, nil),
		"frontchannel_logout_session_required": onOff(&client.FrontChannelLogoutSessionRequired),
		"id_token_signed_response_alg":         scalar(&client.IDTokenSignedResponseAlg, nil),
		"insecure_http":                        onOff(&client.InsecureHTTP),
	}.parse(d, "client", func() error { return client.ValidateConfigured() })
	h.Clients = append(h.Clients, client)
	return err
}

// unmarshalBackChannel parses `backchannel_logout`.
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
	}.parse(d, "backchannel_logout", nil)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*FileStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
