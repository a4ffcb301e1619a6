package notify

import (
	"crypto/tls"
	"fmt"
	"testing"
)

// BenchmarkDelivery is one notice from the list to its recording, with 32 receivers over TLS that
// answer at once.
func BenchmarkDelivery(b *testing.B) {
	r := newReceiver(b, answers(200))
	w := newWorld(b, map[string]*receiver{"*": r})
	for i := range b.N {
		w.owe(fmt.Sprintf("rp%d", i%32), w.clock.Now())
	}
	b.ResetTimer()
	settled := w.Recorded()
	w.begin()
	for {
		<-settled
		settled = w.Recorded()
		if owed, _, _ := w.count(); owed == 0 {
			return
		}
	}
}

// BenchmarkSend is one try over a connection that is kept.
func BenchmarkSend(b *testing.B) {
	r := unstarted(answers(200))
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{theCA.leaf}}
	r.server.StartTLS()
	defer r.close()
	s := senderTo(b, map[string]*receiver{"a.rp.test": r})
	for b.Loop() {
		if got := s.Send(b.Context(), "https://a.rp.test/bcl", "token"); !got.delivered() {
			b.Fatalf("got %+v", got)
		}
	}
}
