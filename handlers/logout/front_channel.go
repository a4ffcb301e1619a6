package logout

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/assets"
	"github.com/oidc-session/caddy-oidc-session/handlers"
	"github.com/oidc-session/caddy-oidc-session/handlers/clients"
	"github.com/oidc-session/caddy-oidc-session/registry"
)

// framesOf returns the addresses that a page has to load for a client to be told by front channel,
// one for each of its sids (Front-Channel Logout 1.0, section 2). None: it cannot be told so.
func (e *EndSession) framesOf(op *handlers.OP, client clients.Client, p *registry.Client) []string {
	if op.FrontChannelLogout || !assets.CanFrame(client.FrontChannelLogoutURI) {
		return nil // one that cannot be a frame would take the page from all others
	}
	var frames []string
	add := func(frame string) {
		if !slices.Contains(frames, frame) {
			frames = append(frames, frame)
		}
	}
	for _, subject := range p.Subjects {
		if subject.Sid != "" {
			add(withSession(client.FrontChannelLogoutURI, cmp.Or(p.IDToken.Issuer, op.Issuer), subject.Sid))
		}
	}
	if len(frames) == 0 && !client.FrontChannelLogoutSessionRequired {
		add(client.FrontChannelLogoutURI)
	}
	return frames
}

// withSession adds iss and sid to an address, whose own query is kept as it is.
func withSession(uri, issuer, sid string) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	return uri + separator + "iss=" + url.QueryEscape(issuer) + "&sid=" + url.QueryEscape(sid)
}

// IsFramed reports whether clients of an OP are told by front channel: by the page of our own
// endpoint, unless the OP has one.
func (e *EndSession) IsFramed(op *handlers.OP) bool {
	return e.IsServed(op) && !op.FrontChannelLogout && (e.FrontChannel || e.Clients.HasFramed())
}

// showFrames shows the page that tells clients, and goes on from there. If there can be no page,
// it goes on at once, and the receipt counts nobody as asked.
func (e *EndSession) showFrames(l *logoutExchange, frames []string, done sealedLogout) {
	done.Framed = true
	language := assets.ChooseLanguage(l.request.Locales, l.r.Header.Get("Accept-Language"))
	body, policy, err := e.pages.FrontChannel(assets.FrontChannel{
		Language: language, Issuer: e.opName(l.op), Frames: frames,
		Next: e.next(l, done), Timeout: e.FrontChannelTimeout, OPFailed: done.Failed,
	})
	if err != nil {
		e.env.Logger.Error("clients cannot be told by front channel", zap.String("issuer", l.op.Issuer), zap.Error(err))
		done.Unframed = true
		e.redirectToSelf(l, done)
		return
	}
	l.Write(l.w.Header())
	writePage(l.w, http.StatusOK, language, policy, body)
}
