package assets

import (
	"bytes"
	"embed"
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

// The pages of sign-out. Each is a template with its name and .html.
const (
	PageQuestion  PageName = "question"   // asks the user whether to sign out
	PageSignedOut PageName = "signed_out" // says that the user is signed out
	PageSignedIn  PageName = "signed_in"  // says that the user is still signed in
	PageError     PageName = "error"      // says what is wrong, and may offer to sign out

	PageFrontChannel PageName = "front_channel" // notifies apps in frames, and continues

	PageEnded PageName = "ended" // says at an app's site that the session has ended
)

var pageNames = []PageName{
	PageQuestion, PageSignedOut, PageSignedIn, PageError, PageFrontChannel, PageEnded,
}

// A Problem is the reason for the error page. With ProblemUnknownRedirect, the signed-out page
// says why there was no redirect.
type Problem string

// The problems.
const (
	ProblemInvalidRequest  Problem = "invalid_request"  // the request violates the specification
	ProblemUnknownRedirect Problem = "unknown_redirect" // the redirect URI is not registered
	ProblemTooLarge        Problem = "too_large"        // the request is larger than allowed
	ProblemExpired         Problem = "expired"          // the answer is late or of another window
	ProblemOPFailed        Problem = "op_failed"        // the OP has not ended its own session
)

var problems = []Problem{
	ProblemInvalidRequest, ProblemUnknownRedirect, ProblemTooLarge, ProblemExpired,
	ProblemOPFailed,
}

// Signed says whether the user is signed in while an error page is shown. The zero value means
// unknown.
type Signed string

// Values of [Signed].
const (
	SignedIn  Signed = "in"
	SignedOut Signed = "out"
)

// A View is the content of a page of sign-out. Pages show its names as [PlainName] returns them.
type View struct {
	Page PageName
	// Language is that of the texts (BCP 47), as [ChooseLanguage] returns it.
	Language string
	// Issuer is the name of the OP, Client that of the app that asks; empty if unknown.
	Issuer, Client string
	// Back is an https or http URL of the app, BackName the app's name. Both may be empty. The
	// question does not show them.
	Back, BackName string
	// Action is the URL that the page's form posts to, Confirmation the value of the field of that
	// name. On error pages, Action may be empty: there is no form then.
	Action, Confirmation string
	// Problem and Detail are for error pages: the problem, and the parameter that has it, if any.
	Problem Problem
	Detail  string
	Signed  Signed
	// Host is the host of the URL of a ProblemUnknownRedirect; may be empty.
	Host string
	// These are names of apps, for the signed-out page and the error page. Told have confirmed the
	// notification. Asked were notified in frames, which confirms nothing. Retrying were not
	// reachable yet. Failed refused, or were given up. Untold cannot be notified.
	Told, Asked, Retrying, Failed, Untold []string
	// Unrecorded, on the same pages: it is not known yet which apps to notify.
	Unrecorded bool
	// Continue is the URL of a link on the signed-out page; empty: none. It must be registered for
	// an app.
	Continue string
	// Frames, Next, Timeout and OPFailed are those of a [FrontChannel], Timeout in milliseconds.
	Frames   []string
	Next     string
	Timeout  int64
	OPFailed bool
}

// maxReceipt is how many apps a group of the receipt names.
const maxReceipt = 20

// A Group is one part of the receipt: a sentence, the names of the apps it is about, and how many
// more there are; More is empty if there are none.
type Group struct {
	Text  string
	Names []string
	More  string
}

// A filledView has the fields of a template: those of the View, and its texts.
type filledView struct {
	View

	Heading string // what the page says, in short
	Message string // and at length
	SignOut string // label of the button that signs out: name "answer", value "sign_out"
	Stay    string // label of the question's other button: name "answer", value "stay"

	Continue template.URL // as the View's; native apps have schemes of their own
	NotYet   string       // says that apps could not be notified yet; empty: they could
	BackTo   string       // label of the link to Back

	Receipt []Group // which apps were notified; may be empty

	// For the front-channel page.
	GoOn       string // label of the link to Next
	FrameTitle string // title of each frame
	Seconds    int64  // Timeout in seconds, rounded up
	Progress   string // how many frames, {n}, of all have loaded
}

//go:embed pages/*.html
var builtIn embed.FS

// Pages are the pages of sign-out.
type Pages struct {
	templates map[PageName]*template.Template
	policy    string
	custom    bool // at least one template is custom

	// Sources for policies: the styles of all pages, and the scripts of the front-channel page.
	// Other pages have no scripts.
	styles, scripts []string
}

const (
	layoutFile  = "layout.html"  // defines "head" and "foot", common to the pages
	receiptFile = "receipt.html" // defines "receipt": which apps were notified
)

// LoadPages loads the built-in templates, and replaces those that have a file of the same name in
// a directory: question.html, signed_out.html, signed_in.html, error.html, front_channel.html,
// ended.html, and layout.html and receipt.html, which the built-in ones share. An empty dir means
// no directory.
//
// Templates are Go's html/template. They get the fields of [View], and Heading, Message, SignOut,
// Stay, BackTo and Receipt; for front_channel.html, see [Pages.FrontChannel]. LoadPages renders
// each with all texts, so that a broken template is an error now.
func LoadPages(dir string) (*Pages, error) {
	if dir == "" {
		return builtInPages()
	}
	return loadPages(dir)
}

// builtInPages are the same for all sites: to try them takes tens of milliseconds.
var builtInPages = sync.OnceValues(func() (*Pages, error) { return loadPages("") })

func loadPages(dir string) (*Pages, error) {
	p := &Pages{templates: make(map[PageName]*template.Template)}
	layout, err := p.source(dir, layoutFile)
	if err != nil {
		return nil, err
	}
	receipt, err := p.source(dir, receiptFile)
	if err != nil {
		return nil, err
	}
	for _, name := range pageNames {
		text, err := p.source(dir, string(name)+".html")
		if err != nil {
			return nil, err
		}
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
	if dir != "" && !p.custom {
		return nil, fmt.Errorf("directory %s has none of the templates", dir)
	}
	return p, p.renderAll()
}

// source returns the text of a template: the directory's, or the built-in one.
func (p *Pages) source(dir, file string) (string, error) {
	if dir != "" {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			p.custom = true
			return string(content), err
		}
	}
	content, err := builtIn.ReadFile("pages/" + file)
	return string(content), err
}

// customSources lets the pages load images and fonts if templates are custom.
const customSources = "; img-src 'self' data:; font-src 'self'"

// renderAll renders each page with all texts, and sets the policies for the styles and scripts
// found.
func (p *Pages) renderAll() error {
	for _, tag := range languages {
		for _, view := range samples(tag.String()) {
			body, err := p.Render(view)
			if err != nil {
				return err
			}
			p.styles = append(p.styles, hashSources(styleElement, body)...)
			if view.Page == PageFrontChannel {
				p.scripts = append(p.scripts, hashSources(scriptElement, body)...)
			}
		}
	}
	p.styles, p.scripts = sortedSet(p.styles), sortedSet(p.scripts)
	p.policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
	if p.custom {
		p.styles = append([]string{"'self'"}, p.styles...)
		p.policy += customSources
	}
	// There is no form-action: browsers apply it to the redirect to the app after the form as
	// well.
	p.policy += "; style-src " + sourceList(p.styles)
	return nil
}

// samples returns views of all kinds.
func samples(language string) []View {
	var views []View
	for _, name := range pageNames {
		for _, problem := range problems {
			for _, client := range []string{"", "Shop"} {
				views = append(views, View{
					Page: name, Language: language, Issuer: "op.example.com", Client: client,
					Action: "/", Confirmation: "x", Problem: problem, Detail: "state",
					Unrecorded: true, Continue: "/",
					Told: []string{"Shop"}, Asked: []string{"Forum"}, Retrying: []string{"Mail"},
					Failed: []string{"Chat"}, Untold: []string{"Wiki"},
					Frames: []string{"https://rp.example.com/"}, Next: "/", Timeout: 1000,
					OPFailed: problem == ProblemOPFailed,
				})
			}
		}
	}
	return views
}

var (
	styleElement  = regexp.MustCompile(`(?is)<style[^>]*>(.*?)</style>`)
	scriptElement = regexp.MustCompile(`(?is)<script[^>]*>(.*?)</script>`)
)

// hashSources returns the sources for the inline elements of a page.
func hashSources(element *regexp.Regexp, body []byte) []string {
	var sources []string
	for _, found := range element.FindAllSubmatch(body, -1) {
		sources = append(sources, hashSource(found[1]))
	}
	return sources
}

func sortedSet(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// ContentSecurityPolicy returns the policy of all pages but the front-channel page.
func (p *Pages) ContentSecurityPolicy() string { return p.policy }

// Render returns a page as HTML in UTF-8. It fails only if a custom template does.
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

// filled adds the texts to a view.
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
	f.Continue = template.URL(view.Continue) // #nosec G203 -- checked when it was registered
	if view.Unrecorded {
		f.NotYet = t.notYet
	}
	f.Heading, f.Message = t.headingAndMessage(view)
	f.Message = t.fill(view, f.Message)
	if view.Problem == ProblemOPFailed || view.Problem == ProblemExpired {
		f.SignOut = t.again
	}
	return f
}

// headingAndMessage returns the texts of a page, without the names.
func (t text) headingAndMessage(view View) (heading, message string) {
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
	case PageEnded:
		return t.signedOut, t.ended
	case PageError:
	}
	problem := t.problems[view.Problem]
	return problem.heading, problem.message
}

