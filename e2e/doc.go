// Package e2e holds the browser tests of the plugin: Chromium over https with several registrable
// domains, real OpenID Providers behind Caddy (npm oidc-provider, the example of zitadel/oidc, and
// a scripted one that is awkward on purpose), a real relying party library (npm oidc-client-ts) in
// the pages, unmodified apps behind the guard (guarded_apps_test.go), and the demo. What the OPs,
// places and browsers come to is in docs/compatibility.md: the tests print its tables, fail where
// it says something else, and write it with
//
//	go test -run 'TestCompatibility|TestResponseModes' -update
//
// They need Chromium, and Node.js with npm. Without these they skip and say why, but fail where
// the environment variable CI is set. CHROMIUM names a browser other than the one found on PATH.
// The guard's tests run apps that are not ours as well, without those that lack Python 3.10, or
// Debian's apache2-bin and libapache2-mod-auth-openidc; testdata/apps/install installs the rest
// into .apps.
// Results are cached over changes of the demo and the document alone: -count=1 runs the tests
// again.
package e2e
