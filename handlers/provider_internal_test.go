package handlers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestMayBeInvolved(t *testing.T) {
	cookie := httptest.NewRequest("GET", "/", nil)
	cookie.AddCookie(&http.Cookie{Name: "a", Value: "b"})
	tests := []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"page", httptest.NewRequest("GET", "/login", nil), false},
		{"page with a query", httptest.NewRequest("GET", "/login?a", nil), true},
		{"page with a cookie", cookie, true},
		{"form", httptest.NewRequest("POST", "/login", nil), true},
		{"document", httptest.NewRequest("GET", WellKnown, nil), true},
		{"document of an issuer with a path", httptest.NewRequest("GET", "/realm"+WellKnown, nil), true},
		{"check page", httptest.NewRequest("GET", DefaultCheckSessionPath, nil), true},
		{"path below the check page", httptest.NewRequest("GET", DefaultCheckSessionPath+"/x", nil), false},
	}
	p := new(Provider)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.mayBeInvolved(tt.r); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTheCallersThatAreRememberedAreBounded(t *testing.T) {
	var a asking
	now := time.Now()
	for i := range 3 * maxRefused {
		a.Failed(now, caller{byte(i), byte(i >> 8)}, &OPError{Err: errors.New("refused"), Refused: true})
		if len(a.refused) > maxRefused {
			t.Fatalf("%d are remembered", len(a.refused))
		}
	}
}
