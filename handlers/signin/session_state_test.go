package signin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

func TestNothingIsAddedToTheResponsesOfAnOPWithACheckPageOfItsOwn(t *testing.T) {
	w := handlerstest.NewWorld(t)
	w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, handlers.Metadata{CheckSessionIframe: handlerstest.Issuer + "/its-own-check"})
	for _, answer := range []string{"?code=c&state=s", "?error=login_required&state=s"} {
		a := handlerstest.NewAgent(t, w)
		got := a.Get(handlerstest.Authorize("s"), reply.Redirect(handlerstest.Callback+answer))
		if location := got.Header.Get("Location"); location != handlerstest.Callback+answer {
			t.Errorf("%s becomes %s", answer, location)
		}
		if signedIn := a.Cookies[w.OP.Cookies.Session] != "" && !a.OpenS().Session.IsZero(); signedIn != strings.Contains(answer, "code") {
			t.Errorf("%s: signed in is %v", answer, signedIn)
		}
		form := handlerstest.Posted(handlerstest.Callback, field("error", "login_required")+field("state", "s"))
		if body := reply.ReadAll(t, a.Get(handlerstest.Ask("s", url.Values{"response_mode": {"form_post"}}), handlerstest.RespondPage(form)).Body); body != form {
			t.Errorf("the page becomes %s", body)
		}
	}
}

func TestWhileTheOPsDocumentIsNotKnownItsSessionStateStays(t *testing.T) {
	unknown, err := handlers.NewOP(handlerstest.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	if got := handlers.SessionState("").At(unknown); got != handlers.SessionStateKeep {
		t.Errorf("it is %q", got)
	}
}

// Client libraries let the session_state of a token response win over that of the authorization
// response.
func TestTheOPsSessionStateIsTakenOutOfTokenResponsesWhereOursTakesItsPlace(t *testing.T) {
	const own = `, "session_state" : "own.salt"`
	body := `{"access_token":"a"` + own + ` ,"expires_in":3.00,"big":12345678901234567890, "id_token":"` + handlerstest.IDToken(handlerstest.Claims("ada", handlerstest.ClientID)) + `"}`
	checkPage := handlers.Metadata{CheckSessionIframe: handlerstest.Issuer + "/its-own-check"}
	for _, tt := range []struct {
		mode     handlers.SessionState
		document handlers.Metadata
		removed  bool
	}{
		{"", handlers.Metadata{}, true}, {"", checkPage, false}, {handlers.SessionStateKeep, handlers.Metadata{}, false}, {handlers.SessionStateReplace, checkPage, true},
	} {
		for _, form := range []url.Values{
			{"grant_type": {"authorization_code"}, "code": {"c"}},
			{"grant_type": {"refresh_token"}, "refresh_token": {"r"}},
			{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}},
		} {
			w := handlerstest.NewWorld(t)
			w.OP = handlerstest.KnownOP(t, handlerstest.Issuer, tt.document)
			a := handlerstest.NewAgent(t, w)
			a.SignIn("c")
			want := body
			if tt.removed {
				want = strings.Replace(body, own, "", 1)
			}
			token := &signin.Observer{SessionState: tt.mode}
			token.Setup(w.Env)
			got := serveToken(t, w, token, form, body)
			if got.Body.String() != want {
				t.Errorf("%q, %v: %s\nwant %s", tt.mode, form, got.Body, want)
			}
			if length := got.Header().Get("Content-Length"); length != "" && length != strconv.Itoa(len(want)) {
				t.Errorf("Content-Length is %s", length)
			}
			if etag := got.Header().Get("Etag"); (etag == "") != tt.removed {
				t.Errorf("ETag is %q", etag)
			}
			if subs := w.Subs(t, a.OpenS().Session); (subs == "ada") != form.Has("code") {
				t.Errorf("%q, %v: subjects are %q", tt.mode, form, subs)
			}
		}
	}
}

// serveToken sends a token request that the OP answers with body.
func serveToken(t *testing.T, w *handlerstest.World, token *signin.Observer, form url.Values, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, handlerstest.Issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", exchange.FormType)
	recorder := httptest.NewRecorder()
	err := token.ServeToken(w.OP, recorder, r, reply.Handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Etag", `"of the OP"`)
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		reply.Answering(body)(rw, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return recorder
}
