package oidcsession

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestRecipesAreValidForEveryOP(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("docs", "recipes.md"))
	if err != nil {
		t.Fatal(err)
	}
	clients := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(clients, []byte(regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(string(document))[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(document), "\n## ")[1:]
	for _, op := range []string{"oidc-provider", "Zitadel", "Ory Hydra", "Dex", "Authelia", "django-oidc-provider", "Keycloak"} {
		t.Run(op, func(t *testing.T) {
			recipes := 0
			for _, section := range sections {
				if !strings.HasPrefix(section, op) {
					continue
				}
				for _, fence := range regexp.MustCompile("(?s)```caddyfile\n(.*?)```").FindAllStringSubmatch(section, -1) {
					recipes++
					if err := validate(t, strings.Replace(fence[1], "clients.json", clients, 1)); err != nil {
						t.Errorf("%v in\n%s", err, fence[1])
					}
				}
			}
			if recipes == 0 {
				t.Error("there is no recipe")
			}
		})
	}
}
