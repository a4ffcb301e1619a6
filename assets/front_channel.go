package assets

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxFrameSources is how long the list of a page's frames may be in its header, in bytes; a longer one is of schemes only.
const maxFrameSources = 6 << 10

// A FrontChannel is a page that tells apps of a sign-out, each in a frame, and goes on (Front-Channel Logout 1.0, section 2).
type FrontChannel struct {
	// Language is that of the texts (BCP 47), as ChooseLanguage returns it. Issuer is the host of the OP.
	Language, Issuer string
	// Frames are the addresses, absolute https or http URLs, with iss and sid where those are sent.
	Frames []string
	// Next is where the browser goes when all frames have loaded or failed, or Timeout is over: a path of the issuer's host.
	Next    string
	Timeout time.Duration
}

// ErrFrame says that an address cannot be that of a frame.
var ErrFrame = errors.New("invalid address of a frame")

// FrontChannel returns the page, as HTML in UTF-8, and the value of its Content-Security-Policy header, which allows the frames' origins
// and nothing else. A template of one's own gets Frames, Next and Timeout, in milliseconds; its scripts are allowed if they are inline.
func (p *Pages) FrontChannel(f FrontChannel) (body []byte, policy string, err error) {
	sources, err := frameSources(f.Frames)
	if err != nil {
		return nil, "", err
	}
	body, err = p.Render(View{
		Page: PageFrontChannel, Language: f.Language, Issuer: f.Issuer, Frames: f.Frames, Next: f.Next, Timeout: f.Timeout.Milliseconds(),
	})
	if err != nil {
		return nil, "", err
	}
	policy = p.policy + "; frame-src " + strings.Join(sources, " ")
	if scripts := scriptsOf(body); len(scripts) > 0 {
		policy += "; script-src " + strings.Join(scripts, " ")
	}
	return body, policy, nil
}

// frameSources are the origins of the frames, as a policy names them (Content Security Policy Level 3, section 2.3.1).
func frameSources(frames []string) ([]string, error) {
	var origins, schemes []string
	for _, frame := range frames {
		u, err := url.Parse(frame)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(u.Host, " ;,'\"") {
			return nil, ErrFrame
		}
		origins = append(origins, u.Scheme+"://"+u.Host)
		schemes = append(schemes, u.Scheme+":")
	}
	slices.Sort(origins)
	if origins = slices.Compact(origins); len(strings.Join(origins, " ")) <= maxFrameSources {
		return origins, nil
	}
	slices.Sort(schemes)
	return slices.Compact(schemes), nil
}

var scriptElement = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// scriptsOf returns the sources of the inline scripts of a page.
func scriptsOf(body []byte) []string {
	var sources []string
	for _, script := range scriptElement.FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(script[1])
		sources = append(sources, fmt.Sprintf("'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:])))
	}
	return sources
}
