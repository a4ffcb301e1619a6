package sessionstate_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

func ExampleCompute() {
	fmt.Println(sessionstate.Compute("shop", "https://rp.example.com", "B", "salt"))
	// Output: mbcrzqfspdy_-n6QIQqdS1wTi7zvD5IEzX3zj7McLXE.salt
}

func ExampleVerify() {
	state := sessionstate.Compute("shop", "https://rp.example.com", "signed in", sessionstate.NewSalt())

	fmt.Println(sessionstate.Verify(state, "shop", "https://rp.example.com", "signed in"))
	fmt.Println(sessionstate.Verify(state, "shop", "https://rp.example.com", "signed out"))
	// Output:
	// true
	// false
}

func ExampleOrigin() {
	for _, redirectURI := range []string{
		"https://RP.example.com:443/callback?x=y",
		"http://localhost:3000/callback",
		"https://bücher.example/callback",
		"com.example.app:/callback",
		"https://user@rp.example.com/callback",
	} {
		origin, err := sessionstate.Origin(redirectURI)
		switch {
		case errors.Is(err, sessionstate.ErrNoOrigin):
			fmt.Println("send no session_state: a native app has no check page")
		case err != nil:
			fmt.Println("refuse the request:", err)
		default:
			fmt.Println(origin)
		}
	}
	// Output:
	// https://rp.example.com
	// http://localhost:3000
	// https://xn--bcher-kva.example
	// send no session_state: a native app has no check page
	// refuse the request: invalid URI: it has user information
}

// An OpenID Provider that returns a session_state of its own needs a browser state, which it keeps
// in a cookie that its check page can read, and a fresh salt for each response. It needs no
// [sessionstate.Keyring].
func Example_provider() {
	authorize := func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query() // of a request that was validated, by an End-User who is signed in
		clientID, redirectURI := query.Get("client_id"), query.Get("redirect_uri")

		cookie, err := r.Cookie("__Host-op_browser_state")
		if err != nil { // set at sign-in, and anew at sign-out and whenever the End-User changes
			cookie = &http.Cookie{
				Name: "__Host-op_browser_state", Value: sessionstate.NewSalt(),
				Path: "/", Secure: true, SameSite: http.SameSiteNoneMode, // and not HttpOnly
			}
			http.SetCookie(w, cookie)
		}

		response := url.Values{"code": {"SplxlOBeZQQYbYS6WxSbIA"}, "state": {query.Get("state")}}
		if origin, err := sessionstate.Origin(redirectURI); err == nil {
			response.Set("session_state", sessionstate.Compute(clientID, origin, cookie.Value, sessionstate.NewSalt()))
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, redirectURI+"?"+response.Encode(), http.StatusSeeOther)
	}

	w := httptest.NewRecorder()
	authorize(w, httptest.NewRequest(http.MethodGet,
		"/authorize?response_type=code&scope=openid&client_id=shop&state=af0ifjsldkj&redirect_uri=https%3A%2F%2Frp.example.com%2Fcb", nil))

	location, err := w.Result().Location()
	if err != nil {
		fmt.Println(err)
		return
	}
	browserState := w.Result().Cookies()[0].Value
	fmt.Println(location.Host, location.Query().Get("state"))
	fmt.Println(sessionstate.Verify(location.Query().Get("session_state"), "shop", "https://rp.example.com", browserState))
	// Output:
	// rp.example.com af0ifjsldkj
	// true
}
