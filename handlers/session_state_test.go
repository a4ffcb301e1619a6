package handlers

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestNothingIsAddedToTheResponsesOfAnOPWithACheckPageOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.op = knownOP(t, issuer, metadata{CheckSessionIframe: issuer + "/its-own-check"})
	for _, answer := range []string{"?code=c&state=s", "?error=login_required&state=s"} {
		a := newAgent(t, w)
		got := a.get(authorize("s"), redirect(callback+answer))
		if location := got.Header.Get("Location"); location != callback+answer {
			t.Errorf("%s becomes %s", answer, location)
		}
		if signedIn := a.cookies[w.op.cookies.session] != "" && !a.openS().session.IsZero(); signedIn != strings.Contains(answer, "code") {
			t.Errorf("%s: signed in is %v", answer, signedIn)
		}
		form := posted(callback, field("error", "login_required")+field("state", "s"))
		if body := readAll(t, a.get(ask("s", url.Values{"response_mode": {"form_post"}}), respondPage(form)).Body); body != form {
			t.Errorf("the page becomes %s", body)
		}
	}
}

func TestWhileTheOPsDocumentIsNotKnownItsSessionStateStays(t *testing.T) {
	unknown, err := newOP(issuer)
	if err != nil {
		t.Fatal(err)
	}
	if got := SessionState("").at(unknown); got != SessionStateKeep {
		t.Errorf("it is %q", got)
	}
}

// Client libraries let the session_state of a token response win over that of the authorization response.
func TestTheOPsSessionStateIsTakenOutOfTokenResponsesWhereOursTakesItsPlace(t *testing.T) {
	const own = `, "session_state" : "own.salt"`
	body := `{"access_token":"a"` + own + ` ,"expires_in":3.00,"big":12345678901234567890, "id_token":"` + idToken(claims("ada", clientID)) + `"}`
	checkPage := metadata{CheckSessionIframe: issuer + "/its-own-check"}
	for _, tt := range []struct {
		mode     SessionState
		document metadata
		removed  bool
	}{
		{"", metadata{}, true}, {"", checkPage, false}, {SessionStateKeep, metadata{}, false}, {SessionStateReplace, checkPage, true},
	} {
		for _, form := range []url.Values{
			{"grant_type": {"authorization_code"}, "code": {"c"}},
			{"grant_type": {"refresh_token"}, "refresh_token": {"r"}},
			{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}},
		} {
			w := newWorld(t)
			w.op = knownOP(t, issuer, tt.document)
			a := newAgent(t, w)
			a.signIn("c")
			want := body
			if tt.removed {
				want = strings.Replace(body, own, "", 1)
			}
			token := &Token{SessionState: tt.mode}
			token.Setup(w.env)
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
			if subs := w.subs(t, a.openS().session); (subs == "ada") != form.Has("code") {
				t.Errorf("%q, %v: subjects are %q", tt.mode, form, subs)
			}
		}
	}
}

// serveToken sends a token request that the OP answers with body.
func serveToken(t *testing.T, w *world, token *Token, form url.Values, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	recorder := httptest.NewRecorder()
	err := token.Serve(w.op, recorder, r, handler(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Etag", `"of the OP"`)
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		answering(body)(rw, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	return recorder
}

func TestMembersAreRemovedAndAllElseStays(t *testing.T) {
	for document, want := range map[string]string{
		`{"x":1}`:                           `{}`,
		`{"x":1,"a":2}`:                     `{"a":2}`,
		`{"a":2,"x":1}`:                     `{"a":2}`,
		`{"a":2,"x":1,"b":[{"x":3}]}`:       `{"a":2,"b":[{"x":3}]}`,
		`{"x":1,"x":2,"a":3}`:               `{"a":3}`,
		`{"a":0,"x":1,"b":0,"x":2}`:         `{"a":0,"b":0}`,
		"{\n  \"x\": 1,\n  \"a\": 1.0\n}\n": "{\n  \"a\": 1.0\n}\n",
		`{"\u0078":{"y":[1,2]},"a":"x"}`:    `{"a":"x"}`,
		`{"X":1}`:                           ``,
		`["x"]`:                             ``,
		`null`:                              ``,
		`{"x":1`:                            ``,
	} {
		if got, found := removeMember([]byte(document), "x"); string(got) != want || found != (want != "") {
			t.Errorf("%s becomes %q (%v), want %q", document, got, found, want)
		}
	}
}
