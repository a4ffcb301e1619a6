package main

import (
	"context"
	"fmt"
	"time"
)

// toldByBackChannel expects that the shop and the wiki have been told so often that a session
// ended, and that nobody is signed in there.
func (c *checker) toldByBackChannel(shop, wiki int) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for i, want := range []int{shop, wiki} {
			app := c.demo.apps[i]
			for told, sessions := app.state(); told != want || sessions != 0; told, sessions = app.state() {
				if told > want {
					return fmt.Errorf("the %s was told %d times, not %d", app.name, told, want)
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					return fmt.Errorf("the %s was told %d times, not %d, and has %d sessions", app.name, told, want, sessions)
				}
			}
		}
		return nil
	}
}

// state is how often the app was told that a session ended, and how many it has.
func (rp *relyingParty) state() (told, sessions int) {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	return rp.notified, len(rp.sessions)
}
