package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// startCaddy starts Caddy with the plugin, whose files are in a directory.
func startCaddy(ctx context.Context, dir, caddyfile string) (*process, error) {
	program := filepath.Join(filepath.Dir(dir), "caddy")
	if err := buildCaddy(ctx, program); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	env := []string{"HOME=" + data, "XDG_DATA_HOME=" + data, "XDG_CONFIG_HOME=" + data}
	server, err := startProcess(filepath.Join(dir, "log"), env, program, "run", "--config", config)
	if err != nil {
		return nil, fmt.Errorf("starting Caddy: %w", err)
	}
	return server, nil
}

// buildCaddy builds Caddy with the plugin, unless another part of the benchmark has.
func buildCaddy(ctx context.Context, program string) error {
	if _, err := os.Stat(program); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/oidc-session/caddy-oidc-session/cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return nil
}

// awaitCaddy waits until a Caddy that was started answers.
func (p *process) awaitCaddy(ctx context.Context, answers func() bool) error {
	if err := p.await(ctx, answers); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	return nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// freePorts finds ports that nobody listens on.
func freePorts(ports []int) error {
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close() // all at once: each is to be another one
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}
