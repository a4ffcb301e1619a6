package main

import (
	"crypto/rsa"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersOfAnotherKindAreNotMeasured(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		location string
		body     string
		want     bool
	}{
		{name: "the redirect to the app", status: http.StatusSeeOther, location: bye, want: true},
		{name: "a redirect to elsewhere", status: http.StatusSeeOther, location: bye + "?request=parked"},
		{name: "a redirect to nowhere", status: http.StatusSeeOther},
		{name: "a page", status: http.StatusOK, body: "Sign out?"},
		{name: "a redirect with a body", status: http.StatusSeeOther, location: bye, body: "Sign out?"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if test.location != "" {
					w.Header().Set("Location", test.location)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			l := &load{status: http.StatusSeeOther, location: bye, requests: signOutRequests("op.localhost", "state=1")}
			defer l.close()
			if err := l.dial(t.Context(), strings.TrimPrefix(server.URL, "http://")); err != nil {
				t.Fatal(err)
			}
			if err := l.send(t.Context(), connections); (err == nil) != test.want {
				t.Errorf("it counts as %v, should be %v: %v", err == nil, test.want, err)
			}
		})
	}
}

func TestTheVerificationMeasuredIsThatOfAGoodSignature(t *testing.T) {
	op, err := startOP("http://op.localhost")
	if err != nil {
		t.Fatal(err)
	}
	defer op.stop()
	verify, err := verification(op.key.Key.(*rsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerOutOfTimeIsCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(unknown)) }))
	defer server.Close()
	for late, want := range map[string]int64{unknown: connections, "": 0} {
		l := &load{body: unchanged, late: late, requests: signOutRequests("op.localhost", "state=1")}
		defer l.close()
		if err := l.dial(t.Context(), strings.TrimPrefix(server.URL, "http://")); err != nil {
			t.Fatal(err)
		}
		if err := l.send(t.Context(), connections); (err == nil) != (want > 0) || l.lates.Load() != want {
			t.Errorf("late %q: %d are counted: %v", late, l.lates.Load(), err)
		}
	}
}

func TestAnAnswerWithAnotherHeaderIsNotMeasured(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", boundCaching)
	}))
	defer server.Close()
	for name, test := range map[string]struct {
		check func(http.Header) bool
		want  bool
	}{
		"any":       {nil, true},
		"bound":     {isBound, true},
		"certified": {isCertified, false},
		"untouched": {isUntouched, false},
	} {
		l := &load{check: test.check, requests: [][]byte{appRequest(appHost, "/", "")}}
		defer l.close()
		if err := l.dial(t.Context(), strings.TrimPrefix(server.URL, "http://")); err != nil {
			t.Fatal(err)
		}
		if err := l.send(t.Context(), connections); (err == nil) != test.want {
			t.Errorf("%s: it counts as %v, should be %v: %v", name, err == nil, test.want, err)
		}
	}
}
