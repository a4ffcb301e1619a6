package exchange

import (
	"bytes"
	"strings"
	"testing"
)

func TestFormsAreReadAsBrowsersReadThem(t *testing.T) {
	tests := map[string]struct {
		page   string
		action string
		state  string
		edited string // of the first form, with "S"
	}{
		"a page that sends itself": {
			`<html><body onload="document.forms[0].submit()"><form method="post" action="https://rp.example/cb"><input type="hidden" name="state" value="x"/><input name=code value=c></form></body></html>`,
			"https://rp.example/cb", "x",
			`<html><body onload="document.forms[0].submit()"><form method="post" action="https://rp.example/cb"><input type="hidden" name="state" value="x"/><input name=code value=c><input type="hidden" name="session_state" value="S"/></form></body></html>`,
		},
		"escaped values": {
			`<FORM METHOD=POST ACTION="https://rp.example/cb?a=1&amp;b=2"><INPUT NAME="state" VALUE="&quot;&lt;&#39;&amp;">`,
			"https://rp.example/cb?a=1&b=2", `"<'&`,
			`<FORM METHOD=POST ACTION="https://rp.example/cb?a=1&amp;b=2"><INPUT NAME="state" VALUE="&quot;&lt;&#39;&amp;"><input type="hidden" name="session_state" value="S"/>`,
		},
		"a field of the OP's own": {
			`<form method=post action=/a><input name=session_state value=own><input name=state value=x></form>`, "/a", "x",
			`<form method=post action=/a><input name=state value=x><input type="hidden" name="session_state" value="S"/></form>`,
		},
		"a field of the OP's own at the end": {
			`<form method=post action=/a><input name=state value=x><input name=session_state value=own></form>`, "/a", "x",
			`<form method=post action=/a><input name=state value=x><input type="hidden" name="session_state" value="S"/></form>`,
		},
		"forms in scripts and comments are none": {
			`<script>"<form method=post action=/evil>"</script><!-- <form method=post action=/evil> --><form method=post action=/a><input name=state value=x>`, "/a", "x",
			`<script>"<form method=post action=/evil>"</script><!-- <form method=post action=/evil> --><form method=post action=/a><input name=state value=x><input type="hidden" name="session_state" value="S"/>`,
		},
		"fields outside are not its own": {
			`<input name=state value=evil><form method=post action=/a><input name=state value=x></form><input name=state value=evil>`, "/a", "x",
			`<input name=state value=evil><form method=post action=/a><input name=state value=x><input type="hidden" name="session_state" value="S"/></form><input name=state value=evil>`,
		},
		"a form without fields": {
			`<form method=post action=/a></form>`, "/a", "", `<form method=post action=/a><input type="hidden" name="session_state" value="S"/></form>`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			forms := ReadForms([]byte(tt.page))
			if len(forms) != 1 || forms[0].Action != tt.action || forms[0].Values.Get("state") != tt.state {
				t.Fatalf("read %+v", forms)
			}
			if edited := string(forms[0].With([]byte(tt.page), "S")); edited != tt.edited {
				t.Errorf("edited to\n%s\nwant\n%s", edited, tt.edited)
			}
		})
	}
}

func TestFormsThatAreNotPostedAreNoResponses(t *testing.T) {
	for _, page := range []string{`<form action=/a><input name=state value=x></form>`, `<form method=get action=/a>`, `no form`, ``, `<form`} {
		if forms := ReadForms([]byte(page)); len(forms) != 0 {
			t.Errorf("%q: %+v", page, forms)
		}
	}
}

func FuzzReadForms(f *testing.F) {
	f.Add([]byte(`<form method=post action=https://rp.example/cb><input name=state value="&quot;"><input name=session_state value=y></form>`))
	f.Add([]byte(`<form method=post><form method=post><input name=a/><textarea></form>`))
	f.Add([]byte("<form method=post><input name=\x00 value=\xff><plaintext><input name=x>"))
	f.Fuzz(func(t *testing.T, page []byte) {
		for _, form := range ReadForms(page) {
			edited := form.With(page, "A-Z.09_")
			if len(form.own) == 0 && !bytes.Equal(bytes.Replace(edited, []byte(`<input type="hidden" name="session_state" value="A-Z.09_"/>`), nil, 1), page) &&
				!strings.Contains(string(page), "A-Z.09_") {
				t.Errorf("%q became %q", page, edited)
			}
		}
	})
}
