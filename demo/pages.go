package main

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
)

//go:embed pages
var pageFiles embed.FS

//go:embed rp_iframe.js
var rpIframeScript []byte

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// writePage answers with a page that no cache may keep, under a Content-Security-Policy.
func writePage(w http.ResponseWriter, name, policy string, data any) {
	writePageStatus(w, http.StatusOK, name, policy, data)
}

func writePageStatus(w http.ResponseWriter, status int, name, policy string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// errorPolicy lets an app frame its own error pages: its hidden prompt=none iframe may end on one.
const errorPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'self'"

// writeError says what went wrong, and what to do about it.
func writeError(w http.ResponseWriter, status int, advice string, err error) {
	writePageStatus(w, status, "error.html", errorPolicy, map[string]any{"Error": err.Error(), "Advice": advice})
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "pages/style.css")
}

func serveRPIframeScript(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = w.Write(rpIframeScript)
}

func serveRPPageScript(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, pageFiles, "pages/rp_page.js")
}
