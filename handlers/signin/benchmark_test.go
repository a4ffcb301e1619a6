package signin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/handlers/signin"
)

// uninvolved are requests of the site that are not part of a sign-in: nearly all.
func uninvolved() map[string]*http.Request {
	plain := httptest.NewRequest("GET", handlerstest.Issuer+"/style.css", nil)
	cookies := httptest.NewRequest("GET", handlerstest.Issuer+"/account", nil)
	cookies.Header.Set("Cookie", "theme=dark; __Host-oidc_session="+string(make([]byte, 200))+"; lang=en; csrftoken=0123456789")
	return map[string]*http.Request{"without cookies": plain, "with cookies": cookies}
}

func TestAnUninvolvedRequestCostsNoAllocation(t *testing.T) {
	w := handlerstest.NewWorld(t)
	b := &signin.Observer{LoginCookie: "sessionid"}
	for name, r := range uninvolved() {
		if n := testing.AllocsPerRun(100, func() {
			if b.Involved(w.OP, r) {
				t.Fatal("it is involved")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkInvolved(b *testing.B) {
	w := handlerstest.NewWorld(b)
	browser := &signin.Observer{LoginCookie: "sessionid"}
	for name, r := range uninvolved() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				browser.Involved(w.OP, r)
			}
		})
	}
}

// discard is a response writer that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header { return d.header }

func (discard) WriteHeader(int) {}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkObserve(b *testing.B) {
	body := make([]byte, 4096)
	next := reply.Handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	r := httptest.NewRequest("GET", handlerstest.Issuer+"/login", nil)
	for name, holding := range map[string]*exchange.Hold{"streamed": nil, "held": {Limit: exchange.MaxJSON, Edit: func(http.Header, []byte) []byte { return nil }}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			w := discard{make(http.Header)}
			for b.Loop() {
				if err := exchange.Observe(w, r, next, func(int, http.Header) *exchange.Hold { return holding }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignIn(b *testing.B) {
	w := handlerstest.NewWorld(b)
	w.Env.Logger = zap.NewNop() // what it and the registry cost is measured elsewhere
	w.Down()
	browser := &signin.Observer{}
	browser.Setup(w.Env)
	a := handlerstest.NewAgent(b, w)
	a.Get(handlerstest.Authorize("s"), reply.Page)
	r := httptest.NewRequest("POST", handlerstest.Issuer+"/login", nil)
	for name, value := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	next := reply.Handler(reply.Redirect(handlerstest.Callback + "?code=c&state=s"))
	b.ReportAllocs()
	for b.Loop() {
		if err := browser.Serve(w.OP, discard{make(http.Header)}, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
