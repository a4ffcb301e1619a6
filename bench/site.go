package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
)

// sites is Caddy in a process of its own with seven sites: the OP's, and three pairs of equal
// sites that answer like it by `respond`. Each has a port of its own, so that Caddy finds all of
// them in the same way.
type sites struct {
	server *process
	op     *op
	key    string
	ports  [7]int
}

// The places of the sites among the ports.
const (
	siteOP = iota
	sitePage
	sitePageControl
	siteVerdict
	siteVerdictControl
	siteLeave
	siteLeaveControl
)

func (s *sites) host(site int) string { return fmt.Sprintf("op.localhost:%d", s.ports[site]) }

func (s *sites) address(site int) string { return loopback(s.ports[site]) }

// addresses are those of the sites of a comparison.
func (s *sites) addresses(at [3]int) (addresses [3]string) {
	for i, site := range at {
		addresses[i] = s.address(site)
	}
	return addresses
}

func (s *sites) issuer() string { return "http://" + s.host(siteOP) }

// startSites builds Caddy with the plugin, starts it and waits until it answers. pageSize is that
// of the check page.
func startSites(ctx context.Context, dir string, pageSize int) (_ *sites, err error) {
	s := &sites{key: rand.Text() + rand.Text()}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := freePorts(s.ports[:]); err != nil {
		return nil, err
	}
	if s.op, err = startOP(s.issuer()); err != nil {
		return nil, err
	}
	if s.server, err = startCaddy(ctx, dir, s.caddyfile(dir, pageSize)); err != nil {
		return nil, err
	}
	return s, s.server.awaitCaddy(ctx, s.answers)
}

func (s *sites) stop() {
	if s.server != nil {
		s.server.stop()
	}
	if s.op != nil {
		s.op.stop()
	}
}

// answers reports whether all sites do.
func (s *sites) answers() bool {
	for site := range s.ports {
		response, err := get(s.issuer(), s.address(site), "/")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
	}
	return true
}

// page returns the check page as it is served, and the size in bytes of the whole response, its
// header included.
func (s *sites) page() (body string, size int, err error) {
	response, err := get(s.issuer(), s.address(siteOP), "/oidc/check-session")
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	header, err := httputil.DumpResponse(response, false)
	if err != nil {
		return "", 0, err
	}
	page, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(page), "<script>")) {
		err = fmt.Errorf("it is answered with %s", response.Status)
	}
	return string(page), len(header) + len(page), err
}

// caddyfile trusts the benchmark's X-Forwarded-For: the rate limiter is to see many addresses.
func (s *sites) caddyfile(dir string, pageSize int) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, `{
	admin off
	persist_config off
	storage file_system %q
	oidc_session {
		key %q
	}
	servers {
		trusted_proxies static 127.0.0.0/8
	}
}
`, filepath.Join(dir, "storage"), s.key)
	site := func(at int, directives string) {
		fmt.Fprintf(b, "http://%s {\n\tbind 127.0.0.1\n\t%s\n}\n", s.host(at), directives)
	}
	site(siteOP, fmt.Sprintf("oidc_session {\n\t\tissuer %s\n\t\tlogin_cookie op\n\t\tclient shop {\n\t\t\tpost_logout_redirect_uri %s\n\t\t}\n\t}\n\treverse_proxy %s",
		s.issuer(), bye, s.op.address))
	for _, at := range []int{sitePage, sitePageControl} {
		site(at, "respond "+filler(pageSize))
	}
	for _, at := range []int{siteVerdict, siteVerdictControl} {
		site(at, "respond "+unchanged)
	}
	for _, at := range []int{siteLeave, siteLeaveControl} {
		site(at, "header Location "+bye+"\n\trespond \"\" 303")
	}
	return b.String()
}

// What checks are answered with.
const unchanged, unknown = "unchanged", "unknown"

// filler is a body without braces: `respond` would look for placeholders between them, which costs
// it more than the check page.
func filler(size int) string { return strings.Repeat("x", size) }
