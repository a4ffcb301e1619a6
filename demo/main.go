// Command demo shows OpenID Connect Session Management 1.0 and RP-Initiated Logout 1.0 with an
// ordinary OpenID Provider (OP) behind Caddy: an app notices, live, that its user signed out at the
// OP. Another one that has no logout at all has its user signed out by Caddy.
//
//	go run -C demo .              start it; then open what it prints
//	go run -C demo . -check       try all of it without a browser; exit status 0 if all is well
//	go run -C demo . -port 9080   another port than 8080
//
// It needs nothing but Go: Caddy runs in the same process with the Caddyfile.example beside this
// directory, on loopback only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	port := flag.Int("port", 0, "Caddy's `port`; 0 is 8080, or a free one with -check")
	caddyfile := flag.String("caddyfile", "../Caddyfile.example", "the Caddyfile to run")
	checkOnly := flag.Bool("check", false, "try everything without a browser, print each step, and end")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := runDemo
	if *checkOnly {
		run = runCheck
	} else if *port == 0 {
		*port = 8080
	}
	if err := run(ctx, os.Stdout, *caddyfile, *port); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// runDemo starts the demo and keeps it until ctx ends.
func runDemo(ctx context.Context, out io.Writer, caddyfile string, port int) error {
	d, err := startDemo(ctx, caddyfile, port)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, guide, d.shop, d.wiki, d.issuer)
	<-ctx.Done()
	fmt.Fprintln(out, "\nStopping.")
	return d.stop()
}

const guide = `
Two apps and an OpenID Provider (OP) are running behind Caddy. Use Firefox, Chromium, Chrome or Edge
(Safari accepts no Secure cookies on http, not even on localhost).

  1. Open the shop          %[1]s
     Choose "Sign in", then "I am alice".
  2. Open the wiki          %[2]s
     in another tab. Choose "Sign in": the OP knows you, and does not ask again.
     The shop's page now says every two seconds: still signed in at the OP. The wiki has no logout of
     any kind, and watches nothing.
  3. Open the OP            %[3]s
     in a third tab, and choose "Sign out at the OP". The OP only deletes its login cookie.
  4. Look at the shop: it says "Signed out", and nobody reloaded it. Reload the wiki: signed out, too.
     Its own session goes on, but Caddy refuses its cookie (oidc_guard), and every copy of it.
  5. Sign in at both again, and choose "Sign out everywhere" at the shop: Caddy ends the OP's session
     and brings you back to the shop. Reload the wiki.

Then sign in again, and choose "Sign in as somebody else" at the wiki, as bob: within a minute
the shop notices that, too.
What Caddy added to the OP: %[3]s/.well-known/openid-configuration

Ctrl-C ends it all.
`

// runCheck starts the demo, checks it without a browser, and ends it.
func runCheck(ctx context.Context, out io.Writer, caddyfile string, port int) error {
	d, err := startDemo(ctx, caddyfile, port)
	if err != nil {
		return err
	}
	err = check(ctx, out, d)
	if stopErr := d.stop(); err == nil {
		err = stopErr
	}
	return err
}
