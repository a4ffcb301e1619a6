package e2e

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// startProvider starts npm oidc-provider and returns the address that it listens on.
func startProvider(t *testing.T, issuer string, clients map[string][]string) string {
	t.Helper()
	return runProvider(t, nil, issuer, clients)
}

// startProviderWithoutLogout starts one without an end_session endpoint.
func startProviderWithoutLogout(t *testing.T, issuer string, clients map[string][]string) string {
	t.Helper()
	return runProvider(t, []string{"NO_LOGOUT=1"}, issuer, clients)
}

func runProvider(t *testing.T, environment []string, issuer string, clients map[string][]string) string {
	t.Helper()
	var registrations []string
	for id, redirectURIs := range clients {
		registrations = append(registrations, id+"="+strings.Join(redirectURIs, ","))
	}
	return startNode(t, environment, "provider.mjs", append([]string{issuer}, registrations...)...)
}

// startNode starts a script of ours that prints the port of the loopback interface that it listens
// on, and returns that address.
func startNode(t *testing.T, environment []string, script string, args ...string) string {
	t.Helper()
	node := needProgram(t, "node")
	p := start(t, filepath.Dir(needPackages(t)), environment, node, append([]string{script}, args...)...)
	port := p.waitLine(t, "port", func(line string) (string, bool) {
		_, err := strconv.ParseUint(line, 10, 16)
		return line, err == nil
	})
	return "127.0.0.1:" + port
}
