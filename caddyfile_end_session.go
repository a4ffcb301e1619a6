package oidcsession

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// unmarshalEndSession parses `end_session`; see parseDirective.
func (h *Handler) unmarshalEndSession(d *caddyfile.Dispenser) error {
	if h.EndSession != nil {
		return d.Err("end_session is given twice")
	}
	e := &logout.EndSession{Explicit: true}
	h.EndSession = e
	if d.NextArg() {
		if e.Path = d.Val(); e.Path == "" {
			return d.Err("end_session: the path is empty")
		}
		if err := atStart(validateEndpoint("end_session"))(e.Path); err != nil {
			return located(d, "end_session", err)
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return options{
		"upstream":        func(d *caddyfile.Dispenser) error { return unmarshalUpstream(d, e) },
		"clear_cookies":   func(d *caddyfile.Dispenser) error { return unmarshalClearCookies(d, e) },
		"confirm":         scalar(&e.Confirm, atStart(logout.ValidateConfirm)),
		"templates":       scalar(&e.Templates, atStart(nil)),
		"access_log":      onOff(&e.AccessLog),
		"allow_hint_only": onOff(&e.AllowHintOnly),
	}.parse(d, "end_session", unchecked)
}

// unmarshalOPLogout parses `op_logout`, which may be given several times. Paths begin with a slash, or are placeholders.
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
	err := allAtStart(func(paths ...string) error { return signin.OPLogout{Method: logout.Method, Paths: paths}.Validate() })(args...)
	if err != nil {
		return located(d, "op_logout", err)
	}
	h.OPLogouts = append(h.OPLogouts, logout)
	return endOfLine(d)
}

// unmarshalUpstream parses `upstream` of `end_session`. Its last argument is the path.
func unmarshalUpstream(d *caddyfile.Dispenser, e *logout.EndSession) error {
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
		err := atStart(nil)(u.Path)
		if hasPlaceholder(u.Path) {
			literal.Path = "/"
		}
		return cmp.Or(err, literal.Validate())
	})
}

// pair parses an option with a name and a value, each name of which may be given once.
func pair(values *map[string]string) option {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.ArgErr()
		}
		if _, given := (*values)[args[0]]; given {
			return d.Errf("%s %s is given twice", name, args[0])
		}
		if *values == nil {
			*values = make(map[string]string)
		}
		(*values)[args[0]] = args[1]
		return endOfLine(d)
	}
}

// statuses parses status codes and classes of them, such as 2xx.
func statuses(codes *[]int) option {
	return func(d *caddyfile.Dispenser) error {
		if *codes != nil {
			return d.Errf("%s is given twice", d.Val())
		}
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		for _, arg := range args {
			text := arg
			if len(text) == 3 && text[1:] == "xx" {
				text = text[:1]
			}
			code, err := strconv.Atoi(text)
			if err != nil {
				return d.Errf("'%s' is no status code, such as 302 or 2xx", arg)
			}
			*codes = append(*codes, code)
		}
		return endOfLine(d)
	}
}

// unmarshalClearCookies parses `clear_cookies` of `end_session`, which may be given several times. Each name goes with the domain and with
// each of the paths.
func unmarshalClearCookies(d *caddyfile.Dispenser, e *logout.EndSession) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	var domain string
	var paths []string
	cookies := func() (cleared []browser.ClearCookie) {
		for _, name := range names {
			for _, path := range paths {
				cleared = append(cleared, browser.ClearCookie{Name: name, Domain: domain, Path: path})
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

// unmarshalClient parses `client`; see parseDirective.
func (h *Handler) unmarshalClient(d *caddyfile.Dispenser) error {
	var client clients.Client
	if !d.NextArg() {
		return d.ArgErr()
	}
	client.ID = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	if slices.ContainsFunc(h.Clients, func(other clients.Client) bool { return other.ID == client.ID }) {
		return d.Errf("client %s is given twice", client.ID)
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

// more parses an option with one or more arguments that may be given several times.
func more(values *[]string) option {
	return func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		*values = append(*values, args...)
		return endOfLine(d)
	}
}
