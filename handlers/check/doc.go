// Package check is the OP iframe of OpenID Connect Session Management 1.0 (section 3.2): the check
// page that RPs load in a hidden frame, and the answers to the questions of that page.
//
// A request enters at [Endpoint.Serve] (endpoint.go). GET gets the page; POST is a question, which
// limiter.go bounds and verdict.go answers.
//
// The package may import the kernel (package handlers), the packages on its ground floor (browser,
// clients, opkeys), and assets.
package check
