package bolt

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

const (
	// maxBatch is how many calls share one commit, and maxEdits how many edits of each: a sign-in
	// waits for all of a commit, and a call that claims or settles has hundreds.
	maxBatch = 64
	maxEdits = 16
	// sweepInterval is how often what has expired is deleted, and maxSwept how much at once.
	sweepInterval = time.Second
	maxSwept      = maxEdits
)

// A job is one call of Edit.
type job struct {
	ctx     context.Context
	edits   []*registry.Edit
	errs    []error        // of the edits
	changed []registry.Key // of those that were committed, with Notify
	err     error          // of the call
	done    chan struct{}  // closed when all of this is known
}

// Edit implements [registry.Store]. A call of many edits takes several commits, between which it
// pauses as long as one takes: other calls use that. What was committed counts, though the rest
// fails.
func (s *Store) Edit(ctx context.Context, edits ...*registry.Edit) error {
	for made := 0; made < len(edits); {
		some := edits[made:min(made+s.maxEdits, len(edits))]
		begun := time.Now()
		if err := s.edit(ctx, some); err != nil {
			for _, edit := range edits[made:] {
				edit.Err = err
			}
			if made > 0 {
				return nil
			}
			return err
		}
		if made += len(some); made == len(edits) {
			break
		}
		select {
		case <-time.After(max(time.Since(begun), time.Millisecond)):
		case <-ctx.Done():
		case <-s.quit:
		case <-s.broken:
		}
	}
	return nil
}

// edit makes some edits in one commit. Calls that come while another is being committed share the
// next one. It is not bbolt's own Batch, which commits in a goroutine where no panic can be
// recovered, and waits when there is nothing to wait for.
func (s *Store) edit(ctx context.Context, edits []*registry.Edit) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	j := &job{ctx: ctx, edits: edits, errs: make([]error, len(edits)), done: make(chan struct{})}
	select {
	case s.jobs <- j:
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-s.quit:
		return unavailable(errClosed)
	case <-s.broken: // the writer may hang in bbolt
		return unavailable(errBroken)
	}
	select {
	case <-j.done:
		for i, edit := range edits {
			edit.Err = j.errs[i]
		}
		s.tell(j)
		return j.err
	case <-ctx.Done():
		go s.tellLater(j)
		return unavailable(ctx.Err())
	case <-s.broken: // whoever opens it again asks for all
		return unavailable(errBroken)
	}
}

// tell tells those who watch what a call has changed. That is the caller's to do: a listener that
// hangs must not hold up the writer.
func (s *Store) tell(j *job) {
	for _, key := range j.changed {
		s.listeners.Notify(key)
	}
}

// tellLater tells what a call may change that nobody waits for any more.
func (s *Store) tellLater(j *job) {
	select {
	case <-j.done:
		s.tell(j)
	case <-s.broken:
	}
}

