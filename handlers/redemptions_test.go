package handlers

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

const notRedeemed = "codes of a client are not redeemed through this Caddy"

func TestAClientWhoseCodesAreRedeemedElsewhereIsNamedOnce(t *testing.T) {
	w := newWorld(t)
	a := newAgent(t, w)
	for i := range enoughCodes {
		a.signIn(fmt.Sprint("code ", i))
		w.clock.advance(time.Hour)
	}
	if w.logs.FilterMessage(notRedeemed).Len() != 0 {
		t.Error("it is named too early")
	}
	for i := range 3 {
		a.signIn(fmt.Sprint("later code ", i))
	}
	named := w.logs.FilterMessage(notRedeemed).All()
	if len(named) != 1 || named[0].Level != zapcore.WarnLevel || named[0].ContextMap()["client_id"] != clientID || named[0].ContextMap()["advice"] == "" {
		t.Errorf("logged %+v", named)
	}
}

func TestAClientThatRedeemsItsCodesIsNotNamed(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		clientID string
		pause    time.Duration
	}{
		"that says who it is":                    {clientID, time.Hour},
		"whose request does not name it":         {"", time.Hour},
		"that has had no time to redeem its own": {"another", time.Minute},
	} {
		w.logs.TakeAll()
		a := newAgent(t, w)
		for i := range 6 {
			code := fmt.Sprint(name, i)
			a.signIn(code)
			w.clock.advance(tt.pause)
			if i == 1 {
				a.b.Redemptions.redeemed(tt.clientID, code)
			}
		}
		if w.logs.FilterMessage(notRedeemed).Len() != 0 {
			t.Errorf("a client %s is named", name)
		}
	}
}

// The token endpoint notes what comes by, however the request names its client.
func TestTokenRequestsAreNotedAsRedemptions(t *testing.T) {
	w := newWorld(t)
	seen := new(Redemptions)
	for range enoughCodes {
		seen.responded(w.env.Logger, issuer, clientID, "c", w.clock.Now())
	}
	w.clock.advance(time.Hour)
	token := Token{Redemptions: seen}
	token.Setup(w.env)
	serveToken(t, w, &token, codeForm("c"), tokenResponse(claims("alice", clientID)))
	seen.responded(w.env.Logger, issuer, clientID, "d", w.clock.Now())
	if w.logs.FilterMessage(notRedeemed).Len() != 0 {
		t.Error("the client is named")
	}
}

func TestNoMoreClientsAreWatchedThanAreBounded(t *testing.T) {
	w := newWorld(t)
	seen := new(Redemptions)
	for i := range maxRedemptions + 10 {
		seen.responded(w.env.Logger, issuer, fmt.Sprint("client ", i), "c", w.clock.Now())
	}
	if len(seen.clients) != maxRedemptions {
		t.Errorf("%d are watched", len(seen.clients))
	}
}
