package e2e

import "testing"

// guardedApps are the apps that the guard is tried with.
func guardedApps() []guardedApp {
	return []guardedApp{
		expressOpenIDConnect("eoc", "code", "appSession"),
		expressOpenIDConnect("eoc-chunked", "chunked", "appSession.0"),
		expressOpenIDConnect("eoc-id-token", "id_token", "appSession"),
		phpLikeApp(),
		cookieSessionApp(),
		singlePageApp(),
		scsApp(),
		gorillaApp(),
		apacheApp("server-cache"),
		apacheApp("client-cookie"),
		flaskApp(),
		djangoApp(),
		oauth2ProxyApp(),
	}
}

func expressOpenIDConnect(name, mode, cookie string) guardedApp {
	app := nodeApp(name, "express_openid_connect.mjs", cookie, mode)
	if mode == "id_token" {
		app.responseType = "id_token"
	}
	return app
}

func phpLikeApp() guardedApp { return nodeApp("php-like", "php_like.mjs", "PHPSESSID") }

func cookieSessionApp() guardedApp { return nodeApp("cookie-session", "cookie_session.mjs", "cs") }

func singlePageApp() guardedApp { return nodeApp("single-page", "single_page.mjs", "spasid") }

// nodeApp is one of testdata/apps/node.
func nodeApp(name, script, cookie string, args ...string) guardedApp {
	return guardedApp{
		name: name, callback: "/callback", signIn: "/login", private: "/private", cookie: cookie,
		start: func(t *testing.T, site, issuer, ca string) string {
			t.Helper()
			environment := []string{"NODE_EXTRA_CA_CERTS=" + ca}
			return "reverse_proxy " + startNode(t, environment, "testdata/apps/node/"+script, append([]string{issuer, site, name}, args...)...)
		},
	}
}