// writer commits what is sent, and deletes what has expired, until the store is closed.
func (s *Store) writer() {
	defer close(s.idle)
	sweep := time.NewTimer(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-s.quit:
			return
		case j := <-s.jobs:
			s.commit(s.gather(j))
		case <-sweep.C:
			sweep.Reset(s.sweep())
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

// commit runs the calls in one transaction and answers them.
func (s *Store) commit(batch []*job) {
	err := s.update(func(w *writing) error {
		for _, j := range batch {
			if j.ctx.Err() != nil {
				continue // nobody waits for it
			}
			for i, edit := range j.edits {
				tell, editErr, err := w.edit(edit)
				if err != nil {
					return err
				}
				if j.errs[i] = editErr; tell {
					j.changed = append(j.changed, edit.Key)
				}
			}
		}
		return nil
	})
	for _, j := range batch {
		j.err = err
		if err != nil {
			j.changed = nil
		} else if err := j.ctx.Err(); err != nil {
			j.err = unavailable(err)
		}
		close(j.done)
	}
}

// update runs fn in a write transaction, which is committed if it has written anything.
func (s *Store) update(fn func(*writing) error) error {
	if s.Broken() {
		return unavailable(errBroken)
	}
	return s.judge(guarded(func() error {
		tx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		// Not db.Update: that scans the whole file after a panic, in a goroutine where damage
		// cannot be recovered from.
		defer func() { _ = tx.Rollback() }() // harmless after Commit
		w := &writing{tx: tx, now: s.now()}
		for _, index := range [][]byte{bucketWakes, bucketExpires} {
			tx.Bucket(index).FillPercent = 0.9 // what comes is mostly the last
		}
		if err := fn(w); err != nil || !w.wrote {
			return err
		}
		return commit(tx)
	}))
}

// sweep deletes what has expired. It returns when to do so next: soon if there is more, but not
// before as much time has passed as this took, which calls may use.
func (s *Store) sweep() time.Duration {
	start, swept := time.Now(), 0
	err := s.update(func(w *writing) (err error) {
		swept, err = w.sweep(maxSwept)
		return err
	})
	if err != nil {
		s.logger.Debug("deleting expired records failed", zap.Error(err)) // calls will meet it too
		return sweepInterval
	}
	if swept < maxSwept {
		return sweepInterval
	}
	return max(time.Since(start), time.Millisecond)
}

// A writing is one write transaction.
type writing struct {
	tx    *bbolt.Tx
	now   time.Time
	wrote bool
}

// edit makes an edit. editErr is why it failed; err, why the transaction did.
func (w *writing) edit(edit *registry.Edit) (tell bool, editErr, err error) {
	_, old := w.get(edit.Key)
	change, editErr := edit.Apply(old)
	for _, mark := range edit.Marks {
		if err := w.mark(mark); err != nil {
			return false, nil, err
		}
	}
	for _, create := range edit.Creates {
		if _, there := w.get(create.Key); there != nil {
			continue
		}
		change := &registry.Change{Value: create.Value, Expires: create.Expires}
		if err := w.put(create.Key, change); err != nil {
			return false, nil, err
		}
	}
	if editErr != nil || change == nil {
		return false, editErr, nil
	}
	return change.Notify, nil, w.put(edit.Key, change)
}

// get returns a record that has not expired; nil: there is none. It is valid until the next
// change.
func (w *writing) get(key registry.Key) (header, []byte) {
	stored := w.tx.Bucket(bucketRecords).Get([]byte(key))
	if stored == nil {
		return header{}, nil
	}
	h, value := decode(key, stored)
	if h.hasExpired(w.now) {
		return h, nil
	}
	return h, value
}

// put replaces a record; without a value, it is deleted.
func (w *writing) put(key registry.Key, change *registry.Change) error {
	w.wrote = true
	k := []byte(key)
	records := w.tx.Bucket(bucketRecords)
	if stored := records.Get(k); stored != nil {
		before, _ := decode(key, stored)
		if err := w.unlist(before, k); err != nil {
			return err
		}
	}
	if len(change.Value) == 0 {
		return records.Delete(k)
	}
	h := headerOf(change)
	if err := w.list(h, k, change.Owing); err != nil {
		return err
	}
	return records.Put(k, h.encode(key, change.Value))
}

// list enters a record into the indexes.
func (w *writing) list(h header, key []byte, owing bool) error {
	entry := timeKey(h.expires, []byte{ofRecord}, key)
	if err := w.tx.Bucket(bucketExpires).Put(entry, nil); err != nil {
		return err
	}
	if owing {
		if err := w.tx.Bucket(bucketOwing).Put(key, nil); err != nil {
			return err
		}
	}
	if h.wake == 0 {
		return nil
	}
	return w.tx.Bucket(bucketWakes).Put(timeKey(h.wake, key), nil)
}

// unlist takes a record out of the indexes.
func (w *writing) unlist(h header, key []byte) error {
	entry := timeKey(h.expires, []byte{ofRecord}, key)
	if err := w.tx.Bucket(bucketExpires).Delete(entry); err != nil {
		return err
	}
	if err := w.tx.Bucket(bucketOwing).Delete(key); err != nil {
		return err
	}
	if h.wake == 0 {
		return nil
	}
	return w.tx.Bucket(bucketWakes).Delete(timeKey(h.wake, key))
}

func (w *writing) mark(mark registry.Mark) error {
	sets := w.tx.Bucket(bucketSets)
	key := memberKey(mark.Set, mark.Member)
	before := readTime(sets.Get(key))
	if before == 0 && mark.Expires.IsZero() ||
		!mark.Expires.IsZero() && mark.Expires.UnixMilli() <= before {
		return nil
	}
	w.wrote = true
	expires := w.tx.Bucket(bucketExpires)
	if before != 0 {
		if err := expires.Delete(timeKey(before, []byte{ofMember}, key)); err != nil {
			return err
		}
	}
	if mark.Expires.IsZero() {
		return sets.Delete(key)
	}
	at := mark.Expires.UnixMilli()
	if err := expires.Put(timeKey(at, []byte{ofMember}, key), nil); err != nil {
		return err
	}
	return sets.Put(key, writeTime(at))
}

// sweep deletes up to limit records and members that have expired.
func (w *writing) sweep(limit int) (swept int, err error) {
	now := w.now.UnixMilli()
	var over [][]byte
	cursor := w.tx.Bucket(bucketExpires).Cursor()
	k, _ := cursor.First()
	for ; len(k) > 9 && len(over) < limit && readTime(k[:8]) <= now; k, _ = cursor.Next() {
		over = append(over, append([]byte(nil), k...))
	}
	for _, k := range over {
		if err := w.forget(k); err != nil {
			return 0, err
		}
	}
	return len(over), nil
}

// forget deletes what an entry of the index is of, unless a damaged record has left the entry
// behind.
func (w *writing) forget(entry []byte) error {
	w.wrote = true
	key := registry.Key(entry[9:])
	switch {
	case entry[8] == ofMember:
		if err := w.tx.Bucket(bucketSets).Delete(entry[9:]); err != nil {
			return err
		}
	case w.hasExpired(key):
		if err := w.put(key, new(registry.Change)); err != nil {
			return err
		}
	}
	return w.tx.Bucket(bucketExpires).Delete(entry)
}

// hasExpired reports whether a record has expired or is damaged.
func (w *writing) hasExpired(key registry.Key) bool {
	h, value := decode(key, w.tx.Bucket(bucketRecords).Get([]byte(key)))
	return h.hasExpired(w.now) || len(value) == 0
}
