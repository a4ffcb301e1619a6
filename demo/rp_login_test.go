package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/html"
)

func TestTheAnswerToPromptNoneDecidesOverTheAppsSession(t *testing.T) {
	alice := rpSession{user: "alice", sessionState: "new.salt"}
	tests := []struct {
		name     string
		session  rpSession
		err      error
		status   string
		signedIn bool
		state    string // of the app's session afterwards
	}{
		{"the same user only gets a new session_state", alice, nil, "same", true, "new.salt"},
		{"another user ends the session", rpSession{user: "bob", sessionState: "new.salt"}, nil, "other", false, ""},
		{"login_required ends the session", rpSession{}, authorizationError("login_required"), "none", false, ""},
		{"a wrapped login_required ends the session", rpSession{}, fmt.Errorf("x: %w", authorizationError("login_required")), "none", false, ""},
		{"an OP in trouble ends nothing", rpSession{}, authorizationError("temporarily_unavailable"), "unknown", true, "old.salt"},
		{"a failed token request ends nothing", rpSession{}, errors.New("no connection"), "unknown", true, "old.salt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rp := &relyingParty{name: "shop", sessions: map[string]rpSession{"cookie": {user: "alice", sessionState: "old.salt"}}}
			r := httptest.NewRequest(http.MethodGet, "/callback", nil)
			r.AddCookie(&http.Cookie{Name: "shop_session", Value: "cookie"})
			w := httptest.NewRecorder()
			rp.silentResult(w, r, test.session, test.err)

			root, err := html.Parse(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			var answer silentAnswer
			if err := json.Unmarshal([]byte(text(elementByID(root, "silent-answer"))), &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Status != test.status {
				t.Errorf("the script hears %q, want %q", answer.Status, test.status)
			}
			session, ok := rp.session(r)
			if ok != test.signedIn || session.sessionState != test.state {
				t.Errorf("afterwards there is a session: %t, with the session_state %q", ok, session.sessionState)
			}
		})
	}
}

func TestACallbackThatThisBrowserDidNotAskForIsRefused(t *testing.T) {
	rp := &relyingParty{name: "shop", sessions: map[string]rpSession{}}
	for _, query := range []string{"", "?code=x", "?code=x&state=y", "?error=login_required&state=y"} {
		r := httptest.NewRequest(http.MethodGet, "/callback"+query, nil)
		r.AddCookie(&http.Cookie{Name: attemptCookie + "other", Value: "nonce.verifier.page"})
		w := httptest.NewRecorder()
		rp.callback(w, r)
		if w.Code != http.StatusBadRequest || len(rp.sessions) != 0 {
			t.Errorf("/callback%s: status %d, %d sessions", query, w.Code, len(rp.sessions))
		}
	}
}
