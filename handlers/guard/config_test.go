package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/handlers/guard"
)

func TestMistakesOfTheConfigurationAreNamed(t *testing.T) {
	tests := map[string]struct {
		guard *guard.Guard
		want  string // empty: it is right
	}{
		"strip":                  {&guard.Guard{OnLogout: guard.Strip}, ""},
		"401":                    {&guard.Guard{OnLogout: guard.Deny, Adopt: guard.MaxAdopt}, ""},
		"redirect":               {&guard.Guard{OnLogout: guard.Redirect, RedirectURL: "/out", AppCookies: []string{"a.b_c-d"}}, ""},
		"redirect without URL":   {&guard.Guard{OnLogout: guard.Redirect}, "needs a URL"},
		"strip with URL":         {&guard.Guard{OnLogout: guard.Strip, RedirectURL: "/out"}, "strip takes no URL"},
		"another action":         {&guard.Guard{OnLogout: "403"}, "must be strip, 401 or redirect"},
		"no action":              {&guard.Guard{}, "must be strip, 401 or redirect"},
		"a name with a space":    {&guard.Guard{OnLogout: guard.Strip, AppCookies: []string{"a b"}}, "'a b' is no name of a cookie"},
		"an empty name":          {&guard.Guard{OnLogout: guard.Strip, IgnoreCookies: []string{"a", ""}}, "'' is no name of a cookie"},
		"a long name":            {&guard.Guard{OnLogout: guard.Strip, AppCookies: []string{strings.Repeat("a", 1025)}}, "too long"},
		"a certificate's name":   {&guard.Guard{OnLogout: guard.Strip, AppCookies: []string{certificateOf("__Host-a")}}, "of oidc_guard itself"},
		"adopt below zero":       {&guard.Guard{OnLogout: guard.Strip, Adopt: -time.Second}, "adopt is -1s"},
		"adopt for over a year":  {&guard.Guard{OnLogout: guard.Strip, Adopt: guard.MaxAdopt + 1}, "must be 0 to 400 days"},
		"several mistakes, last": {&guard.Guard{OnLogout: "x", Adopt: -1}, "adopt"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.guard.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
