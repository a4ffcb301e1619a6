package handlerstest

// ScriptTargets are addresses that lead browsers astray.
var ScriptTargets = []string{
	"javascript:alert(1)", "JavaScript://rp.example.com/%0aalert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://rp.example.com/x", "about:blank",
	"//evil", `\\evil`, "https:evil", "https:/evil", "https:///evil", "///evil", `/\evil`, `\/evil`, "/%09//evil", "/bye", "bye", "", "?x", "https://",
	"https://rp.example.com/#", "https://rp.example.com/#x", "https://user@rp.example.com/", "https://user:pw@rp.example.com/", "https://rp.example.com/a b",
	"https://rp.example.com/\r\nSet-Cookie: a=b", "https://rp.example.com/\t", `https://rp.example.com\@evil.example/`, "https://bücher.example/", "http://rp.example.com/",
	"http://localhost.evil.example/", "http://127.0.0.1.evil.example/", "https://rp.example.com/\x00", "https://rp.example.com/%zz", "https://rp.example.com:port/", "app:/x",
	"https://@rp.example.com/", "https://:443/", "https://%C3%BC.example/", "https://[::1%25lo]/", "com.example.app://user@host/", "com.example.app:/#",
}
