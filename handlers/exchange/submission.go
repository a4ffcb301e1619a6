package exchange

import (
	"encoding/hex"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// MaxSubmission is how much of a form is searched, in bytes. Responses of SAML that a broker gets
// are forms of 100 KB and more.
const MaxSubmission = 512 << 10

// maxUnescaped is how often percent-encoding is undone in the search for what a request carries: a
// URL in a URL in a URL in a form.
const maxUnescaped = 4

// A Submission is what a request itself carries in its URL and its form. Parts of a response that
// are in it come from the sender of the request, by a redirector such as many OPs have for what
// follows a sign-out, and not from the OP. The zero value carries nothing.
type Submission struct {
	texts  []string
	unread bool // a form is over the bound: then it may carry anything
}

// ReadSubmission reads what a request carries, and returns the request with its body as it was.
// Only the media types of HTML forms are read: nothing else that a page of another site can send
// leads a browser anywhere.
func ReadSubmission(r *http.Request) (Submission, *http.Request) {
	s := Submission{texts: []string{r.URL.RequestURI()}}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return s, r
	}
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
	case FormType, "multipart/form-data", "text/plain":
	default:
		return s, r
	}
	body, r := ReadBody(r, MaxSubmission)
	if body == nil {
		s.unread = r.Body != nil && r.Body != http.NoBody
		return s, r
	}
	s.texts = append(s.texts, string(body))
	return s, r
}

// Has reports whether match finds something in what the request carries, as it came or with its
// percent-encoding undone.
func (s Submission) Has(match func(text string) bool) bool {
	if s.unread {
		return true
	}
	for _, text := range s.texts {
		for range maxUnescaped {
			if match(text) {
				return true
			}
			undone := Unescape(text)
			if undone == text {
				break
			}
			text = undone
		}
	}
	return false
}

// HasResponse reports whether the request carries the code or a token of a response, which an OP
// would make anew.
func (s Submission) HasResponse(values url.Values) bool {
	return s.Has(func(text string) bool {
		for _, name := range []string{"code", "id_token", "access_token"} {
			if value := values.Get(name); value != "" && HasWord(text, value) {
				return true
			}
		}
		return false
	})
}

// HasResponseAt reports whether the request carries the address of a response together with
// parameters.
func (s Submission) HasResponseAt(target *url.URL) bool {
	address := target.Host + target.Path
	return s.Has(func(text string) bool {
		return strings.Contains(text, address+"?") || strings.Contains(text, address+"#")
	})
}

// HasAddress reports whether the request carries the address of a response.
func (s Submission) HasAddress(target *url.URL) bool {
	return s.Has(func(text string) bool { return strings.Contains(text, target.Host+target.Path) })
}

// HasWord reports whether a text has a word on its own, not within a longer one.
func HasWord(text, word string) bool {
	for before := byte(0); ; {
		at := strings.Index(text, word)
		if at < 0 {
			return false
		}
		if at > 0 {
			before = text[at-1]
		}
		end := at + len(word)
		if !IsUnreserved(before) && (end == len(text) || !IsUnreserved(text[end])) {
			return true
		}
		before, text = text[at], text[at+1:]
	}
}

// IsUnreserved reports whether a byte needs no percent-encoding (RFC 3986, section 2.3).
func IsUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("-._~", c) >= 0
}

// Unescape undoes percent-encoding where there is some, as lenient readers do: one stray % must
// not hide all the rest.
func Unescape(text string) string {
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
