package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/oidc-session/caddy-oidc-session"
)

// startCaddy runs the Caddyfile in this process, on the addresses listen only. environment is what
// the Caddyfile's {$NAME} placeholders stand for. Whatever Caddy and the plugin keep goes to
// directory; the user's own Caddy, its admin endpoint, its storage and its saved configuration are
// not touched.
func startCaddy(caddyfile, directory string, listen []string, environment map[string]string) error {
	environment["ADMIN_ADDRESS"] = "off"
	environment["XDG_DATA_HOME"] = filepath.Join(directory, "data")
	environment["XDG_CONFIG_HOME"] = filepath.Join(directory, "config")
	for name, value := range environment {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	config, err := adapt(caddyfile)
	if err != nil {
		return err
	}
	if err := confine(config, listen); err != nil {
		return err
	}
	configJSON, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("writing Caddy's configuration: %w", err)
	}
	if err := caddy.Load(configJSON, true); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	return nil
}

// adapt reads a Caddyfile, as "caddy adapt" does.
func adapt(caddyfile string) (*caddy.Config, error) {
	text, err := os.ReadFile(caddyfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w (start the demo with: go run -C demo .)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Caddyfile: %w", err)
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": caddyfile})
	if err != nil {
		return nil, fmt.Errorf("adapting the Caddyfile: %w", err)
	}
	config := new(caddy.Config)
	if err := json.Unmarshal(adapted, config); err != nil {
		return nil, fmt.Errorf("reading the adapted Caddyfile: %w", err)
	}
	return config, nil
}

// confine changes what the Caddyfile leaves at its defaults: storage, saved configuration, log
// level and listeners.
func confine(config *caddy.Config, listen []string) error {
	persist := false
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: &persist}}
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "WARN"}, Exclude: []string{"admin"}}, // it warns that it is off
	}}
	storage := map[string]any{"root": caddy.AppDataDir()} // which follows XDG_DATA_HOME; the default storage was made before
	config.StorageRaw = caddyconfig.JSONModuleObject(storage, "module", "file_system", nil)

	app := new(caddyhttp.App)
	if err := json.Unmarshal(config.AppsRaw["http"], app); err != nil {
		return fmt.Errorf("reading the adapted Caddyfile: %w", err)
	}
	if len(app.Servers) != 1 {
		return fmt.Errorf("the Caddyfile makes %d servers; the demo needs all its sites on one port", len(app.Servers))
	}
	app.GracePeriod = caddy.Duration(time.Second)
	for _, server := range app.Servers {
		server.Listen = listen
		server.Protocols = []string{"h1"} // the others need TLS; Caddy would warn
	}
	config.AppsRaw["http"] = caddyconfig.JSON(app, nil)
	return nil
}
