package handlers

import (
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxSubmission is how much of a form is looked through, in bytes. Responses of SAML that a broker gets are forms of 100 KB and more.
const maxSubmission = 512 << 10

// maxUnescaped is how often percent-encoding is undone in the search for what a request carries: a URL in a URL in a URL in a form.
const maxUnescaped = 4

// A submission is what a request itself carries in its URL and its form. Parts of a response that stand in it come from whoever
// sent the request, by a redirector such as many OPs have for what follows a sign-out, and not from the OP.
type submission struct {
	texts []string
	// unread: there is a form, which is over the bound. Nothing is known then to be the OP's own.
	unread bool
}

// readSubmission reads what a request carries, and returns the request with its body as it was. Only the media types of HTML forms
// are read: nothing else that a page of another site can send leads a browser anywhere.
func readSubmission(r *http.Request) (submission, *http.Request) {
	s := submission{texts: []string{r.URL.RequestURI()}}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return s, r
	}
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
	case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
	default:
		return s, r
	}
	body, r := readBody(r, maxSubmission)
	if body == nil {
		s.unread = r.Body != nil && r.Body != http.NoBody
		return s, r
	}
	s.texts = append(s.texts, string(body))
	return s, r
}

// has reports whether match finds something in what the request carries, as it came or with its percent-encoding undone.
func (s submission) has(match func(text string) bool) bool {
	if s.unread {
		return true
	}
	for _, text := range s.texts {
		for range maxUnescaped {
			if match(text) {
				return true
			}
			undone := unescape(text)
			if undone == text {
				break
			}
			text = undone
		}
	}
	return false
}

// hasAnswer reports whether the request carries the code or a token of a response. An OP makes those anew.
func (s submission) hasAnswer(values url.Values) bool {
	return s.has(func(text string) bool {
		for _, name := range []string{"code", "id_token", "access_token"} {
			if value := values.Get(name); value != "" && hasWord(text, value) {
				return true
			}
		}
		return false
	})
}

// hasAnswerAt reports whether the request carries the address of a response together with parameters.
func (s submission) hasAnswerAt(target *url.URL) bool {
	address := target.Host + target.Path
	return s.has(func(text string) bool {
		return strings.Contains(text, address+"?") || strings.Contains(text, address+"#")
	})
}

// hasAddress reports whether the request carries the address of a response.
func (s submission) hasAddress(target *url.URL) bool {
	return s.has(func(text string) bool { return strings.Contains(text, target.Host+target.Path) })
}

// hasWord reports whether a text has a word that is no part of a longer one.
func hasWord(text, word string) bool {
	for before := byte(0); ; {
		at := strings.Index(text, word)
		if at < 0 {
			return false
		}
		if at > 0 {
			before = text[at-1]
		}
		end := at + len(word)
		if !isUnreserved(before) && (end == len(text) || !isUnreserved(text[end])) {
			return true
		}
		before, text = text[at], text[at+1:]
	}
}

// isUnreserved reports whether a byte needs no percent-encoding (RFC 3986, section 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// unescape undoes percent-encoding where there is some, as lenient readers do: one stray % must not hide all the rest.
func unescape(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			out.WriteByte(' ')
		case c == '%' && i+2 < len(text):
			decoded, err := hex.DecodeString(text[i+1 : i+3])
			if err != nil {
				out.WriteByte(c)
				continue
			}
			out.WriteByte(decoded[0])
			i += 2
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
