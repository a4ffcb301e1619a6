package e2e

import (
	"path/filepath"
	"strconv"
	"testing"
)

// startProvider starts the OP and returns the address that it listens on. registrations are of the form client=origin.
func startProvider(t *testing.T, issuer string, registrations ...string) string {
	t.Helper()
	node := needProgram(t, "node")
	dir := filepath.Dir(needPackages(t))
	p := start(t, dir, nil, node, append([]string{"provider.mjs", issuer}, registrations...)...)
	port := p.waitLine(t, "port", func(line string) (string, bool) {
		_, err := strconv.ParseUint(line, 10, 16)
		return line, err == nil
	})
	return "127.0.0.1:" + port
}
