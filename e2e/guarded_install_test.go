package e2e

import (
	"os"
	"os/exec"
)

// installedApps is where testdata/apps/install installs.
const installedApps = ".apps"

// installApp installs what an app needs, unless it is there.
func installApp(name string) error {
	cmd := exec.Command("bash", "testdata/apps/install", name)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
