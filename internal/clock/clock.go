// Package clock is the time of all that the plugin does in one process.
package clock

import "time"

// Now returns the current time. Tests of the whole product move it, before a configuration is
// loaded.
var Now = time.Now
