package handlerstest

import (
	"net/http"
	"net/http/httptest"
)

// CookieBytes counts the bytes of our cookies in a request.
func (a *Agent) CookieBytes() int {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range a.Cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return len(r.Header.Get("Cookie"))
}
