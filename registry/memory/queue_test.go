package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
	"github.com/oidc-session/caddy-oidc-session/sessionstate"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// TestAQueueIsInOrder changes a queue at random and compares it with a plain map.
func TestAQueueIsInOrder(t *testing.T) {
	var q queue[int]
	times := make(map[int]time.Time)
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		key := random.IntN(50)
		switch random.IntN(4) {
		case 0:
			q.remove(key)
			delete(times, key)
		default:
			at := start.Add(time.Duration(random.IntN(1000)) * time.Second)
			q.set(key, at)
			times[key] = at
		}
		now, limit := start.Add(time.Duration(random.IntN(1000))*time.Second), random.IntN(60)
		var want []time.Time
		for _, at := range times {
			if !now.Before(at) {
				want = append(want, at)
			}
		}
		slices.SortFunc(want, time.Time.Compare)
		var got []time.Time
		for _, key := range q.due(now, limit) {
			got = append(got, times[key])
		}
		if !slices.Equal(got, want[:min(limit, len(want))]) {
			t.Fatalf("due are %v, want %d of %v", got, limit, want)
		}
		if len(q.order) != len(times) || len(q.entries) != len(times) {
			t.Fatalf("%d entries for %d keys", len(q.order), len(times))
		}
	}
}

// owing is a store whose clients are owed so many notices.
func owing(t testing.TB, notices int) *Store {
	t.Helper()
	store := New()
	for i := range notices {
		join := registry.Join{
			Issuer: "https://op.example.com", Browser: sessionstate.NewBrowserID(), Fresh: sessionstate.NewSessionID(), ClientID: "shop",
			Subject: registry.Subject{Sub: fmt.Sprint(i), Sid: "1"}, Now: start, Lifetime: time.Minute,
		}
		if _, err := store.Join(t.Context(), join); err != nil {
			t.Fatal(err)
		}
	}
	for removed := 1; removed > 0; {
		var err error
		if removed, err = store.Expire(t.Context(), registry.Expiry{Now: start.Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestRetriesAndUseLeaveNothingBehind(t *testing.T) {
	store := owing(t, 3)
	due, err := store.DueNotices(t.Context(), "https://op.example.com", start.Add(time.Minute), 10)
	if err != nil || len(due) != 3 {
		t.Fatalf("due are %+v, %v", due, err)
	}
	before := len(store.expiry.order)
	for i := range 100 {
		settling := registry.Settling{Issuer: "https://op.example.com", Now: start}
		for _, notice := range due {
			settling.Outcomes = append(settling.Outcomes, registry.Outcome{ID: notice.ID, Due: start.Add(time.Hour), Attempts: i + 1})
		}
		if err := store.SettleNotices(t.Context(), settling); err != nil {
			t.Fatal(err)
		}
	}
	if after := len(store.expiry.order); after != before {
		t.Errorf("%d entries for records that expire, before %d", after, before)
	}
	join := registry.Join{
		Issuer: "https://op.example.com", Browser: sessionstate.NewBrowserID(), Session: sessionstate.NewSessionID(), ClientID: "shop",
		Fresh: sessionstate.NewSessionID(), Now: start, Lifetime: 24 * time.Hour, Idle: time.Hour,
	}
	for range 100 {
		join.Now = join.Now.Add(time.Minute)
		if _, err := store.Join(t.Context(), join); err != nil {
			t.Fatal(err)
		}
	}
	if after := len(store.expiry.order); after != before+1 {
		t.Errorf("%d entries for records that expire, want one more than %d", after, before)
	}
}

// BenchmarkDueNotices is one look for what is due. It costs about the same however much is owed.
func BenchmarkDueNotices(b *testing.B) {
	for _, notices := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(notices), func(b *testing.B) {
			store := owing(b, notices)
			for b.Loop() {
				due, err := store.DueNotices(b.Context(), "https://op.example.com", start.Add(time.Hour), 256)
				if err != nil || len(due) != 256 {
					b.Fatalf("%d are due: %v", len(due), err)
				}
			}
		})
	}
}
