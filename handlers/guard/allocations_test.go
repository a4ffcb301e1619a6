package guard_test

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// A nothing is a response writer that does nothing with a header of its own.
type nothing struct{ header http.Header }

func (n nothing) Header() http.Header       { return n.header }
func (nothing) Write(p []byte) (int, error) { return len(p), nil }
func (nothing) WriteHeader(int)             {}

// raceDetector: then, sync.Pool drops some of what it is given.
var raceDetector bool

func TestWhatIsNoneOfOurBusinessAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("allocations are those of the race detector, too")
	}
	s := newSite(t)
	s.signedIn("alice", set)
	body := []byte("hello")
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(200)
		_, err := w.Write(body)
		return err
	})
	for name, cookies := range map[string]string{"no cookies": "", "other cookies": "theme=dark; _ga=GA1.1.1; lang=de"} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(origin + "/page?x=y")
			if cookies != "" {
				r.Header.Set("Cookie", cookies)
			}
			w := nothing{http.Header{"Content-Type": {"text/html"}}}
			serve := func() {
				if err := s.guard.Serve(w, r, next); err != nil {
					t.Fatal(err)
				}
			}
			serve()
			if got := testing.AllocsPerRun(1000, serve); got != 0 {
				t.Errorf("%v allocations", got)
			}
		})
	}
}
