package oidcsession

import (
	"fmt"
	"strings"
	"testing"
)

func TestSitesForAnyHostNeedAnIssuer(t *testing.T) {
	port := freePort(t)
	tests := map[string]struct {
		address, directives string
		refused             bool
	}{
		"a site for one host":                         {"http://op.localhost:%d", "oidc_session", false},
		"a site for two hosts":                        {"http://op.localhost:%d, http://op2.localhost:%[1]d", "oidc_session", true},
		"a wildcard site":                             {"http://*.localhost:%d", "oidc_session", true},
		"a wildcard site beside a host":               {"http://op.localhost:%d, http://*.localhost:%[1]d", "oidc_session", true},
		"a catch-all site":                            {"http://:%d", "oidc_session", true},
		"a catch-all site with a matcher for a host":  {"http://:%d", "@op host op.localhost\n\toidc_session @op", false},
		"a catch-all site with a matcher for a path":  {"http://:%d", "@op path /op/*\n\toidc_session @op", true},
		"a catch-all site with a handle block inside": {"http://:%d", "handle /op/* {\n\t\toidc_session\n\t}", true},
		"a wildcard site with an issuer":              {"http://*.localhost:%d", "oidc_session {\n\t\tissuer http://op.localhost\n\t}", false},
		"a catch-all site with an issuer":             {"http://:%d", "oidc_session {\n\t\tissuer http://op.localhost\n\t}", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := fmt.Sprintf(tt.address, port) + " {\n\tbind 127.0.0.1\n\t" + tt.directives + "\n}\n"
			err := validate(t, config)
			if refused := err != nil && strings.Contains(err.Error(), errNoIssuer.Error()); refused != tt.refused || err != nil && !refused {
				t.Errorf("error is %v", err)
			}
		})
	}
}
