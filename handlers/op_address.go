package handlers

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
)

// An OPAddress is where the OP is asked directly, past the site: no wall of the site's stands
// there. It answers our own requests in place of the handlers behind.
type OPAddress struct {
	base   string // of URLs
	client *http.Client
}

// ValidateOPAddress reports why the OP cannot be at an address.
func ValidateOPAddress(address string) error {
	if socket, ok := strings.CutPrefix(address, "unix/"); ok && socket != "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" ||
		u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#") {
		return fmt.Errorf("op_address is %q, but must be http://host:port, https://host:port "+
			"or unix//path, without a path on the OP", address)
	}
	return nil
}

// NewOPAddress makes an address of the form http://host:port, https://host:port or unix//path.
// Close it when it is no longer needed.
func NewOPAddress(address string) (*OPAddress, error) {
	if err := ValidateOPAddress(address); err != nil {
		return nil, err
	}
	// A redirect would lead elsewhere than what was configured; a proxy of the environment is not
	// the way to a neighbour.
	network := &http.Transport{
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: exchange.MaxForm,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	client := &http.Client{
		Transport: network,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	if socket, ok := strings.CutPrefix(address, "unix/"); ok {
		network.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		return &OPAddress{"http://unix", client}, nil
	}
	return &OPAddress{strings.TrimRight(address, "/"), client}, nil
}

// ServeHTTP asks the OP. The OP gets the site's and the client's addresses as from reverse_proxy.
func (a *OPAddress) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	target := a.base + r.URL.RequestURI()
	request, err := http.NewRequestWithContext(r.Context(), r.Method, target, r.Body)
	if err != nil {
		return err
	}
	request.Host, request.ContentLength, request.Header = r.Host, r.ContentLength, r.Header.Clone()
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	if !trusted {
		request.Header.Set("X-Forwarded-Host", r.Host)
		request.Header.Set("X-Forwarded-Proto", schemeOf(r))
	}
	request.Header.Del("X-Forwarded-For")
	if address := clientIP(r); address != "" {
		request.Header.Set("X-Forwarded-For", address)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	_, err = io.Copy(w, response.Body)
	return err
}

// Close ends the connections that are idle.
func (a *OPAddress) Close() { a.client.CloseIdleConnections() }
