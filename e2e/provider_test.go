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
	node := needProgram(t, "node")
	args := []string{"provider.mjs", issuer}
	for id, redirectURIs := range clients {
		args = append(args, id+"="+strings.Join(redirectURIs, ","))
	}
	p := start(t, filepath.Dir(needPackages(t)), nil, node, args...)
	port := p.waitLine(t, "port", func(line string) (string, bool) {
		_, err := strconv.ParseUint(line, 10, 16)
		return line, err == nil
	})
	return "127.0.0.1:" + port
}
