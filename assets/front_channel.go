package assets

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of the front-channel page.
const (
	// MaxFrames is how many frames the page may have.
	MaxFrames = 512

	maxTimeout      = 30 * time.Second
	maxFrameSources = 6 << 10 // bytes of frame-src: servers accept header lines of 8 KiB
)

// A FrontChannel is a page that notifies apps of a sign-out, each in a frame, and then continues
// (Front-Channel Logout 1.0, section 2).
type FrontChannel struct {
	// Language is that of the texts (BCP 47), as [ChooseLanguage] returns it. Issuer is the name
	// of the OP.
	Language, Issuer string
	// Frames are the URLs, including iss and sid if the app wants them. There are at most
	// [MaxFrames], and each must satisfy [CanFrame].
	Frames []string
	// Next is where the browser goes once all frames have loaded or failed, or after Timeout: a
	// path, or an absolute https or http URL. Timeout is positive and at most 30 s.
	//
	// The page's script does that. Browsers without scripts have a refresh instead. They count its
	// time from when all frames have loaded, so that a frame that hangs delays it; the page has a
	// link to Next as well.
	Next    string
	Timeout time.Duration
	// OPFailed: the OP's own session may not have ended, and the page does not say that it has.
	OPFailed bool
}

// Errors of a [FrontChannel]. They do not repeat the URL, which may have a session's ID.
var (
	// ErrFrame says that a URL does not satisfy [CanFrame].
	ErrFrame = errors.New("invalid address of a frame")
	// ErrTooManyFrames says that there are more than [MaxFrames] frames.
	ErrTooManyFrames = errors.New("too many frames")
	// ErrNext says that Next is neither a path nor an https or http URL.
	ErrNext = errors.New("invalid address to go on to")
	// ErrTimeout says that Timeout is not positive or too long.
	ErrTimeout = errors.New("invalid time to wait for frames")
)

// FrontChannel returns the page, as HTML in UTF-8, and its Content-Security-Policy, which allows
// only the frames' origins. It fails with one of the errors above, or if a custom template fails.
//
// A frame also loads if its app refuses to be framed. Which apps were notified is therefore
// unknown (section 4.1).
//
// A custom template gets Frames, Next, Timeout (milliseconds), Seconds (the same, rounded up),
// GoOn (a label for a link to Next), FrameTitle, and Progress (a text in which {n} stands for the
// number of frames that have loaded). It may have inline scripts of its own. They are allowed by
// the hash that they had when the template was loaded, so they must not contain any of the fields.
// Like the built-in script, they can read them from attributes.
func (p *Pages) FrontChannel(f FrontChannel) (body []byte, policy string, err error) {
	if len(f.Frames) > MaxFrames {
		return nil, "", ErrTooManyFrames
	}
	if f.Timeout <= 0 || f.Timeout > maxTimeout {
		return nil, "", ErrTimeout
	}
	if !isNext(f.Next) {
		return nil, "", ErrNext
	}
	sources, err := frameSources(f.Frames)
	if err != nil {
		return nil, "", err
	}
	body, err = p.Render(View{
		Page: PageFrontChannel, Language: f.Language, Issuer: f.Issuer, OPFailed: f.OPFailed,
		Frames: f.Frames, Next: f.Next, Timeout: max(1, f.Timeout.Milliseconds()),
	})
	if err != nil {
		return nil, "", err
	}
	return body, p.framePolicy(sources), nil
}

// framePolicy returns the policy of the page. It allows the scripts that the template had when it
// was loaded, so that a script injected into the body does not run.
func (p *Pages) framePolicy(sources []string) string {
	policy := "default-src 'none'; script-src " + sourceList(p.scripts) +
		"; style-src " + sourceList(p.styles) + "; frame-src " + sourceList(sources)
	if p.custom {
		policy += customSources
	}
	return policy + "; base-uri 'none'; frame-ancestors 'none'"
}

// sourceList returns a source list (Content Security Policy Level 3, section 2.3.1).
func sourceList(sources []string) string {
	if len(sources) == 0 {
		return "'none'"
	}
	return strings.Join(sources, " ")
}

// isNext reports whether an address is a path or an absolute https or http URL.
func isNext(next string) bool {
	u, err := url.Parse(next)
	if err != nil || u.User != nil || strings.Contains(next, `\`) { // a slash to browsers
		return false
	}
	if u.Scheme == "" {
		return strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") // another host
	}
	return isWeb(u)
}

func isWeb(u *url.URL) bool {
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

// frameSources returns the origins of the frames, or their schemes if the origins do not fit into
// a header.
func frameSources(frames []string) ([]string, error) {
	var origins, schemes []string
	for _, frame := range frames {
		scheme, origin, err := frameOrigin(frame)
		if err != nil {
			return nil, err
		}
		origins = append(origins, origin)
		schemes = append(schemes, scheme+":")
	}
	slices.Sort(origins)
	if origins = slices.Compact(origins); len(strings.Join(origins, " ")) <= maxFrameSources {
		return origins, nil
	}
	slices.Sort(schemes)
	schemes = slices.Compact(schemes)
	if !slices.Contains(schemes, "https:") {
		schemes = append(schemes, "https:") // an app may redirect from http to https
		slices.Sort(schemes)
	}
	return schemes, nil
}

// CanFrame reports whether a frame can have the address. It must be an absolute https or http URL
// without user information, and its host must be one that a Content-Security-Policy can name: only
// letters, digits, hyphens and dots, so neither an IPv6 address nor a name with an underscore.
func CanFrame(address string) bool {
	_, _, err := frameOrigin(address)
	return err == nil
}

// hostPart matches the host-part of a host-source, without wildcards (Content Security Policy
// Level 3, section 2.3.1). Go's URL parser accepts a semicolon and a comma, which would end the
// directive or the policy.
var hostPart = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.?$`)

// frameOrigin returns the scheme of a frame, and its origin as a policy names it.
func frameOrigin(frame string) (scheme, origin string, err error) {
	u, err := url.Parse(frame)
	if err != nil || !isWeb(u) || u.User != nil {
		return "", "", ErrFrame
	}
	host := strings.ToLower(u.Hostname())
	if !hostPart.MatchString(host) {
		return "", "", ErrFrame
	}
	origin = u.Scheme + "://" + host
	if u.Port() == "" {
		return u.Scheme, origin, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return "", "", ErrFrame
	}
	if u.Scheme == "https" && port == 443 || u.Scheme == "http" && port == 80 {
		return u.Scheme, origin, nil
	}
	return u.Scheme, origin + ":" + strconv.FormatUint(port, 10), nil
}
