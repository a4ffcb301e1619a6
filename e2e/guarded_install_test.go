package e2e

import (
	"fmt"
	"os"
	"os/exec"
)

// installedApps is where testdata/apps/install installs.
const installedApps = ".apps"

// installApp installs what an app needs, unless it is there.
func installApp(name string) error {
	cmd := exec.Command("bash", "testdata/apps/install", name)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("testdata/apps/install %s: %w", name, err)
	}
	return nil
}
