package browser

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// End ends the browser's sessions, because the OP has ended its own. The browser gets the anonymous
// state, which is set, not deleted: the check page distinguishes "signed out" from "no cookie".
//
// While the registry is unavailable, the ends are kept in the sealed cookie, for [Cookies.Flush] at
// a later request. The browser gets another ID, so that its next session does not end then.
func (c *Cookies) End(reason registry.Reason) {
	failed := c.endRecorded(c.browsers(), reason)
	isAnonymous := c.Sealed.Session.IsZero() && c.Keys.IsAnonymousState(c.OP.Issuer, c.State)
	if isAnonymous && len(failed) == 0 {
		return
	}
	c.BrowserID()
	if len(failed) == 0 && c.isUnrecorded() {
		c.Env.LogEnd(handlers.RecordingContext(c.Request), &registry.Session{
			Issuer: c.OP.Issuer, ID: c.Sealed.Session, Reason: reason,
		})
	}
	c.Sealed = c.Sealed.SignedOut()
	if len(failed) > 0 {
		c.Sealed.Browser = sessionstate.NewBrowserID()
		c.Sealed.Owed = NewOwedEnds(append(c.Sealed.Owed.IDs(), failed...))
	}
	c.State = c.Keys.AnonymousState(c.OP.Issuer)
	c.SetSession()
	c.SetState(c.State)
}

// isUnrecorded reports whether the browser's session was in its cookie only, so that no other end
// of it is logged.
func (c *Cookies) isUnrecorded() bool {
	id := c.Sealed.Session
	isSession := func(ended *registry.Session) bool { return ended.ID == id }
	if id.IsZero() || slices.ContainsFunc(c.Ended, isSession) {
		return false
	}
	ctx := handlers.RecordingContext(c.Request)
	state, _, err := c.Env.Registry.Resolve(ctx, registry.Ref{Session: id})
	return err == nil && state == registry.Unknown
}

// Flush records the ends that a request before could not record.
func (c *Cookies) Flush() {
	owed := c.Sealed.Owed.IDs()
	if len(owed) == 0 {
		return
	}
	c.Sealed.Owed = NewOwedEnds(c.endRecorded(owed, registry.ReasonLogout))
	c.SetSession()
}

// endRecorded ends all sessions that the registry has of some browser IDs. It returns the IDs that
// are left to a later request.
func (c *Cookies) endRecorded(
	browsers []sessionstate.BrowserID, reason registry.Reason,
) (failed []sessionstate.BrowserID) {
	for i, browser := range browsers {
		session := zap.Skip()
		if browser == c.Sealed.Browser && !c.Sealed.Session.IsZero() {
			session = zap.Stringer("session", c.Sealed.Session)
		}
		ending := registry.Ending{
			Place: registry.PlaceOf(c.OP.Issuer, browser), Reason: reason,
			Asked: c.AskedBy, AskedWait: c.AskedWait,
		}
		end := func(ctx context.Context) ([]*registry.Session, error) {
			return c.Env.Registry.End(ctx, ending)
		}
		if !c.Record(session, end) {
			return browsers[i:]
		}
	}
	return nil
}

// Record ends sessions in the registry by end. It reports whether that succeeded; if not, it logs
// the error with a field that says which session it is.
func (c *Cookies) Record(
	session zap.Field, end func(context.Context) ([]*registry.Session, error),
) bool {
	ctx := handlers.RecordingContext(c.Request)
	if c.Patient {
		ctx = registry.Patient(ctx)
	}
	ended, err := end(ctx)
	if err != nil {
		c.Env.Logger.Error("session end not recorded", zap.String("issuer", c.OP.Issuer), session,
			zap.String("client_id", c.AskedBy), zap.Error(err),
			zap.String("advice", "make the session registry available again: "+
				"clients are notified when this browser next signs in or out"))
		return false
	}
	c.Ended = append(c.Ended, ended...)
	return true
}

// browsers are the browser's IDs: that in its sealed cookie, and those of tabs that began to sign
// in at the same time.
func (c *Cookies) browsers() []sessionstate.BrowserID {
	var ids []sessionstate.BrowserID
	add := func(id sessionstate.BrowserID) {
		if !id.IsZero() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(c.Sealed.Browser)
	for _, p := range c.Pending {
		add(p.Browser)
	}
	return ids
}
