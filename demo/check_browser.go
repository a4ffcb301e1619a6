package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// browser is as much of a browser as the check needs: it follows redirects, keeps cookies, and
// submits forms.
type browser struct {
	client http.Client
	jar    *cookieJar
	urls   []*url.URL // of the last navigation: where it began, and each redirect
}

func newBrowser(transport http.RoundTripper) *browser {
	b := &browser{jar: newCookieJar()}
	b.client = http.Client{Transport: transport, Jar: b.jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 10 {
			return errors.New("more than ten redirects")
		}
		b.urls = append(b.urls, r.URL)
		return nil
	}}
	return b
}

// response returns the parameters of the authorization response that passed last.
func (b *browser) response() (values url.Values) {
	for _, u := range b.urls {
		if u.Path == "/callback" {
			values = u.Query()
		}
	}
	return values
}

// page is where a navigation ended.
type page struct {
	url    *url.URL
	header http.Header
	root   *html.Node
}

// open goes to a URL. destination is what the browser says it wants it for: "document" for a tab,
// "iframe" for a frame (Fetch Metadata, Sec-Fetch-Dest).
func (b *browser) open(ctx context.Context, address, destination string) (*page, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return b.navigate(r, destination)
}

// submit sends the page's only form, with the button that has the given label.
func (b *browser) submit(ctx context.Context, p *page, label string) (*page, error) {
	form := find(p.root, func(n *html.Node) bool { return n.Data == "form" })
	if form == nil {
		return nil, fmt.Errorf("there is no form on %s", p.url)
	}
	button := find(form, func(n *html.Node) bool { return n.Data == "button" && text(n) == label })
	if button == nil {
		return nil, fmt.Errorf("there is no button %q on %s", label, p.url)
	}
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" {
			values.Set(attribute(n, "name"), attribute(n, "value"))
		}
	}
	if name := attribute(button, "name"); name != "" {
		values.Set(name, attribute(button, "value"))
	}
	target := attribute(form, "action")
	if own := attribute(button, "formaction"); own != "" {
		target = own
	}
	action, err := p.url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("the form on %s leads nowhere: %w", p.url, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.url.Scheme+"://"+p.url.Host)
	return b.navigate(r, "document")
}

func (b *browser) navigate(r *http.Request, destination string) (*page, error) {
	r.Header.Set("Sec-Fetch-Dest", destination)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	b.urls = []*url.URL{r.URL}
	response, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	root, err := html.Parse(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s%s answers %s: %s", response.Request.URL.Host, response.Request.URL.Path, response.Status, text(root))
	}
	return &page{url: response.Request.URL, header: response.Header, root: root}, nil
}

// find returns the first element below root that match accepts, or nil.
func find(root *html.Node, match func(*html.Node) bool) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
	}
	return nil
}

// elementByID returns the element with an id, or nil.
func elementByID(root *html.Node, id string) *html.Node {
	return find(root, func(n *html.Node) bool { return attribute(n, "id") == id })
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text returns the text of an element, with its white space made single spaces.
func text(n *html.Node) string {
	var words strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			words.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(words.String()), " ")
}
