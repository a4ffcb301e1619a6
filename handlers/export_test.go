package handlers

import (
	"bytes"
	"context"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// What the tests beside this package use of it.

const AskTries = askTries

const AskAgainIn = askAgainIn

const MaxAsked = maxAsked

func (x *documents) Flights() int { return x.flights }

func (x *Provider) AskAt(path string, r *http.Request, next caddyhttp.Handler) (<-chan struct{}, bool) {
	return x.askAt(path, r, next)
}

const MaxSegment = maxSegment

func (x *OP) OwnPlace(issuer string) string { return x.ownDocumentPath(issuer) }

const MaxViews = maxViews

func (x *OP) Views() []*OP { return x.views }

func (x *OP) WithPlaces(paths []string) (*OP, error) { return x.withDocumentPaths(paths) }

func (x *OP) DiscoveryURL() string { return x.discoveryURL() }

const MetadataMaxAge = metadataMaxAge

func (x *Provider) Env() *Env { return &x.env }

func (x *Provider) Known() *atomic.Pointer[OP] { return &x.known }

func (x *Provider) Documents() *documents { return &x.documents }

func (x *Provider) Target(r *http.Request) *OP { return x.target(r) }

func (x *Paths) Prefix() *atomic.Pointer[string] { return &x.prefix }

func (x *Stripped) From() *urlPath { return &x.from }

func (x *Stripped) To() *urlPath { return &x.to }

func (x *Stripped) Prefix() string { return x.prefix }

func (x *subRequest) Request() *http.Request { return x.request }

func (x *subRequest) Cancel() context.CancelFunc { return x.cancel }

func (x *OPResponse) Body() *bytes.Buffer { return &x.body }
