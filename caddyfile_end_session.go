package oidcsession

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oidc-session/caddy-oidc-session/handlers"
)

// unmarshalEndSession parses `end_session`; see parseDirective.
func (h *Handler) unmarshalEndSession(d *caddyfile.Dispenser) error {
	if h.EndSession != nil {
		return d.Err("end_session is given twice")
	}
	e := new(handlers.EndSession)
	h.EndSession = e
	if d.NextArg() {
		if e.Path = d.Val(); e.Path == "" {
			return d.Err("end_session: the path is empty")
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "upstream":
			err = unmarshalUpstream(d, e)
		case "clear_cookies":
			err = unmarshalClearCookies(d, e)
		case "confirm":
			err = scalar(d, &e.Confirm)
		case "templates":
			err = scalar(d, &e.Templates)
		case "access_log":
			err = onOff(d, &e.AccessLog)
		case "allow_hint_only":
			err = onOff(d, &e.AllowHintOnly)
		default:
			err = d.Errf("unrecognized end_session option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmarshalOPLogout parses `op_logout`, which may be given several times. Paths begin with a slash, or are placeholders.
func (h *Handler) unmarshalOPLogout(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	var logout handlers.OPLogout
	if len(args) > 0 && !strings.HasPrefix(args[0], "/") && !strings.HasPrefix(args[0], "{") {
		logout.Method, args = strings.ToUpper(args[0]), args[1:]
	}
	if len(args) == 0 {
		return d.ArgErr()
	}
	logout.Paths = args
	h.OPLogouts = append(h.OPLogouts, logout)
	return endOfLine(d)
}

// unmarshalUpstream parses `upstream` of `end_session`. Its last argument is the path.
func unmarshalUpstream(d *caddyfile.Dispenser, e *handlers.EndSession) error {
	if e.Upstream != nil {
		return d.Err("upstream is given twice")
	}
	u := new(handlers.Upstream)
	e.Upstream = u
	switch args := d.RemainingArgs(); len(args) {
	case 1:
		u.Path = args[0]
	case 2:
		u.Method, u.Path = args[0], args[1]
	default:
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "header":
			err = pair(d, &u.Headers)
		case "form":
			err = pair(d, &u.Form)
		case "body":
			err = scalar(d, &u.Body)
		case "success":
			err = statuses(d, &u.Success)
		default:
			err = d.Errf("unrecognized upstream option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pair parses an option with a name and a value, each name of which may be given once.
func pair(d *caddyfile.Dispenser, values *map[string]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.ArgErr()
	}
	if _, given := (*values)[args[0]]; given {
		return d.Errf("%s %s is given twice", option, args[0])
	}
	if *values == nil {
		*values = make(map[string]string)
	}
	(*values)[args[0]] = args[1]
	return endOfLine(d)
}

// statuses parses status codes and classes of them, such as 2xx.
func statuses(d *caddyfile.Dispenser, codes *[]int) error {
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
			return d.Errf("'%s' is no status code", arg)
		}
		*codes = append(*codes, code)
	}
	return endOfLine(d)
}

// unmarshalClearCookies parses `clear_cookies` of `end_session`, which may be given several times. Each name goes with the domain and with
// each of the paths.
func unmarshalClearCookies(d *caddyfile.Dispenser, e *handlers.EndSession) error {
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.ArgErr()
	}
	var domain string
	var paths []string
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "domain":
			err = scalar(d, &domain)
		case "path":
			if paths = append(paths, d.RemainingArgs()...); len(paths) == 0 {
				err = d.ArgErr()
			}
		default:
			err = d.Errf("unrecognized clear_cookies option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	if paths == nil {
		paths = []string{""}
	}
	for _, name := range names {
		for _, path := range paths {
			e.ClearCookies = append(e.ClearCookies, handlers.ClearCookie{Name: name, Domain: domain, Path: path})
		}
	}
	return nil
}

// unmarshalClient parses `client`; see parseDirective.
func (h *Handler) unmarshalClient(d *caddyfile.Dispenser) error {
	var client handlers.Client
	if !d.NextArg() {
		return d.ArgErr()
	}
	client.ID = d.Val()
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "name":
			err = scalar(d, &client.Name)
		case "post_logout_redirect_uri":
			uris := d.RemainingArgs()
			if len(uris) == 0 {
				return d.ArgErr()
			}
			client.PostLogoutRedirectURIs = append(client.PostLogoutRedirectURIs, uris...)
			err = endOfLine(d)
		case "backchannel_logout_uri":
			err = scalar(d, &client.BackChannelLogoutURI)
		case "backchannel_logout_session_required":
			err = onOff(d, &client.BackChannelLogoutSessionRequired)
		case "logout_token":
			err = scalar(d, &client.LogoutToken)
		case "frontchannel_logout_uri":
			err = scalar(d, &client.FrontChannelLogoutURI)
		case "frontchannel_logout_session_required":
			err = onOff(d, &client.FrontChannelLogoutSessionRequired)
		case "id_token_signed_response_alg":
			err = scalar(d, &client.IDTokenSignedResponseAlg)
		case "insecure_http":
			err = onOff(d, &client.InsecureHTTP)
		default:
			err = d.Errf("unrecognized client option '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	h.Clients = append(h.Clients, client)
	return nil
}
