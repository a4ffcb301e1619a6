package notify

import "time"

const (
	firstDelay = time.Second
	lastDelay  = 10 * time.Minute
	jitter     = 0.2 // of the delay, to either side
)

// retryDelay is how long after a failed attempt the next one is due (Back-Channel Logout 1.0,
// section 2.5, asks for a delay). Attempts count from 1; the delay doubles from a second up to ten
// minutes. The random number, in [0,1), shifts it by up to a fifth to either side, so that what
// failed together does not come back together. It is never below retryAfter, which the client
// asked for.
func retryDelay(attempt int, retryAfter time.Duration, random float64) time.Duration {
	delay := firstDelay
	for i := 1; i < attempt && delay < lastDelay; i++ {
		delay *= 2
	}
	delay = min(delay, lastDelay)
	shifted := time.Duration(float64(delay) * (1 - jitter + 2*jitter*random))
	return max(shifted, retryAfter)
}
