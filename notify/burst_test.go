package notify

import (
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/zap/zapcore"
)

// A notice that its client has answered counts as delivered, however many answers come at once: a
// false failure has the client notified twice. net/http may close a connection that it keeps for
// the next request before it hands over the answer, so none is used twice.
func TestABurstOfNoticesRecordsNoFalseFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const notices, hosts = 1500, 200
		r := newPiped(t, answers(204))
		w := newWorld(t, map[string]*receiver{"*": r})
		for i := range notices {
			w.owe(fmt.Sprintf("rp%d", i%hosts), w.clock.Now())
		}
		w.begin()
		eventually(t, "all delivered", func() bool { _, delivered, _ := w.count(); return delivered == notices })
		if requests, dials := len(r.tokens()), r.dials.Load(); requests != notices || dials != notices {
			t.Errorf("%d requests on %d connections", requests, dials)
		}
		if failed := w.logs.FilterLevelExact(zapcore.WarnLevel).All(); len(failed) != 0 {
			t.Errorf("%d failed: %v", len(failed), failed[0])
		}
	})
}
