package handlers

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/zap"
)

// uninvolved are requests of the site that are not part of a sign-in: nearly all.
func uninvolved() map[string]*http.Request {
	plain := httptest.NewRequest("GET", issuer+"/style.css", nil)
	cookies := httptest.NewRequest("GET", issuer+"/account", nil)
	cookies.Header.Set("Cookie", "theme=dark; __Host-oidc_session="+string(make([]byte, 200))+"; lang=en; csrftoken=0123456789")
	return map[string]*http.Request{"without cookies": plain, "with cookies": cookies}
}

func TestAnUninvolvedRequestCostsNoAllocation(t *testing.T) {
	w := newWorld(t)
	b := &Browser{LoginCookie: "sessionid"}
	for name, r := range uninvolved() {
		if n := testing.AllocsPerRun(100, func() {
			if b.Involved(w.op, r) {
				t.Fatal("it is involved")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkInvolved(b *testing.B) {
	w := newWorld(b)
	browser := &Browser{LoginCookie: "sessionid"}
	for name, r := range uninvolved() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				browser.Involved(w.op, r)
			}
		})
	}
}

// discard is a response writer that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkObserve(b *testing.B) {
	body := make([]byte, 4096)
	next := handler(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	r := httptest.NewRequest("GET", issuer+"/login", nil)
	for name, holding := range map[string]*hold{"streamed": nil, "held": {limit: maxJSON, edit: func(http.Header, []byte) []byte { return nil }}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			w := discard{make(http.Header)}
			for b.Loop() {
				if err := observe(w, r, next, func(int, http.Header) *hold { return holding }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignIn(b *testing.B) {
	w := newWorld(b)
	w.env.Logger = zap.NewNop() // what it and the registry cost is measured elsewhere
	w.down()
	browser := &Browser{}
	browser.Setup(w.env)
	a := newAgent(b, w)
	a.get(authorize("s"), page)
	r := httptest.NewRequest("POST", issuer+"/login", nil)
	for name, value := range a.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	next := handler(redirect(callback + "?code=c&state=s"))
	b.ReportAllocs()
	for b.Loop() {
		if err := browser.Serve(w.op, discard{make(http.Header)}, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
