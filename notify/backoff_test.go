package notify

import (
	"testing"
	"time"
)

func TestTheDelayDoublesUpToTenMinutes(t *testing.T) {
	const middle = 0.5 // neither up nor down
	tests := []struct {
		name       string
		attempt    int
		retryAfter time.Duration
		random     float64
		want       time.Duration
	}{
		{"after the first", 1, 0, middle, time.Second},
		{"after the second", 2, 0, middle, 2 * time.Second},
		{"after the third", 3, 0, middle, 4 * time.Second},
		{"after the tenth", 10, 0, middle, 512 * time.Second},
		{"after the eleventh", 11, 0, middle, 10 * time.Minute},
		{"after a million", 1_000_000, 0, middle, 10 * time.Minute},
		{"an attempt that cannot be", 0, 0, middle, time.Second},
		{"the least", 1, 0, 0, 800 * time.Millisecond},
		{"the most, nearly", 1, 0, 0.999999, 1200 * time.Millisecond},
		{"what the client asks for", 1, time.Minute, middle, time.Minute},
		{"not below it, however the dice fall", 1, time.Second, 0, time.Second},
		{"more than it asks for", 9, time.Minute, middle, 256 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := retryDelay(test.attempt, test.retryAfter, test.random)
			if diff := (got - test.want).Abs(); diff > time.Millisecond {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
