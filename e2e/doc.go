// Package e2e holds the browser tests of the plugin: Chromium over https with several registrable domains, a real OpenID Provider
// (npm oidc-provider) behind Caddy, a real relying party library (npm oidc-client-ts) in the pages, and the demo.
//
// They need Chromium, and Node.js with npm. Without these they skip and say why, but fail where the environment variable CI is
// set. CHROMIUM names a browser other than the one found on PATH. Results are cached over changes of the demo alone: -count=1
// runs the tests again.
package e2e
