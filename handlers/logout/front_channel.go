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

// framesOf returns the addresses that a page has to load for a client to be notified by front
// channel, one for each of its sids (Front-Channel Logout 1.0, section 2). None: it cannot be.
func (e *EndSession) framesOf(
	op *handlers.OP, client clients.Client, p *registry.Client,
) (frames []string) {
	uri := client.FrontChannelLogoutURI
	if op.FrontChannelLogout || !assets.CanFrame(uri) {
		return nil // one that cannot be a frame would take the page from all others
	}
	issuer := cmp.Or(p.IDToken.Issuer, op.Issuer)
	for _, subject := range p.Subjects {
		frame := withSession(uri, issuer, subject.Sid)
		if subject.Sid != "" && !slices.Contains(frames, frame) {
			frames = append(frames, frame)
		}
	}
	if frames == nil && !client.FrontChannelLogoutSessionRequired {
		return []string{uri}
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

// showFrames shows the page that notifies clients, and goes on from there. If there can be no
// page, it goes on at once, and the receipt counts nobody as asked.
func (e *EndSession) showFrames(l *logoutExchange, frames []string, done sealedLogout) {
	done.Framed = true
	language := l.language()
	body, policy, err := e.pages.FrontChannel(assets.FrontChannel{
		Language: language, Issuer: e.opName(l.op), Frames: frames,
		Next: e.parkedURL(l, done), Timeout: e.FrontChannelTimeout, OPFailed: done.Failed,
	})
	if err != nil {
		e.env.Logger.Error("clients cannot be told by front channel",
			zap.String("issuer", l.op.Issuer), zap.Error(err))
		done.Unframed = true
		e.redirectToSelf(l, done)
		return
	}
	l.Write(l.w.Header())
	writePage(l.w, http.StatusOK, language, policy, body)
}
