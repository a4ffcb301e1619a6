package logout

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// A logoutRequest is a logout request that was found to be in order (RP-Initiated Logout 1.0,
// section 2). What it holds of the hint is verified. It can be sealed.
type logoutRequest struct {
	ClientID  string `json:"client,omitempty"`   // that asks; empty: unknown
	Hinted    bool   `json:"hinted,omitempty"`   // by a hint that was verified
	Subject   string `json:"sub,omitempty"`      // of the hint
	SessionID string `json:"sid,omitempty"`      // of the hint; empty: it has none
	Redirect  string `json:"redirect,omitempty"` // registered for the client; empty: none
	State     []byte `json:"state,omitempty"`    // byte for byte
	HasState  bool   `json:"stated,omitempty"`
	Locales   string `json:"locales,omitempty"`

	// Unregistered: the address that was asked for is not registered for the client. Host is what
	// pages call it by.
	Unregistered bool   `json:"unregistered,omitempty"`
	Host         string `json:"host,omitempty"`
}

// A badRequestError says what is wrong with a logout request. Such a request never redirects
// (section 4).
type badRequestError struct {
	problem   assets.Problem
	parameter string // that is wrong; empty: the request as a whole
	reason    string // for the log; holds nothing of the request
	address   string // for the log: that was asked for and is not registered
	advice    string // for the log
}

func (b *badRequestError) Error() string { return b.parameter + ": " + b.reason }

func invalid(parameter, reason string) error {
	return &badRequestError{
		problem: assets.ProblemInvalidRequest, parameter: parameter, reason: reason,
	}
}

// maxLocales is how much of ui_locales is read, in bytes.
const maxLocales = 256

// readRequest reads who asks, and where the browser may be sent afterwards. Its error is a
// badRequestError; the exchange then has what could be read.
//
// logout_hint is not used: the browser itself says whose session it is.
func (e *EndSession) readRequest(l *logoutExchange) error {
	values, err := readParameters(l.w, l.r)
	if err != nil {
		return err
	}
	q := &l.request
	q.State, q.HasState = []byte(values.Get("state")), values.Has("state")
	if locales := values.Get("ui_locales"); len(locales) <= maxLocales {
		q.Locales = locales // others are no error (section 2)
	}
	if len(values.Get("client_id")) > handlers.MaxClientID {
		return invalid("client_id", "it is too long")
	}
	q.ClientID = values.Get("client_id")
	if len(q.State) > handlers.MaxState {
		return invalid("state", "it is too long")
	}
	if err := e.readHint(l, values.Get("id_token_hint")); err != nil {
		return err
	}
	address := values.Get("post_logout_redirect_uri")
	if address == "" {
		return nil
	}
	if q.ClientID == "" { // it cannot be registered (section 3)
		e.env.Logger.Warn("logout request names no client",
			zap.String("issuer", l.op.Issuer),
			zap.String("post_logout_redirect_uri", loggedAddress(address)),
			zap.String("advice", "the app must send id_token_hint or client_id: "+
				"its users are not sent back otherwise"))
		return nil
	}
	client, known := e.findClient(l)
	if !known || !client.MayReturnTo(address) {
		q.Unregistered, q.Host = true, clients.ShownHost(address)
		return unregistered(known, address)
	}
	q.Redirect = address
	return nil
}

// parameters are those of RP-Initiated Logout 1.0, section 2.
var parameters = []string{
	"id_token_hint", "logout_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales",
}

// readParameters reads the parameters of a request: those of its URL and, for POST, of its form.
// Each may be given once.
func readParameters(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if len(r.URL.RawQuery) > exchange.MaxForm {
		const reason = "the query is too large"
		return nil, &badRequestError{problem: assets.ProblemTooLarge, reason: reason}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("", "the query cannot be read")
	}
	if r.Method == http.MethodPost {
		form, err := readForm(w, r)
		if err != nil {
			return nil, err
		}
		for name, given := range form {
			values[name] = append(values[name], given...)
		}
	}
	for _, name := range parameters {
		if len(values[name]) > 1 {
			return nil, invalid(name, "it is given twice")
		}
	}
	return values, nil
}

