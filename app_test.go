package oidcsession

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/tokens"
)

// A configuration that was put in use and failed to start gives way to the one before.
func TestTheLogOfAConfigurationThatIsReleasedIsOutOfUse(t *testing.T) {
	core1, first := observer.New(zap.DebugLevel)
	core2, second := observer.New(zap.DebugLevel)
	one, two := &App{run: running{logger: zap.New(core1)}}, &App{run: running{logger: zap.New(core2)}}
	l := &loggers{used: []*App{one}}
	logger := l.logger().With(zap.Int("n", 1))
	l.use(one)
	logger.Info("one")
	l.use(two)
	logger.Info("two")
	l.release(two)
	logger.Info("one again")
	l.release(one)
	logger.Info("the last one")
	if first.Len() != 3 || second.Len() != 1 || first.All()[1].ContextMap()["n"] != int64(1) || first.All()[0].LoggerName != "oidc_session" {
		t.Errorf("the logs are %v and %v", first.All(), second.All())
	}
}

func TestClientsThatNoKeyFitsAreNamedAtStart(t *testing.T) {
	listed := &clients.Clients{List: []clients.Client{{ID: "silent", IDTokenSignedResponseAlg: "none"}}}
	for _, alg := range []string{"", "RS256", "PS256", "ES256", "EdDSA", "HS256", "none", "rs256", "RS512", "ES384"} {
		listed.List = append(listed.List, clients.Client{ID: alg, IDTokenSignedResponseAlg: alg, BackChannelLogoutURI: "https://rp.example.com/"})
	}
	for name, tt := range map[string]struct {
		algorithms []string
		want       string
	}{
		"generated keys":   {tokens.GeneratedAlgorithms(), "HS256 none rs256 RS512 ES384"},
		"a configured one": {[]string{"ES384"}, "RS256 PS256 ES256 EdDSA HS256 none rs256 RS512"},
	} {
		core, logs := observer.New(zap.ErrorLevel)
		warnOfAlgorithms(zap.New(core), tt.algorithms, listed)
		var named []string
		for _, entry := range logs.All() {
			named = append(named, entry.ContextMap()["client_id"].(string))
		}
		if got := strings.Join(named, " "); got != tt.want {
			t.Errorf("%s: named are %q", name, got)
		}
	}
}
