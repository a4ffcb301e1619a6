package assets

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A PageName names a page of sign-out.
type PageName string

// The pages of sign-out. Each is a template of that name with .html behind it.
const (
	PageQuestion  PageName = "question"   // asks the user whether to sign out
	PageSignedOut PageName = "signed_out" // says that the user is signed out, with ProblemUnknownRedirect why they were not sent on
	PageSignedIn  PageName = "signed_in"  // says that the user is still signed in
	PageError     PageName = "error"      // says what is wrong, and may offer to sign out

	PageFrontChannel PageName = "front_channel" // tells apps in frames, and goes on
)

var pageNames = []PageName{PageQuestion, PageSignedOut, PageSignedIn, PageError, PageFrontChannel}

// A Problem is what the error page is about.
type Problem string

// The problems.
const (
	ProblemInvalidRequest  Problem = "invalid_request"  // the request is not as the specification wants it
	ProblemUnknownRedirect Problem = "unknown_redirect" // the app may not have users sent there
	ProblemTooLarge        Problem = "too_large"        // the request is over a bound
	ProblemExpired         Problem = "expired"          // the answer came too late, or from another window
	ProblemOPFailed        Problem = "op_failed"        // the OP has not ended its own session
)

var problems = []Problem{ProblemInvalidRequest, ProblemUnknownRedirect, ProblemTooLarge, ProblemExpired, ProblemOPFailed}

// Signed says whether the user is signed in while an error page is shown.
type Signed string

// The zero value says that it is not known.
const (
	SignedIn  Signed = "in"
	SignedOut Signed = "out"
)

// A View is what a page of sign-out shows. Names on it are shown as [PlainName] has them.
type View struct {
	Page PageName
	// Language is that of the texts (BCP 47), as ChooseLanguage returns it.
	Language string
	// Issuer is the name of the OP, Client that of the app that asks. Client may be empty: it is not known.
	Issuer, Client string
	// Back is an address of the app, http or https, and BackName what it is called by. For all pages but the question; may be empty.
	Back, BackName string
	// Action is where the form of the page posts to, Confirmation the value of its field of that name. Action may be empty on
	// error pages: there is nothing to offer.
	Action, Confirmation string
	// Problem and Detail are for error pages: what is wrong, and with which parameter, if with one.
	Problem Problem
	Detail  string
	Signed  Signed
	// Host is that of the address of a ProblemUnknownRedirect; may be empty.
	Host string
	// Told, Asked, Retrying, Failed and Untold are the names of apps that were told of the sign-out and said so, that were asked in
	// frames, of which nothing comes back, that could not be reached yet and are still tried, that refused or were given up, and
	// that cannot be told. For the page that says the user is signed out, and for the error page.
	Told, Asked, Retrying, Failed, Untold []string
	// Unrecorded: apps could not be told of the sign-out yet, whichever they are. For the page that says the user is signed out, and
	// for the error page.
	Unrecorded bool
	// Continue is where the user may go on from the page that says the user is signed out; empty: nowhere. It must be an address that
	// is registered for an app.
	Continue string
	// Frames, Next, Timeout and OPFailed are those of a [FrontChannel], Timeout in milliseconds.
	Frames   []string
	Next     string
	Timeout  int64
	OPFailed bool
}

// maxReceipt is how many apps a group of the receipt names.
const maxReceipt = 20

// A Group is one part of the receipt: what it says of some apps, their names, and what it says of those that are not named; empty: all
// are.
type Group struct {
	Text  string
	Names []string
	More  string
}

// A filledView is what a template gets: the fields of the View, and its texts.
type filledView struct {
	View

	Heading string // what the page says, in short
	Message string // and at length
	SignOut string // label of the button that signs out: name "answer", value "sign_out"
	Stay    string // label of the button that does not: name "answer", value "stay"; for the question

	Continue template.URL // as the View's; native apps have schemes of their own
	NotYet   string       // that apps could not be told yet; empty: there is nothing to say
	BackTo   string       // label of the link to Back

	Receipt []Group // which apps were told; empty: there is nothing to say

	// For the page that tells apps in frames.
	GoOn       string // label of the link to Next
	FrameTitle string // title of each frame
	Seconds    int64  // Timeout in seconds, rounded up
	Progress   string // how many frames have loaded, {n}, of all
}

