// Package overview is what operators are shown of a site as a whole: what is served beside its OP
// once that is discovered (summary.go), requests that a proxy in front has changed (arrivals.go),
// and the requests that must come to the site, which package placement compares with its routes
// (expected.go).
//
// The package stands above all endpoints and may import each of them. Nothing of it changes a
// response. Start reading at [Summary.Discovered].
package overview
