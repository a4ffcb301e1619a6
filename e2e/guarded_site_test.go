package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/internal/freeport"
)

// opAddress is the OP's. The apps' follow from firstApp on: cookies do not tell ports apart, so each
// site has an address of its own, and is at home nowhere else.
const (
	opAddress = "127.0.1.1"
	firstApp  = 10
)

// A guardedSite is a running Caddy: an OP with oidc_session, and apps with oidc_guard.
type guardedSite struct {
	site

	issuer   string
	registry string // its file
	apps     []*runningApp
	plain    *http.Client // has no cookies
}

// A runningApp is one of a site's.
type runningApp struct {
	guardedApp

	origin string
}

const guardedCaddyfile = `
{
	admin %[2]s
	persist_config off
	auto_https disable_redirects
	log {
		output stderr
		format json
	}
	servers {
		protocols h1 h2
	}
	oidc_session {
		store file %[6]s
	}
}

(common) {
	tls %[3]q %[4]q
	log
}

https://127.0.1.1:%[1]s {
	bind 127.0.1.1
	import common
	oidc_session {
		issuer https://127.0.1.1:%[1]s
		login_cookie _session
		end_session {
			clear_cookies _session _session.sig
		}
	}
	reverse_proxy %[5]s
}
`

const appCaddyfile = `
%[1]s {
	bind %[2]s
	import common
	oidc_guard {
		%[3]s
	}
	%[4]s
}
`

// startGuardedSite starts npm oidc-provider, the apps, and Caddy, with options for the guard of each
// app's site.
func startGuardedSite(t *testing.T, options string, apps ...guardedApp) *guardedSite {
	t.Helper()
	apps = installed(t, apps)
	port := strconv.Itoa(freeport.Hold(t))
	s := &guardedSite{
		site:   site{port: port, dir: t.TempDir(), admin: "127.0.0.1:" + strconv.Itoa(freeport.Hold(t))},
		issuer: "https://" + opAddress + ":" + port,
	}
	s.registry = filepath.Join(s.dir, "registry.db")
	addresses := []string{opAddress}
	for i, app := range apps {
		addresses = append(addresses, "127.0.1."+strconv.Itoa(firstApp+i))
		s.apps = append(s.apps, &runningApp{app, "https://" + addresses[i+1] + ":" + port})
	}
	s.certificate = newCertificate(t, addresses...)
	s.plain = s.client(t)
	s.caddyfile = fmt.Sprintf(guardedCaddyfile, port, s.admin, s.certificate.file, s.certificate.keyFile, s.startOP(t), s.registry)
	// Many an app asks for the OP's document when it starts.
	s.caddy = startCaddy(t, s.dir, s.caddyfile)
	for i, app := range s.apps {
		lines := app.start(t, app.origin, s.issuer, s.certificate.file)
		s.caddyfile += fmt.Sprintf(appCaddyfile, app.origin, addresses[i+1], options+"\n\t\t"+app.guard, lines)
	}
	s.restart(t, func() {})
	t.Cleanup(func() {
		if !s.careless {
			expectNoComplaints(t, s.caddy, s.complaint)
		}
	})
	return s
}

// installed leaves out the apps that lack something. In CI none may.
func installed(t *testing.T, apps []guardedApp) (there []guardedApp) {
	t.Helper()
	for _, app := range apps {
		var err error
		if app.lacks != nil {
			err = app.lacks()
		}
		if err == nil || inCI() {
			need(t, app.name, err)
			there = append(there, app)
		} else {
			t.Logf("%s is left out: %v", app.name, err)
		}
	}
	if len(there) == 0 {
		t.Skip("no app is left")
	}
	return there
}

// startOP starts the OP for the apps, and returns the address that it listens on.
func (s *guardedSite) startOP(t *testing.T) string {
	t.Helper()
	args := []string{s.issuer}
	for _, app := range s.apps {
		metadata := map[string]any{
			"client_id": app.name, "client_secret": app.name + "-secret", "redirect_uris": []string{app.origin + app.callback},
			"response_types": []string{"code"}, "grant_types": []string{"authorization_code", "refresh_token"},
		}
		if app.responseType != "" {
			metadata["response_types"] = []string{app.responseType}
			if !slices.Contains(strings.Fields(app.responseType), "code") {
				metadata["grant_types"] = []string{"implicit"}
			}
		}
		registration, err := json.Marshal(metadata)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, string(registration))
	}
	return startNode(t, []string{"NO_LOGOUT=1"}, "provider.mjs", args...)
}

// reload has Caddy load its configuration once more.
func (s *guardedSite) reload(t *testing.T) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.admin+"/load", strings.NewReader(s.caddyfile))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/caddyfile")
	r.Header.Set("Cache-Control", "must-revalidate") // though it is the same
	client := &http.Client{Timeout: waitLimit}
	defer client.CloseIdleConnections()
	response, body, err := do(client, r)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("Caddy does not reload: %v %s", err, body)
	}
}

// app returns one of the apps by its name.
func (s *guardedSite) app(t *testing.T, name string) *runningApp {
	t.Helper()
	for _, app := range s.apps {
		if app.name == name {
			return app
		}
	}
	t.Fatalf("there is no app %s", name)
	return nil
}

// client returns an HTTP client that trusts the sites and follows no redirects.
func (s *guardedSite) client(t *testing.T) *http.Client {
	transport := &http.Transport{
		DialContext:       (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: s.certificate.pool},
		ForceAttemptHTTP2: true, // which survives a reload of Caddy, as HTTP/1 need not
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// startBrowser starts a Chromium that finds the sites where they are, and trusts them: it keeps no
// page in its cache whose certificate it had to ignore.
func (s *guardedSite) startBrowser(t *testing.T) *browser {
	t.Helper()
	return startBrowserWith(t, allowed, []string{"--ignore-certificate-errors-spki-list=" + s.certificate.keyHash})
}

// signOutPage is the address at the OP that asks whether to sign out.
func (s *guardedSite) signOutPage() string { return s.issuer + endSessionPath }

// shows reports whether a page says who is signed in.
func shows(page, user string) bool { return strings.Contains(page, "user: "+user) }