// fill puts names into a text. {at} and {state} stand for texts that may have names.
func (t text) fill(view View, message string) string {
	at := t.at
	if view.Host == "" {
		at = ""
	}
	state := t.unchanged
	switch view.Signed {
	case SignedIn:
		state = t.stillIn
	case SignedOut:
		state = t.alreadyOut
	}
	message = strings.NewReplacer("{at}", at, "{state}", state).Replace(message)
	names := strings.NewReplacer(
		"{issuer}", view.Issuer, "{client}", view.Client, "{host}", view.Host)
	return names.Replace(message)
}

// receipt returns which apps were notified.
func receipt(view View, t text) []Group {
	var groups []Group
	for _, group := range []Group{
		{Text: t.notified, Names: view.Told},
		{Text: t.askedInFrames, Names: view.Asked},
		{Text: t.retrying, Names: view.Retrying},
		{Text: t.failed, Names: view.Failed},
		{Text: t.notNotifiable, Names: view.Untold},
	} {
		if n := len(group.Names) - maxReceipt; n > 0 {
			group.Names = group.Names[:maxReceipt]
			group.More = strings.ReplaceAll(t.more, "{n}", strconv.Itoa(n))
		}
		if len(group.Names) > 0 {
			groups = append(groups, group)
		}
	}
	return groups
}
