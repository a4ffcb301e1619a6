package notify

import (
	"fmt"
	"testing"

	"go.uber.org/zap/zapcore"
)

// A notice that its client has answered counts as delivered, however many answers come at once: a
// false failure has the client notified twice. One round shows it where connections are taken
// from requests that wait for their answers; there are more, since that is by chance.
func TestABurstOfNoticesRecordsNoFalseFailure(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 2
	}
	const notices, hosts = 1500, 200
	for round := range rounds {
		r := newPlainReceiver(t, answers(204))
		w := newWorld(t, map[string]*receiver{"*": r})
		w.site.plain = true
		for i := range notices {
			w.owe(fmt.Sprintf("rp%d", i%hosts), w.clock.Now())
		}
		w.begin()
		eventually(t, "all tried", func() bool { return len(r.tokens()) >= notices })
		eventually(t, "all recorded", func() bool {
			w.Worker.mu.Lock()
			defer w.Worker.mu.Unlock()
			return w.hosts.tries[0].tries+len(w.outcomes) == 0
		})
		failed := w.logs.FilterLevelExact(zapcore.WarnLevel)
		if _, delivered, _ := w.count(); delivered != notices || len(r.tokens()) != notices || failed.Len() != 0 {
			t.Fatalf("round %d: %d requests, %d delivered, %d failed: %v", round, len(r.tokens()), delivered, failed.Len(), failed.All()[:min(failed.Len(), 1)])
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
