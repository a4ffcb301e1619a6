// Package exchange reads requests and changes responses as they pass between a browser and the OP.
//
//   - [Observe] is the one way in which a response is touched: it decides at the final header
//     whether the body streams on or is held for an edit. [DocumentEdit] is that for JSON.
//   - [ReadForm], [ReadBody] and [ReadSubmission] read a request, and leave its body as it was.
//   - [ReadForms] finds the form of a response in an HTML page.
//   - The rest reads single header fields: Fetch Metadata, cookies, content codings.
//
// It knows HTTP, and of OAuth only the names of parameters; it imports nothing of this module.
// Start with exchange.go.
package exchange
