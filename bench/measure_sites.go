package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Targets: CPU time per request, as a multiple of that of a `respond` with the same body.
const (
	pageTarget  = 1.10
	checkTarget = 1.5
)

// warmUp is how many batches each site gets before the measurement.
const warmUp = 2

// pageSize is the size of the check page for an issuer with a port, whose cookies have 8 hex
// digits at the end of their names.
var pageSize = len(assets.CheckSession("__Host-op_browser_state_01234567").Body)

// measureSites compares the OP's site with sites that answer the same by `respond`, in one Caddy
// process.
func measureSites(ctx context.Context, r *report, l limits, dir string) error {
	s, err := startSites(ctx, dir, pageSize)
	if errors.Is(err, errors.ErrUnsupported) {
		r.section("CPU time of a Caddy process: measured on Linux only")
		return nil
	}
	if err != nil {
		return err
	}
	r.watch.server = s.server
	defer func() {
		r.watch.server = nil
		s.stop()
	}()

	r.section(fmt.Sprintf("CPU time of a Caddy process per request, against `respond` (%d rounds of %d requests)", l.rounds, batch))
	if err := comparePages(ctx, r, s, l.rounds); err != nil {
		return fmt.Errorf("check page: %w", err)
	}
	if err := compareChecks(ctx, r, s, l.rounds); err != nil {
		return fmt.Errorf("server check: %w", err)
	}
	if err := compareSignOuts(ctx, r, s, l.rounds); err != nil {
		return fmt.Errorf("end_session: %w", err)
	}
	return nil
}

func comparePages(ctx context.Context, r *report, s *sites, rounds int) error {
	page, size, err := s.page()
	if err == nil && len(page) != pageSize {
		err = fmt.Errorf("it has %d bytes, not %d as expected", len(page), pageSize)
	}
	if err != nil {
		return err
	}
	r.info("check page with its header", "%d bytes (net/http sends more than 4096 in two parts)", size)
	c := &comparison{sites: [3]*load{
		{name: "check page", body: page, requests: pageRequests(s.host(siteOP))},
		{name: "respond", body: filler(len(page)), requests: pageRequests(s.host(sitePage))},
		{name: "respond (control)", body: filler(len(page)), requests: pageRequests(s.host(sitePageControl))},
	}}
	return compare(ctx, r, s, c, [3]int{siteOP, sitePage, sitePageControl}, rounds, pageTarget)
}

func compareChecks(ctx context.Context, r *report, s *sites, rounds int) error {
	keys, err := sessionstate.NewKeyring([]byte(s.key))
	if err != nil {
		return err
	}
	state, err := s.signInRecorded(ctx, keys)
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	bodies, err := checkBodies(keys, s.issuer(), state, (warmUp+rounds)*batch)
	if err != nil {
		return err
	}
	request := func(site int) [][]byte { return checkRequests(s.issuer(), s.host(site), bodies) }
	c := &comparison{sites: [3]*load{
		{name: "server check", body: unchanged, late: unknown, requests: request(siteOP)},
		{name: "respond to the same POST", body: unchanged, requests: request(siteVerdict)},
		{name: "respond (control)", body: unchanged, requests: request(siteVerdictControl)},
	}}
	return compare(ctx, r, s, c, [3]int{siteOP, siteVerdict, siteVerdictControl}, rounds, checkTarget)
}

// signInRecorded signs in until the registry has recorded it: on a busy machine, a sign-in goes on
// without.
func (s *sites) signInRecorded(ctx context.Context, keys *sessionstate.Keyring) (state string, err error) {
	for range 20 {
		if state, err = s.op.signIn(s.address(siteOP)); err != nil {
			return "", err
		}
		bodies, err := checkBodies(keys, s.issuer(), state, 1)
		if err != nil {
			return "", err
		}
		check := &load{body: unchanged, late: unknown, requests: checkRequests(s.issuer(), s.host(siteOP), bodies)}
		defer check.close()
		if err := check.dial(ctx, s.address(siteOP)); err != nil {
			return "", err
		}
		if err := check.send(ctx, connections); err != nil {
			return "", err
		}
		if check.lates.Load() == 0 {
			return state, nil
		}
	}
	return "", errors.New("the registry records no sign-in")
}

// compare connects, warms up, measures and reports one comparison.
func compare(ctx context.Context, r *report, s *sites, c *comparison, at [3]int, rounds int, target float64) error {
	if err := measure(ctx, r, s.server, c, s.addresses(at), rounds); err != nil {
		return err
	}
	r.target(c.sites[0].name+" / respond", c.subject().sums, target, c.control().noise(), "%.2f")
	return nil
}

// measure connects, warms up and measures.
func measure(ctx context.Context, r *report, server *process, c *comparison, addresses [3]string, rounds int) error {
	for i, site := range c.sites {
		defer site.close()
		if err := site.dial(ctx, addresses[i]); err != nil {
			return err
		}
		for range warmUp {
			if err := site.send(ctx, batch); err != nil {
				return fmt.Errorf("%s: %w", site.name, err)
			}
		}
	}
	if err := c.run(ctx, server, rounds); err != nil {
		return err
	}
	if late, sent := c.sites[0].lates.Load(), (warmUp+rounds)*batch; late > int64(sent/10) {
		return fmt.Errorf("%d of %d answers came without looking: out of time", late, sent)
	} else if late > 0 {
		r.info(c.sites[0].name+": out of time", "%d of %d", late, sent)
	}
	for i, site := range c.sites {
		r.info(site.name, "%v", c.perRequest(i))
	}
	if c.work != nil {
		r.info(c.workName, "%v", c.perWork())
	}
	r.info("ratio", "%v", c.subject())
	r.info("A/A control", "%v", c.control())
	return nil
}
