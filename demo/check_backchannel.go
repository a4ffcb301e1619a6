package main

import (
	"context"
	"fmt"
	"time"
)

// notifiedByBackChannel expects that the shop has been notified so often that a session ended, and
// that nobody is signed in there. Nobody notifies the wiki.
func (c *checker) notifiedByBackChannel(want int) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		shop, wiki := c.demo.apps[0], c.demo.apps[1]
		for notified, sessions := shop.state(); notified != want || sessions != 0; notified, sessions = shop.state() {
			if notified > want {
				return fmt.Errorf("the shop was notified %d times, not %d", notified, want)
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("the shop was notified %d times, not %d, and has %d sessions", notified, want, sessions)
			}
		}
		if notified, _ := wiki.state(); notified != 0 {
			return fmt.Errorf("the wiki was notified %d times", notified)
		}
		return nil
	}
}

// state is how often the app was notified that a session ended, and how many it has.
func (rp *relyingParty) state() (notified, sessions int) {
	rp.mu.Lock()
	defer rp.mu.Unlock()
	return rp.notified, len(rp.sessions)
}