//go:embed pages/*.html
var builtIn embed.FS

// Pages are the pages of sign-out.
type Pages struct {
	templates map[PageName]*template.Template
	policy    string
	own       bool // some are the directory's

	// The sources of the styles of all pages, and of the scripts of the page that tells apps in frames: no other has any.
	styles, scripts []string
}

// layoutFile defines what the pages have in common, for templates that want it: "head" and "foot".
const layoutFile = "layout.html"

// receiptFile defines "receipt": which apps were told.
const receiptFile = "receipt.html"

// LoadPages takes the built-in templates, and in their place those of the same file name in a directory: question.html, signed_out.html,
// signed_in.html, error.html, front_channel.html, and layout.html and receipt.html, which define what the built-in ones have in
// common. dir "" is none. Templates are Go's html/template; they get the fields of [View] and Heading, Message, SignOut, Stay,
// BackTo and Receipt. front_channel.html gets more: see [Pages.FrontChannel]. Each is tried with all texts, so that what is broken is an error
// here and not later.
func LoadPages(dir string) (*Pages, error) {
	if dir == "" {
		return builtInPages()
	}
	return loadPages(dir)
}

// builtInPages are the same for all sites: to try them takes tens of milliseconds.
var builtInPages = sync.OnceValues(func() (*Pages, error) { return loadPages("") })

func loadPages(dir string) (*Pages, error) {
	layout, own, err := source(dir, layoutFile)
	if err != nil {
		return nil, err
	}
	receipt, given, err := source(dir, receiptFile)
	if err != nil {
		return nil, err
	}
	own = own || given
	p := &Pages{templates: make(map[PageName]*template.Template)}
	for _, name := range pageNames {
		text, given, err := source(dir, string(name)+".html")
		if err != nil {
			return nil, err
		}
		own = own || given
		page, err := template.New(string(name) + ".html").Option("missingkey=error").Parse(text)
		if err == nil {
			_, err = page.New(receiptFile).Parse(receipt)
		}
		if err == nil {
			_, err = page.New(layoutFile).Parse(layout)
		}
		if err != nil {
			return nil, fmt.Errorf("parsing a template: %w", err)
		}
		p.templates[name] = page
	}
	if dir != "" && !own {
		return nil, fmt.Errorf("directory %s has none of the templates", dir)
	}
	return p, p.try(own)
}

// source returns the text of a template; own: it is the directory's.
func source(dir, file string) (text string, own bool, err error) {
	if dir != "" {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return string(content), true, err
		}
	}
	content, err := builtIn.ReadFile("pages/" + file)
	return string(content), false, err
}

// try renders each page with all texts, and allows the styles that it finds in them, and the scripts of the one page that has some.
func (p *Pages) try(own bool) error {
	p.own = own
	var styles, scripts []string
	for _, tag := range languages {
		for _, view := range samples(tag.String()) {
			body, err := p.Render(view)
			if err != nil {
				return err
			}
			styles = append(styles, stylesOf(body)...)
			if view.Page == PageFrontChannel {
				scripts = append(scripts, scriptsOf(body)...)
			}
		}
	}
	slices.Sort(styles)
	styles = slices.Compact(styles)
	slices.Sort(scripts)
	p.scripts = slices.Compact(scripts)
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src"
	if own {
		policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:; font-src 'self'; style-src 'self'"
	} else if len(styles) == 0 {
		policy += " 'none'"
	}
	for _, style := range styles {
		policy += " 'sha256-" + style + "'"
		p.styles = append(p.styles, "'sha256-"+style+"'")
	}
	// There is no form-action: browsers apply it to the redirect that follows the form, which leads to the app.
	p.policy = policy
	return nil
}

// samples are views of all kinds.
func samples(language string) []View {
	var views []View
	for _, name := range pageNames {
		for _, problem := range problems {
			for _, client := range []string{"", "Shop"} {
				views = append(views, View{
					Page: name, Language: language, Issuer: "op.example.com", Client: client,
					Action: "/", Confirmation: "x", Problem: problem, Detail: "state",
					Unrecorded: true, Continue: "/",
					Told: []string{"Shop"}, Asked: []string{"Forum"}, Retrying: []string{"Mail"}, Failed: []string{"Chat"}, Untold: []string{"Wiki"},
					Frames: []string{"https://rp.example.com/"}, Next: "/", Timeout: 1000, OPFailed: problem == ProblemOPFailed,
				})
			}
		}
	}
	return views
}

