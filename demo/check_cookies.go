package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// cookieJar keeps host-only cookies as browsers do on http://*.localhost: Secure ones too, which
// net/http/cookiejar does not send there. Third-party cookies are allowed. It implements
// http.CookieJar.
type cookieJar struct {
	mu      sync.Mutex
	cookies map[cookieKey]*http.Cookie
}

type cookieKey struct{ host, path, name string }

func newCookieJar() *cookieJar { return &cookieJar{cookies: make(map[cookieKey]*http.Cookie)} }

// SetCookies takes the cookies of a response. Those that a browser would refuse are dropped:
// SameSite=None without Secure, and the prefix __Host- without what it stands for.
func (j *cookieJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range cookies {
		if c.SameSite == http.SameSiteNoneMode && !c.Secure {
			continue
		}
		if strings.HasPrefix(c.Name, "__Host-") && (!c.Secure || c.Path != "/" || c.Domain != "") {
			continue
		}
		key := cookieKey{u.Hostname(), c.Path, c.Name}
		if c.MaxAge < 0 || !c.Expires.IsZero() && !c.Expires.After(time.Now()) {
			delete(j.cookies, key)
			continue
		}
		j.cookies[key] = c
	}
}

// Cookies returns the cookies of a request.
func (j *cookieJar) Cookies(u *url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	var cookies []*http.Cookie
	for key, c := range j.cookies {
		if key.host == u.Hostname() && strings.HasPrefix(u.Path, key.path) {
			cookies = append(cookies, &http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return cookies
}

// withPrefix returns the cookies of a host whose names begin with prefix, as they were set.
func (j *cookieJar) withPrefix(host, prefix string) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	var cookies []*http.Cookie
	for key, c := range j.cookies {
		if key.host == host && strings.HasPrefix(c.Name, prefix) {
			cookies = append(cookies, c)
		}
	}
	return cookies
}
