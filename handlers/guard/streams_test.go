package guard_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/handlerstest"
	"github.com/oidc-session/caddy-oidc-session/handlers/internal/reply"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// A stream is a request whose response goes on until the test ends it, or the guard does.
type stream struct {
	t       *testing.T
	context context.Context // of the request, as the app knows it
	served  chan struct{}   // closed when the guard is done with it
}

// open opens a stream, whose header the app sends at once.
func (b *browser) open(t *testing.T, respond http.HandlerFunc) stream {
	t.Helper()
	return b.openBy(t, http.MethodGet, respond)
}

func (b *browser) openBy(t *testing.T, method string, respond http.HandlerFunc) stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := stream{t: t, served: make(chan struct{})}
	opened := make(chan context.Context)
	r := newRequest(origin + "/stream").WithContext(ctx)
	r.Method = method
	r.Header.Set("Cookie", b.cookiesFor(r))
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Upgrade", "websocket")
	handler := reply.Handler(func(w http.ResponseWriter, r *http.Request) {
		respond(w, r)
		opened <- r.Context()
		<-r.Context().Done()
	})
	g := b.site.guard
	go func() {
		defer close(s.served)
		if err := g.Serve(httptest.NewRecorder(), r, handler); err != nil {
			t.Error(err)
		}
	}()
	s.context = <-opened
	t.Cleanup(func() {
		cancel()
		<-s.served
	})
	return s
}

// closed fails the test unless the stream is closed soon.
func (s stream) closed() {
	s.t.Helper()
	select {
	case <-s.served:
	case <-time.After(time.Second):
		s.t.Error("it goes on")
	}
}

// goesOn fails the test if the stream is closed.
func (s stream) goesOn() {
	s.t.Helper()
	if s.context.Err() != nil {
		s.t.Error("it is closed")
	}
}

var (
	webSocket = says(http.StatusSwitchingProtocols, "Upgrade: websocket", "Connection: Upgrade")
	events    = says(200, "Content-Type: text/event-stream; charset=utf-8")
)

func TestStreamsAreClosedWhenTheirSessionEnds(t *testing.T) {
	ends := map[string]func(s *site, b *browser){
		"logout":      func(s *site, b *browser) { s.end(b) },
		"expiry":      func(s *site, _ *browser) { s.Clock.Advance(handlerstest.Lifetime); s.Claim(t) },
		"user switch": func(s *site, b *browser) { b.name = "bob"; b.signIn("session=value-2; HttpOnly; Path=/") },
		"elsewhere":   func(s *site, b *browser) { s.another(); s.end(b) },
	}
	for name, end := range ends {
		for kind, respond := range map[string]http.HandlerFunc{"WebSocket": webSocket, "events": events} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s := newSite(t)
				b := s.signedIn("alice", set)
				stream := b.open(t, respond)
				stream.goesOn()
				end(s, b)
				stream.closed()
			})
		}
	}
}

func TestWebSocketsOverHTTP2AreStreams(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	stream := b.openBy(t, http.MethodConnect, says(200))
	s.end(b)
	stream.closed()
}

func TestOtherResponsesGoOnWhenTheSessionEnds(t *testing.T) {
	s := newSite(t)
	b, bob, local := s.signedIn("alice", set), s.signedIn("bob", set), localUser(s)
	streams := map[string]stream{
		"a page":                    b.open(t, says(200, "Content-Type: text/html")),
		"a download":                b.open(t, says(200, "Content-Type: application/octet-stream")),
		"another user's":            bob.open(t, webSocket),
		"one of a local sign-in":    local.open(t, events),
		"one of nobody":             s.browser("nobody").open(t, events),
		"one of a session to come":  s.signedIn("alice", set).open(t, events),
		"one whose app says it not": b.open(t, says(200)),
	}
	own := b.open(t, events)
	s.end(b)
	own.closed()
	for name, stream := range streams {
		if stream.context.Err() != nil {
			t.Errorf("%s is closed", name)
		}
	}
}

func TestStreamsGoOnIfConfigured(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	own := b.open(t, events) // by which it is known that the news have come
	other := s.another(func(g *guard.Guard) { g.CloseStreams = false })
	stream := b.at(other).open(t, webSocket)
	s.end(b)
	own.closed()
	stream.goesOn()
}

func TestAStreamWhoseSessionEndedBeforeItsHeaderIsClosed(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	b.open(t, func(w http.ResponseWriter, r *http.Request) {
		s.end(b)
		webSocket(w, r)
	}).closed()
}

func TestStreamsGoOnWhileTheRegistryIsUnavailable(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	stream := b.open(t, events)
	asked := make(chan struct{}, 100)
	s.Store.Do(func(_ context.Context, call string, _ ...registry.Key) error {
		if call != "get" {
			return nil
		}
		asked <- struct{}{}
		return registry.ErrUnavailable
	})
	s.end(b)
	<-asked
	stream.goesOn()
}

func TestStreamsOfAnEarlierConfigurationGoOn(t *testing.T) {
	s := newSite(t)
	b := s.signedIn("alice", set)
	stream := b.open(t, events)
	s.guard.Close()
	stream.goesOn()
}

// A store may miss what other servers do, and says so.
func TestStreamsAreAskedForAgainWhenNewsMayHaveBeenMissed(t *testing.T) {
	s := newSite(t)
	store := &missing{Store: s.Store.Store}
	s.Store.Store = store
	b, bob := s.signedIn("alice", set), s.signedIn("bob", set)
	stream, others := b.open(t, events), bob.open(t, events)
	s.end(b)
	stream.goesOn() // nobody heard of it
	b.copyOf("copy").appGets("/", "session=value-1")
	store.lost()
	stream.closed()
	others.goesOn()
	b.appGets("/", "")
}

// missing is a store whose listeners hear nothing.
type missing struct {
	registry.Store
	lost func()
}

func (m *missing) Watch(_ func(registry.Key), lost func()) (cancel func()) {
	m.lost = lost
	return func() {}
}

// A script that reads events by fetch need not say that it expects them.
func TestEventsThatWereNotAskedForAreClosedToo(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			s := newSite(t)
			b := s.signedIn("alice", set)
			over := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Host = host
				err := s.guard.Serve(w, r, reply.Handler(func(w http.ResponseWriter, r *http.Request) {
					events(w, r)
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}))
				if err != nil {
					t.Error(err)
				}
				close(over)
			}))
			server.EnableHTTP2 = version == 2
			server.StartTLS()
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Cookie", b.cookiesFor(newRequest(origin+"/")))
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.ProtoMajor != version {
				t.Fatalf("it is %s", response.Proto)
			}
			s.end(b)
			select {
			case <-over:
			case <-time.After(10 * time.Second):
				t.Fatal("it goes on")
			}
			_, _ = io.Copy(io.Discard, response.Body) // it ends
		})
	}
}
