package assets

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of the page that tells apps in frames.
const (
	// MaxFrames is how many frames the page may have.
	MaxFrames = 512

	maxTimeout      = 30 * time.Second
	maxFrameSources = 6 << 10 // bytes of frame-src: servers and proxies take header lines of 8 KiB
)

// A FrontChannel is a page that tells apps of a sign-out, each in a frame, and goes on (Front-Channel Logout 1.0, section 2).
type FrontChannel struct {
	// Language is that of the texts (BCP 47), as ChooseLanguage returns it. Issuer is the name of the OP.
	Language, Issuer string
	// Frames are the addresses, with iss and sid where those are sent: what [CanFrame] holds true of, at most [MaxFrames].
	Frames []string
	// Next is where the browser goes when all frames have loaded or failed, or Timeout is over: a path, or an absolute https or
	// http URL. Timeout is over 0 and at most 30 s.
	//
	// The script of the page sees to that. Browsers without scripts find a refresh, whose time they count from when the page has
	// loaded with all of its frames, so that one which hangs holds them up; the link to Next is their way on.
	Next    string
	Timeout time.Duration
	// OPFailed: the OP's own session may go on. The page does not say that it has ended.
	OPFailed bool
}

// Errors of a [FrontChannel]. They do not repeat the address, which names a session.
var (
	// ErrFrame says that an address cannot be that of a frame: [CanFrame] does not hold.
	ErrFrame = errors.New("invalid address of a frame")
	// ErrTooManyFrames says that there are more frames than a page may have.
	ErrTooManyFrames = errors.New("too many frames")
	// ErrNext says that the browser cannot be sent on to an address.
	ErrNext = errors.New("invalid address to go on to")
	// ErrTimeout says that the time to wait for frames is none, or over the bound.
	ErrTimeout = errors.New("invalid time to wait for frames")
)

// FrontChannel returns the page, as HTML in UTF-8, and the value of its Content-Security-Policy header, which allows the frames' origins
// and nothing else. It fails with one of the errors above, or where a template of one's own does.
//
// A frame whose app refuses to be framed, or does not answer, loads as well, or the time is over: who was told is not known
// (section 4.1), only who was to be.
//
// A template of one's own gets Frames, Next, Timeout (milliseconds), Seconds (the same, rounded up), GoOn (a label for a link to
// Next), FrameTitle and Progress (a text in which {n} stands for how many frames have loaded). The built-in script is part of the built-in template; another may have inline scripts of its own. These
// may not hold any of the fields, since they are allowed by the hash that they had when the template was loaded: they read what
// they need from attributes, as the built-in one does.
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
		Page: PageFrontChannel, Language: f.Language, Issuer: f.Issuer, Frames: f.Frames, Next: f.Next,
		Timeout: max(1, f.Timeout.Milliseconds()), OPFailed: f.OPFailed,
	})
	if err != nil {
		return nil, "", err
	}
	return body, p.framePolicy(sources), nil
}

// framePolicy is the policy of the page. Its scripts are those that were there when the templates were loaded, not those of the
// body: what gets into the body does not run.
func (p *Pages) framePolicy(sources []string) string {
	styles := p.styles
	if p.own {
		styles = append([]string{"'self'"}, styles...)
	}
	policy := "default-src 'none'; script-src " + sourceList(p.scripts) + "; style-src " + sourceList(styles) + "; frame-src " + sourceList(sources)
	if p.own {
		policy += "; img-src 'self' data:; font-src 'self'"
	}
	return policy + "; base-uri 'none'; frame-ancestors 'none'"
}

// sourceList writes a source list (Content Security Policy Level 3, section 2.3.1).
func sourceList(sources []string) string {
	if len(sources) == 0 {
		return "'none'"
	}
	return strings.Join(sources, " ")
}

// isNext reports whether an address is a path, or an absolute https or http URL.
func isNext(next string) bool {
	u, err := url.Parse(next)
	if err != nil || u.User != nil || strings.Contains(next, `\`) { // browsers read a backslash as a slash
		return false
	}
	if u.Scheme == "" {
		return strings.HasPrefix(next, "/") && !strings.HasPrefix(next, "//") // two slashes: another host
	}
	return isWeb(u)
}

func isWeb(u *url.URL) bool {
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != ""
}

// frameSources are the origins of the frames, or, where these are too many for a header, their schemes.
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
		schemes = append(schemes, "https:") // an app may send its http address on to https
		slices.Sort(schemes)
	}
	return schemes, nil
}

// CanFrame reports whether an address can be that of a frame: it is an absolute https or http URL without user information, whose origin
// a Content-Security-Policy can name. That has words for hosts of letters, digits, hyphens and dots alone: not for an IPv6 address,
// nor for a name with an underscore.
func CanFrame(address string) bool {
	_, _, err := frameOrigin(address)
	return err == nil
}

// hostPart is what a host-source has for a host, but for wildcards (Content Security Policy Level 3, section 2.3.1). Go's parser lets
// a semicolon and a comma through, which would end the directive or the policy.
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

var scriptElement = regexp.MustCompile(`(?is)<script[^>]*>(.*?)</script>`)

// scriptsOf returns the sources of the inline scripts of a page.
func scriptsOf(body []byte) []string {
	var sources []string
	for _, script := range scriptElement.FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(script[1])
		sources = append(sources, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return sources
}
