package handlers

import (
	"bytes"
	"html"
	"mime"
	"net/http"
	"net/url"
	"strings"

	nethtml "golang.org/x/net/html"

	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

// Authorization responses by a page that posts itself: OAuth 2.0 Form Post Response Mode 1.0.

// maxPage is how much of an HTML page is held to look for a form_post response, in bytes.
const maxPage = 64 << 10

// A postedForm is a form in an HTML page: of OAuth 2.0 Form Post Response Mode 1.0, if it is an authorization response.
type postedForm struct {
	action string
	values url.Values
	// insertAt is where another field can be written: behind the last one, in bytes of the page.
	insertAt int
	// own are the places of the OP's own session_state fields.
	own [][2]int
	// open: its end tag has not come yet.
	open bool
}

// readForms finds the forms of a page that are sent by POST.
func readForms(page []byte) []postedForm {
	var forms []postedForm
	var form *postedForm // the one that is open
	tokens := nethtml.NewTokenizer(bytes.NewReader(page))
	for end := 0; ; {
		kind := tokens.Next()
		if kind == nethtml.ErrorToken {
			return forms
		}
		start := end
		end += len(tokens.Raw())
		name, hasAttributes := tokens.TagName()
		switch kind { //nolint:exhaustive // text, comments and the doctype are of no interest
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			switch string(name) {
			case "form":
				attributes := readAttributes(tokens, hasAttributes)
				form = nil
				if strings.EqualFold(attributes["method"], "post") {
					forms = append(forms, postedForm{action: attributes["action"], values: make(url.Values), insertAt: end, open: true})
					form = &forms[len(forms)-1]
				}
			case "input":
				if form != nil {
					form.addField(readAttributes(tokens, hasAttributes), start, end)
				}
			}
		case nethtml.EndTagToken:
			if string(name) == "form" && form != nil {
				form.open, form = false, nil
			}
		}
	}
}

// addField adds the field that stands from start to end in the page.
func (f *postedForm) addField(attributes map[string]string, start, end int) {
	name := attributes["name"]
	if name == "" {
		return
	}
	f.values.Add(name, attributes["value"])
	f.insertAt = end
	if name == "session_state" {
		f.own = append(f.own, [2]int{start, end})
	}
}

// readAttributes returns the attributes of the current tag; of one given twice the first counts, as in browsers.
func readAttributes(tokens *nethtml.Tokenizer, more bool) map[string]string {
	attributes := make(map[string]string)
	for more {
		var key, value []byte
		key, value, more = tokens.TagAttr()
		if _, given := attributes[string(key)]; !given {
			attributes[string(key)] = string(value)
		}
	}
	return attributes
}

// with returns the page with session_state as another field of the form, in place of the OP's own if it has any. All other bytes
// stay as they are.
func (f *postedForm) with(page []byte, sessionState string) []byte {
	field := `<input type="hidden" name="session_state" value="` + html.EscapeString(sessionState) + `"/>`
	out := make([]byte, 0, len(page)+len(field))
	at := 0
	for _, own := range f.own {
		out = append(out, page[at:own[0]]...)
		at = own[1]
	}
	out = append(out, page[at:f.insertAt]...)
	out = append(out, field...)
	return append(out, page[f.insertAt:]...)
}

// expectsPost reports whether the request at hand or a pending one may be answered by a page that posts itself.
func expectsPost(v *visit, asked *pendingRequest) bool {
	if asked != nil && asked.is(posting) {
		return true
	}
	for _, p := range v.pending {
		if p.is(posting) {
			return true
		}
	}
	return false
}

// holdForm holds a page until it can be told whether it is such an answer. A page that is flushed before it has a form is not held up:
// only the rest of a form that is sent to another site is waited for.
func (b *Browser) holdForm(v *visit, asked *pendingRequest) *hold {
	return &hold{
		limit: maxPage,
		edit: func(header http.Header, body []byte) []byte {
			page := readPage(header, body)
			return b.answerForm(v, asked, header, page, readForms(page))
		},
		flush: func(header http.Header, body []byte) (edited []byte, wait bool) {
			page := readPage(header, body)
			forms := readForms(page)
			if last := len(forms) - 1; last >= 0 && forms[last].open {
				if leadsAway(v, forms[last].action) {
					return nil, true
				}
				forms = forms[:last]
			}
			return b.answerForm(v, asked, header, page, forms), false
		},
	}
}

// leadsAway reports whether an address is on another site than the OP.
func leadsAway(v *visit, address string) bool {
	target, ok := resolve(v.op, v.r, address)
	if !ok {
		return false
	}
	origin, err := sessionstate.Origin(target.String())
	return err == nil && origin != v.op.Origin
}

// readPage returns an HTML page without its content coding; nil for what is none, or cannot be read.
func readPage(header http.Header, body []byte) []byte {
	page, err := decoded(header, body, maxPage)
	if err != nil || !isHTML(header) && !strings.HasPrefix(http.DetectContentType(page), "text/html") {
		return nil
	}
	return page
}

// answerForm answers by the first form of a page that answers a request; nil: the page has none, or stays as it is.
func (b *Browser) answerForm(v *visit, asked *pendingRequest, header http.Header, page []byte, forms []postedForm) []byte {
	for _, form := range forms {
		response, ok := newAuthorizationResponse(v.op, v.r, form.action, inForm, form.values)
		if !ok {
			continue
		}
		sessionState, ok := b.answer(v, asked, response)
		if !ok {
			continue
		}
		forbidCaching(header)
		v.writeCookies(header)
		if sessionState == "" || !b.SessionState.mayAdd(v.op, response.values) {
			return nil
		}
		return form.with(page, sessionState)
	}
	return nil
}

// mayBeHTML reports whether a response is a page, as far as its header tells: without a Content-Type, net/http and browsers go by the
// first bytes of the body.
func mayBeHTML(header http.Header) bool { return header.Get("Content-Type") == "" || isHTML(header) }

// isHTML reports whether a response is a page.
func isHTML(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == "text/html"
}
