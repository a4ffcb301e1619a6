//go:build race

package notify

const raceEnabled = true // times are not looked at
