package logout

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// A logoutRequest is a request of the end_session endpoint that was found to be in order
// (RP-Initiated Logout 1.0, section 2). What it holds of the hint is verified. It can be sealed.
type logoutRequest struct {
	ClientID  string `json:"client,omitempty"`   // that asks; empty: not known
	Hinted    bool   `json:"hinted,omitempty"`   // by a hint that was verified
	Subject   string `json:"sub,omitempty"`      // of the hint
	SessionID string `json:"sid,omitempty"`      // of the hint; empty: it has none
	Redirect  string `json:"redirect,omitempty"` // registered for the client; empty: there is none to go to
	State     []byte `json:"state,omitempty"`    // byte for byte
	HasState  bool   `json:"stated,omitempty"`
	Locales   string `json:"locales,omitempty"`

	// Unregistered: an address was asked for that is not registered for the client. Host is what
	// pages call it by.
	Unregistered bool   `json:"unregistered,omitempty"`
	Host         string `json:"host,omitempty"`
}

// location is where a signed-out browser is sent: the registered address with state behind it, if
// one came.
func (q logoutRequest) location() string {
	if !q.HasState {
		return q.Redirect
	}
	u, err := url.Parse(q.Redirect)
	switch {
	case err == nil && u.RawQuery != "":
		return q.Redirect + "&state=" + url.QueryEscape(string(q.State))
	case err == nil && u.ForceQuery:
		return q.Redirect + "state=" + url.QueryEscape(string(q.State))
	default:
		return q.Redirect + "?state=" + url.QueryEscape(string(q.State))
	}
}

// A badRequestError says what is wrong with a request of the end_session endpoint. Such a request
// never redirects (section 4).
type badRequestError struct {
	problem   assets.Problem
	parameter string // that is wrong; empty: it is the request as a whole
	reason    string // for the log; holds nothing of the request
	address   string // for the log: that was asked for and is not registered
	advice    string // for the log
}

func (b *badRequestError) Error() string { return b.parameter + ": " + b.reason }

// maxLocales is how much of ui_locales is looked at, in bytes.
const maxLocales = 256

// logoutParameters are those of RP-Initiated Logout 1.0, section 2.
var logoutParameters = []string{"id_token_hint", "logout_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales"}

// readLogoutParameters reads the parameters of a request: those of its URL and, for POST, of its
// form. Each may be given once.
func readLogoutParameters(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > exchange.MaxForm {
		return nil, &badRequestError{problem: assets.ProblemTooLarge, reason: "the query is too large"}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &badRequestError{problem: assets.ProblemInvalidRequest, reason: "the query cannot be read"}
	}
	if r.Method == http.MethodPost {
		form, err := readLogoutForm(w, r)
		if err != nil {
			return nil, err
		}
		for name, given := range form {
			values[name] = append(values[name], given...)
		}
	}
	for _, name := range logoutParameters {
		if len(values[name]) > 1 {
			return nil, &badRequestError{problem: assets.ProblemInvalidRequest, parameter: name, reason: "it is given twice"}
		}
	}
	return values, nil
}

// readLogoutForm reads the form of a POST, up to maxForm bytes.
func readLogoutForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, exchange.MaxForm))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, &badRequestError{problem: assets.ProblemTooLarge, reason: "the form is too large"}
	}
	mediaType, _, typeErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(body) > 0 && (typeErr != nil || mediaType != exchange.FormType) {
		return nil, &badRequestError{problem: assets.ProblemInvalidRequest, reason: "the body is not of type " + exchange.FormType}
	}
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		return nil, &badRequestError{problem: assets.ProblemInvalidRequest, reason: "the form cannot be read"}
	}
	return form, nil
}

