package signin

import (
	"net/http"

	"github.com/oidc-session/caddy-oidc-session/handlers/browser"
	"github.com/oidc-session/caddy-oidc-session/handlers/exchange"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// expectsPost reports whether the request at hand or a pending one may be answered by a page that
// posts itself.
func expectsPost(v *browser.Cookies, asked *browser.PendingRequest) bool {
	if asked != nil && asked.Is(browser.PostingRequest) {
		return true
	}
	for _, p := range v.Pending {
		if p.Is(browser.PostingRequest) {
			return true
		}
	}
	return false
}

// holdForm holds a page until it can be told whether it is such an answer. A page that is flushed
// before it has a form is not held up: only the rest of a form that is sent to another site is
// waited for.
func (o *Observer) holdForm(v *browser.Cookies, asked *browser.PendingRequest) *exchange.Hold {
	return &exchange.Hold{
		Limit: exchange.MaxPage,
		Edit: func(header http.Header, body []byte) []byte {
			page := exchange.ReadPage(header, body)
			return o.answerForm(v, asked, header, page, exchange.ReadForms(page))
		},
		Flush: func(header http.Header, body []byte) (edited []byte, wait bool) {
			page := exchange.ReadPage(header, body)
			forms := exchange.ReadForms(page)
			if last := len(forms) - 1; last >= 0 && forms[last].Open {
				if leadsAway(v, forms[last].Action) {
					return nil, true
				}
				forms = forms[:last]
			}
			return o.answerForm(v, asked, header, page, forms), false
		},
	}
}

// leadsAway reports whether an address is on another site than the OP.
func leadsAway(v *browser.Cookies, address string) bool {
	target, ok := resolve(v.OP, v.Request, address)
	if !ok {
		return false
	}
	origin, err := sessionstate.Origin(target.String())
	return err == nil && origin != v.OP.Origin
}

// answerForm answers by the first form of a page that answers a request; nil: the page has none,
// or stays as it is.
func (o *Observer) answerForm(v *browser.Cookies, asked *browser.PendingRequest, header http.Header, page []byte, forms []exchange.PostedForm) []byte {
	for _, form := range forms {
		response, ok := newAuthorizationResponse(v.OP, v.Request, form.Action, inForm, form.Values)
		if !ok {
			continue
		}
		sessionState, ok := o.answer(v, asked, response)
		if !ok {
			continue
		}
		exchange.ForbidCaching(header)
		v.Write(header)
		if sessionState == "" || !o.SessionState.MayAdd(v.OP, response.values) {
			return nil
		}
		return form.With(page, sessionState)
	}
	return nil
}
