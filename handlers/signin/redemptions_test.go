package signin_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

const notRedeemed = "codes of a client are not redeemed through this Caddy"

func TestAClientWhoseCodesAreRedeemedElsewhereIsNamedOnce(t *testing.T) {
	w := handlerstest.NewWorld(t)
	a := handlerstest.NewAgent(t, w)
	for i := range signin.EnoughCodes {
		a.SignIn(fmt.Sprint("code ", i))
		w.Clock.Advance(time.Hour)
	}
	if w.Logs.FilterMessage(notRedeemed).Len() != 0 {
		t.Error("it is named too early")
	}
	for i := range 3 {
		a.SignIn(fmt.Sprint("later code ", i))
	}
	named := w.Logs.FilterMessage(notRedeemed).All()
	if len(named) != 1 || named[0].Level != zapcore.WarnLevel || named[0].ContextMap()["client_id"] != handlerstest.ClientID || named[0].ContextMap()["advice"] == "" {
		t.Errorf("logged %+v", named)
	}
}

func TestAClientThatRedeemsItsCodesIsNotNamed(t *testing.T) {
	w := handlerstest.NewWorld(t)
	for name, tt := range map[string]struct {
		clientID string
		pause    time.Duration
	}{
		"that says who it is":                    {handlerstest.ClientID, time.Hour},
		"whose request does not name it":         {"", time.Hour},
		"that has had no time to redeem its own": {"another", time.Minute},
	} {
		w.Logs.TakeAll()
		a := handlerstest.NewAgent(t, w)
		for i := range 6 {
			code := fmt.Sprint(name, i)
			a.SignIn(code)
			w.Clock.Advance(tt.pause)
			if i == 1 {
				form := handlerstest.CodeForm(code)
				form.Set("client_id", tt.clientID)
				if tt.clientID == "" {
					form.Del("client_id")
				}
				serveToken(t, w, a.B, form, `{"access_token":"a"}`)
			}
		}
		if w.Logs.FilterMessage(notRedeemed).Len() != 0 {
			t.Errorf("a client %s is named", name)
		}
	}
}

func TestNoMoreClientsAreWatchedThanAreBounded(t *testing.T) {
	var r signin.Redemptions
	for i := range signin.MaxRedemptions + 10 {
		r.IsUnredeemed(fmt.Sprint("client ", i), "c", handlerstest.Noon)
	}
	if r.Len() != signin.MaxRedemptions {
		t.Errorf("%d are watched", r.Len())
	}
}