// readForm reads the form of a POST, up to MaxForm bytes.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, exchange.MaxForm))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		const reason = "the form is too large"
		return nil, &badRequestError{problem: assets.ProblemTooLarge, reason: reason}
	}
	mediaType, _, typeErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(body) > 0 && (typeErr != nil || mediaType != exchange.FormType) {
		return nil, invalid("", "the body is not of type "+exchange.FormType)
	}
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		return nil, invalid("", "the form cannot be read")
	}
	return form, nil
}

// readHint verifies the hint. One whose key is unknown counts as none: it may well be the OP's. So
// do the words that scripts write for a value which they do not have.
func (e *EndSession) readHint(l *logoutExchange, token string) error {
	if token == "" || token == "undefined" || token == "null" {
		return nil
	}
	hint, err := e.verifyHint(l, token)
	if errors.Is(err, tokens.ErrHintUnknownKey) {
		e.env.Logger.Warn("an id_token_hint cannot be verified: the user is asked",
			zap.String("issuer", l.op.Issuer), zap.Error(err))
		return nil
	}
	if err != nil {
		return invalid("id_token_hint", err.Error())
	}
	q := &l.request
	q.ClientID = cmp.Or(q.ClientID, hint.ClientID())
	if q.ClientID != hint.ClientID() && !hint.IsFor(q.ClientID) {
		return invalid("client_id", "the hint was issued to another client")
	}
	q.Hinted, q.Subject, q.SessionID = true, hint.Subject, hint.SessionID
	return nil
}

func (e *EndSession) verifyHint(l *logoutExchange, token string) (tokens.IDToken, error) {
	op := e.Keys.ViewOf(l.op, tokens.IssuerOf(token), l.r, l.next)
	if op.HasSeveralDocuments() && !op.Discovered {
		return tokens.IDToken{}, fmt.Errorf("%w: the document of its issuer is unavailable",
			tokens.ErrHintUnknownKey)
	}
	parsed, err := tokens.ParseHint(token, op.SigningAlgorithms)
	if err != nil {
		return tokens.IDToken{}, err
	}
	return parsed.Verify(op.DocumentIssuer, e.Keys.Find(op, l.r, l.next, parsed.KeyID()))
}

// findClient returns the client that asks.
func (e *EndSession) findClient(l *logoutExchange) (client clients.Client, known bool) {
	return e.Clients.Find(handlers.RecordingContext(l.r), l.op.Issuer, l.request.ClientID)
}

// unregistered says that an address is not registered for a client.
func unregistered(known bool, address string) error {
	bad := &badRequestError{
		problem:   assets.ProblemUnknownRedirect,
		parameter: "post_logout_redirect_uri",
		address:   loggedAddress(address),
		reason:    "it is not registered for the client",
		advice:    "register the address for the client exactly as it is sent, or mend the app",
	}
	if !known {
		bad.reason = "the client is not known here"
		bad.advice = "configure the client with this post_logout_redirect_uri"
	}
	return bad
}

// fits reports whether the hint names the user, and the OP's session where both name one, as the
// client's own ID tokens did.
func (q logoutRequest) fits(client *registry.Client) bool {
	for _, s := range client.Subjects {
		if s.Sub == q.Subject && (q.SessionID == "" || s.Sid == "" || s.Sid == q.SessionID) {
			return true
		}
	}
	return false
}

// location is where a signed-out browser is sent: the registered address with state behind it, if
// one came.
func (q logoutRequest) location() string {
	if !q.HasState {
		return q.Redirect
	}
	separator := "?"
	switch u, err := url.Parse(q.Redirect); {
	case err == nil && u.RawQuery != "":
		separator = "&"
	case err == nil && u.ForceQuery:
		separator = ""
	}
	return q.Redirect + separator + "state=" + url.QueryEscape(string(q.State))
}
