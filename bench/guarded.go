package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/registry/bolt"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// An appSite is the site of an app: what its session cookies and their certificates are made with.
type appSite struct {
	key  string
	keys *sessionstate.Keyring
}

const (
	appHost   = "app.localhost"
	appCookie = "app_session"
)

func newAppSite() (*appSite, error) {
	key := rand.Text() + rand.Text()
	keys, err := sessionstate.NewKeyring([]byte(key))
	return &appSite{key, keys}, err
}

// cookies is the Cookie header of a browser with a session.
func (s *appSite) cookies(session sessionstate.SessionID) string {
	value := rand.Text() + rand.Text()[:6]
	certificate := sessionstate.NewCertificate(appCookie, value, appHost, "", "/")
	certificate.Session = session
	hash := sha256.Sum256([]byte(appCookie))
	return fmt.Sprintf("theme=dark; %s=%s; oidc_guard_%s=%s",
		appCookie, value, hex.EncodeToString(hash[:4]), s.keys.SealCertificate(certificate))
}

// guarded is Caddy in a process of its own with three sites of one app: one behind oidc_guard, and
// two equal ones that are not. Their upstream is in this process.
type guarded struct {
	*appSite

	server   *process
	upstream *http.Server
	ports    [3]int
	browsers []string // their Cookie headers, each of another session
}

// The places of the sites among the ports.
const (
	siteGuard = iota
	siteProxy
	siteProxyControl
)

func (s *guarded) host(site int) string { return fmt.Sprintf("%s:%d", appHost, s.ports[site]) }

func (s *guarded) address(site int) string { return loopback(s.ports[site]) }

// startGuarded starts Caddy over a file of so many sessions.
func startGuarded(ctx context.Context, dir string, count int) (_ *guarded, err error) {
	s := new(guarded)
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.appSite, err = newAppSite(); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "registry.db")
	sessions, err := fillFile(ctx, file, count)
	if err != nil {
		return nil, fmt.Errorf("filling: %w", err)
	}
	if err := learnCookie(ctx, file); err != nil {
		return nil, fmt.Errorf("recording the name of the cookie: %w", err)
	}
	for _, session := range sessions[:min(count, distinct)] {
		s.browsers = append(s.browsers, s.cookies(session))
	}
	if err := freePorts(s.ports[:]); err != nil {
		return nil, err
	}
	if s.upstream, err = startUpstream(serveApp); err != nil {
		return nil, err
	}
	if s.server, err = startCaddy(ctx, dir, s.caddyfile(dir, file)); err != nil {
		return nil, err
	}
	if err := s.server.awaitCaddy(ctx, s.answers); err != nil {
		return nil, err
	}
	return s, nil
}

// learnCookie records the name of the session cookie, as the first sign-in at the app does.
func learnCookie(ctx context.Context, file string) error {
	store, err := bolt.Open(file, time.Now, zap.NewNop())
	if err != nil {
		return err
	}
	reg := openRegistry(store, ignore)
	err = reg.AddCookieName(registry.Patient(ctx), appHost, registry.CookieName{Name: appCookie})
	return errors.Join(err, reg.Close())
}

func (s *guarded) stop() {
	if s.server != nil {
		s.server.stop()
	}
	if s.upstream != nil {
		_ = s.upstream.Close()
	}
}

// answers reports whether all sites do.
func (s *guarded) answers() bool {
	for site := range s.ports {
		response, err := get("http://"+s.host(site), s.address(site), "/")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
	}
	return true
}

func (s *guarded) caddyfile(dir, file string) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, `{
	admin off
	persist_config off
	storage file_system %q
	oidc_session {
		key %q
		store file %q
	}
}
`, filepath.Join(dir, "storage"), s.key, file)
	for site, directive := range []string{"oidc_guard", "", ""} {
		fmt.Fprintf(b, "http://%s {\n\tbind 127.0.0.1\n\t%s\n\treverse_proxy %s\n}\n", s.host(site), directive, s.upstream.Addr)
	}
	return b.String()
}

// comparison compares requests with the same cookies to the three sites. check looks at the header
// of responses from behind oidc_guard.
func (s *guarded) comparison(name, path, body string, cookies []string, check func(http.Header) bool) *comparison {
	site := func(name string, at int) *load {
		l := &load{name: name, body: body}
		if at == siteGuard {
			l.check = check
		}
		for _, cookie := range cookies {
			l.requests = append(l.requests, appRequest(s.host(at), path, cookie))
		}
		return l
	}
	return &comparison{sites: [3]*load{
		site(name, siteGuard), site("reverse_proxy", siteProxy), site("reverse_proxy (control)", siteProxyControl),
	}}
}

// appRequest is a GET of a browser.
func appRequest(host, path, cookie string) []byte {
	lines := []string{
		"GET " + path + " HTTP/1.1",
		"Host: " + host,
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language: en",
	}
	if cookie != "" {
		lines = append(lines, "Cookie: "+cookie)
	}
	return []byte(strings.Join(append(lines, "", ""), "\r\n"))
}

// What the app answers, as it gets its cookie or not.
const (
	signedInBody, signedOutBody = "a page of the app", "please sign in"

	pageType     = "text/html; charset=utf-8"
	rotatingPath = "/rotating"
)

// What responses to requests of signed-in users have from the guard.
func isBound(header http.Header) bool { return header.Get("Cache-Control") == boundCaching }

func isCertified(header http.Header) bool {
	return isBound(header) && len(header["Set-Cookie"]) == 2
}

// isUntouched reports whether a response has nothing from the guard.
func isUntouched(header http.Header) bool {
	return header["Cache-Control"] == nil && header["Set-Cookie"] == nil
}

const boundCaching = "private, no-cache"

// serveApp is the app.
func serveApp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", pageType)
	body := signedOutBody
	if strings.Contains(r.Header.Get("Cookie"), appCookie+"=") {
		body = signedInBody
	}
	if r.URL.Path == rotatingPath {
		w.Header().Set("Set-Cookie", appCookie+"="+rand.Text()+rand.Text()[:6]+"; Path=/; HttpOnly; SameSite=Lax")
	}
	_, _ = io.WriteString(w, body)
}