var styleElement = regexp.MustCompile(`(?s)<style[^>]*>(.*?)</style>`)

// stylesOf returns the hashes of the style elements of a page (Content Security Policy Level 3, section 2.3.1).
func stylesOf(body []byte) []string {
	var hashes []string
	for _, style := range styleElement.FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(style[1])
		hashes = append(hashes, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return hashes
}

// ContentSecurityPolicy is the value of the header of that name, for each of the pages.
func (p *Pages) ContentSecurityPolicy() string { return p.policy }

// Render returns a page as HTML in UTF-8. It fails only where a template of one's own does.
func (p *Pages) Render(view View) ([]byte, error) {
	page := p.templates[view.Page]
	if page == nil {
		return nil, fmt.Errorf("there is no page %q", view.Page)
	}
	var out bytes.Buffer
	if err := page.Execute(&out, filled(view)); err != nil {
		return nil, fmt.Errorf("rendering a template: %w", err)
	}
	return out.Bytes(), nil
}

// filled puts the texts to a view.
func filled(view View) filledView {
	t, known := texts[view.Language]
	if !known {
		view.Language = languages[0].String()
		t = texts[view.Language]
	}
	view = plainView(view)
	f := filledView{
		View: view, SignOut: t.signOut, Stay: t.stay, Receipt: receipt(view, t),
		GoOn: t.goOn, FrameTitle: t.frameTitle, Seconds: (view.Timeout + 999) / 1000,
		BackTo:   strings.ReplaceAll(t.backTo, "{client}", view.BackName),
		Progress: strings.ReplaceAll(t.progress, "{total}", strconv.Itoa(len(view.Frames))),
	}
	f.Continue = template.URL(view.Continue) // #nosec G203 -- registered for an app, and checked then
	if view.Unrecorded {
		f.NotYet = t.notYet
	}
	f.Heading, f.Message = t.say(view)
	f.Message = t.fill(view, f.Message)
	if view.Problem == ProblemOPFailed || view.Problem == ProblemExpired {
		f.SignOut = t.again
	}
	return f
}

// say returns what a page says, with the names left to fill in.
func (t text) say(view View) (heading, message string) {
	switch view.Page {
	case PageQuestion:
		if view.Client != "" {
			return t.question, t.askedBy
		}
		return t.question, t.asked
	case PageSignedOut:
		if view.Problem != ProblemUnknownRedirect {
			return t.signedOut, t.signedOutMore
		}
		return t.signedOut, t.signedOutMore + " " + t.notSent
	case PageFrontChannel:
		if view.OPFailed {
			return t.signingOut, t.signingOutMore
		}
		return t.signingOut, t.signingOutMore + " " + t.signedOutAtOP
	case PageSignedIn:
		return t.signedIn, t.signedInMore
	case PageError:
	}
	problem := t.problems[view.Problem]
	return problem.heading, problem.message
}

// fill puts names into a text. {at} and {state} stand for texts with names.
func (t text) fill(view View, message string) string {
	at := t.at
	if view.Host == "" {
		at = ""
	}
	state := map[Signed]string{SignedIn: t.stillIn, SignedOut: t.alreadyOut, "": t.unchanged}[view.Signed]
	message = strings.NewReplacer("{at}", at, "{state}", state).Replace(message)
	return strings.NewReplacer("{issuer}", view.Issuer, "{client}", view.Client, "{host}", view.Host).Replace(message)
}

// receipt is what a page says of the apps.
func receipt(view View, t text) []Group {
	var groups []Group
	for _, group := range []Group{
		{Text: t.told, Names: view.Told},
		{Text: t.askedInFrames, Names: view.Asked},
		{Text: t.retrying, Names: view.Retrying},
		{Text: t.failed, Names: view.Failed},
		{Text: t.untold, Names: view.Untold},
	} {
		if n := len(group.Names) - maxReceipt; n > 0 {
			group.Names, group.More = group.Names[:maxReceipt], strings.ReplaceAll(t.more, "{n}", strconv.Itoa(n))
		}
		if len(group.Names) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}
