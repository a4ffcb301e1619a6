// Command caddy is Caddy with its standard modules and this plugin: what xcaddy would build.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oidc-session/caddy-oidc-session"
)

func main() {
	caddycmd.Main()
}