// resolve finds out who asks, and where the browser may be sent afterwards. Its error is a
// badRequestError.
//
// logout_hint is not used: the browser itself says whose session it is.
func (e *EndSession) resolve(op *handlers.OP, r *http.Request, next caddyhttp.Handler, values url.Values) (logoutRequest, error) {
	q := logoutRequest{ClientID: values.Get("client_id"), State: []byte(values.Get("state")), HasState: values.Has("state")}
	if locales := values.Get("ui_locales"); len(locales) <= maxLocales {
		q.Locales = locales // others are no error (section 2)
	}
	if len(q.State) > handlers.MaxState {
		return q, &badRequestError{problem: assets.ProblemInvalidRequest, parameter: "state", reason: "it is too long"}
	}
	if len(q.ClientID) > handlers.MaxClientID {
		return q, &badRequestError{problem: assets.ProblemInvalidRequest, parameter: "client_id", reason: "it is too long"}
	}
	if token := values.Get("id_token_hint"); !isAbsent(token) {
		if err := e.resolveHint(op, r, next, token, &q); err != nil {
			return q, err
		}
	}
	redirect := values.Get("post_logout_redirect_uri")
	if redirect == "" || q.ClientID == "" {
		return q, nil // who cannot be told who asks for it is not sent there (section 3)
	}
	client, known := e.Clients.Find(handlers.RecordingContext(r), op.Issuer, q.ClientID)
	if !known || !client.MayReturnTo(redirect) {
		q.Unregistered, q.Host = true, clients.ShownHost(redirect)
		return q, unregistered(known, redirect)
	}
	q.Redirect = redirect
	return q, nil
}

// unregistered says that an address is not registered for a client.
func unregistered(known bool, address string) error {
	bad := &badRequestError{
		problem: assets.ProblemUnknownRedirect, parameter: "post_logout_redirect_uri", address: loggedAddress(address),
		reason: "it is not registered for the client",
		advice: "register the address for the client exactly as it is sent, or mend the app",
	}
	if !known {
		bad.reason, bad.advice = "the client is not known here", "configure the client with this post_logout_redirect_uri"
	}
	return bad
}

// isAbsent reports whether a parameter stands for none: scripts write these words for a value that
// they do not have.
func isAbsent(value string) bool { return value == "" || value == "undefined" || value == "null" }

// resolveHint verifies the hint. One whose key is not known counts as none: it may well be the
// OP's.
func (e *EndSession) resolveHint(op *handlers.OP, r *http.Request, next caddyhttp.Handler, token string, q *logoutRequest) error {
	hint, err := e.verifyHint(op, r, next, token)
	if errors.Is(err, tokens.ErrHintUnknownKey) {
		e.env.Logger.Warn("an id_token_hint cannot be verified: the user is asked", zap.String("issuer", op.Issuer), zap.Error(err))
		return nil
	}
	if err != nil {
		return &badRequestError{problem: assets.ProblemInvalidRequest, parameter: "id_token_hint", reason: err.Error()}
	}
	if q.ClientID == "" {
		q.ClientID = hint.ClientID()
	} else if !hint.IsFor(q.ClientID) {
		return &badRequestError{problem: assets.ProblemInvalidRequest, parameter: "client_id", reason: "the hint was issued to another client"}
	}
	q.Hinted, q.Subject, q.SessionID = true, hint.Subject, hint.SessionID
	return nil
}

func (e *EndSession) verifyHint(op *handlers.OP, r *http.Request, next caddyhttp.Handler, token string) (tokens.IDToken, error) {
	op = e.Keys.ViewOf(op, tokens.IssuerOf(token), r, next)
	if op.HasSeveralDocuments() && !op.Discovered {
		return tokens.IDToken{}, fmt.Errorf("%w: the document of its issuer is unavailable", tokens.ErrHintUnknownKey)
	}
	parsed, err := tokens.ParseHint(token, op.SigningAlgorithms)
	if err != nil {
		return tokens.IDToken{}, err
	}
	return parsed.Verify(op.DocumentIssuer, e.Keys.Find(op, r, next, parsed.KeyID()))
}
