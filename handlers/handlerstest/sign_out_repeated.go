package handlerstest

import (
	"context"
	"sync"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/logout"
	"github.com/oidc-session/caddy-oidc-session/handlers/opkeys"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Waiting is closed when a request looks for what the OP has answered another.
func (x *Exit) Waiting() <-chan struct{} {
	waits := make(chan struct{})
	looked := sync.OnceFunc(func() { close(waits) })
	x.W.Store.Do(func(_ context.Context, call string, keys ...registry.Key) error {
		if call == "get" && keys[0][0] == 'p' { // a pointer: what a one-time value leads to
			looked()
		}
		return nil
	})
	return waits
}

// AnotherServer has the same configuration and the same registry, and no memory in common.
func (x *Exit) AnotherServer() *logout.EndSession {
	x.T.Helper()
	env := x.W.Env
	env.Registry = registry.Open(x.W.Store, x.W.HearEnds, env.Logger)
	e := &logout.EndSession{
		LoginCookie: x.E.LoginCookie, LoginCookiePaths: new(browser.LoginCookiePaths), Config: x.E.Config,
		Clients: x.E.Clients, Keys: new(opkeys.Keys), BackChannel: x.W.BackChannel(x.E.Clients),
		FrontChannel: x.E.FrontChannel, FrontChannelTimeout: x.E.FrontChannelTimeout,
	}
	e.BackChannel.Observe(x.W.OP)
	e.Keys.Setup(env)
	if err := e.Setup(env); err != nil {
		x.T.Fatal(err)
	}
	return e
}
