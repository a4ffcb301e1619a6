package bolt

import (
	"context"
	"slices"

	"go.etcd.io/bbolt"
)

// maxBatch is how many calls share one commit.
const maxBatch = 64

// A job is one write call.
type job struct {
	ctx  context.Context
	run  func(*bbolt.Tx) error
	idle bool       // the run has written nothing
	done chan error // buffered: the caller may have gone
}

func newJob(ctx context.Context) *job { return &job{ctx: ctx, done: make(chan error, 1)} }

// do runs a job in a write transaction, together with the calls that came while the last one was being committed. It is not
// bbolt's own Batch, which commits in a goroutine where no panic can be recovered, and waits when there is nothing to wait for.
func (s *Store) do(j *job) error {
	ctx := j.ctx
	if err := s.usable(ctx); err != nil {
		return err
	}
	select {
	case s.jobs <- j:
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-s.quit:
		return unavailable(errClosed)
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// writer commits what is sent, until the store is closed.
func (s *Store) writer() {
	defer close(s.idle)
	for {
		select {
		case <-s.quit:
			return
		case j := <-s.jobs:
			s.commit(s.gather(j))
		}
	}
}

// gather adds the calls that are waiting to the one received.
func (s *Store) gather(j *job) []*job {
	batch := []*job{j}
	for len(batch) < maxBatch {
		select {
		case j := <-s.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the calls in one transaction and answers them. A call that fails is answered, and the others run again without it.
func (s *Store) commit(batch []*job) {
	for len(batch) > 0 {
		failed, err := s.transact(batch)
		if failed < 0 {
			for _, j := range batch {
				j.done <- err
			}
			return
		}
		batch[failed].done <- err
		batch = slices.Delete(batch, failed, failed+1)
	}
}

// transact runs the calls in one transaction, which is committed unless none of them writes. failed is the index of the call that was at fault for the error, or -1.
func (s *Store) transact(batch []*job) (failed int, err error) {
	failed = -1
	if s.Broken() {
		return failed, unavailable(errBroken)
	}
	err = guarded(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		// Not db.Update: that scans the whole file after a panic, in a goroutine where damage cannot be recovered from.
		defer func() { _ = tx.Rollback() }() // harmless after Commit
		idle := true
		for i, j := range batch {
			if err := j.ctx.Err(); err != nil {
				failed = i
				return err
			}
			if err := j.run(tx); err != nil {
				failed = i
				return err
			}
			idle = idle && j.idle
		}
		if idle {
			return nil
		}
		return commit(tx)
	})
	return failed, s.judge(err)
}
