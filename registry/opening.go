package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// firstRetry and lastRetry are how long after an opening the next one is tried: twice as long
	// each time.
	firstRetry = 5 * time.Second
	lastRetry  = time.Minute

	// closeLimit is how long Close waits for the store.
	closeLimit = 5 * time.Second
)

var errClosed = fmt.Errorf("%w: closed", ErrUnavailable)

// An opening opens a store at first use, and again when it could not be opened or broke. Calls
// wait for an attempt under way as long as their contexts allow.
type opening struct {
	opener Opener
	logger *zap.Logger
	opened func(Store) // called with each store that was opened

	work   sync.WaitGroup // of attempts
	closed chan struct{}

	mu        sync.Mutex
	store     Store         // nil: not open
	attempt   chan struct{} // closed when the attempt under way has ended; nil: there is none
	err       error         // why the store is not open
	notBefore time.Time     // when it may be opened next
	retry     time.Duration
	missing   bool // the log says that the store is unavailable
	done      bool // closed
}

// get returns the store, and waits for it if it is being opened.
func (o *opening) get(ctx context.Context) (Store, error) {
	for {
		o.mu.Lock()
		store, attempt, err := o.current()
		o.mu.Unlock()
		if attempt == nil {
			return store, err
		}
		select {
		case <-attempt:
		case <-o.closed:
			return nil, errClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// current returns the store, or the attempt to wait for, or an error. It begins an attempt if one
// is due. The caller holds the lock.
func (o *opening) current() (Store, <-chan struct{}, error) {
	if o.done {
		return nil, nil, errClosed
	}
	var broken Store
	if o.store != nil {
		if !o.store.Broken() {
			return o.store, nil, nil
		}
		broken, o.store = o.store, nil
		o.lost(fmt.Errorf("%w: the store broke", ErrUnavailable))
	}
	if o.attempt == nil && (broken != nil || !time.Now().Before(o.notBefore)) {
		o.attempt = make(chan struct{})
		o.work.Go(func() { o.reopen(broken) })
	}
	if o.attempt == nil {
		return nil, nil, o.err
	}
	return nil, o.attempt, nil
}

// reopen closes the store that broke, if one did, and opens it unless that was tried a short while
// ago.
func (o *opening) reopen(broken Store) {
	if broken != nil {
		if err := broken.Close(); err != nil {
			o.logger.Debug("closing the broken session registry failed", zap.Error(err))
		}
	}
	var store Store
	var err error
	due := o.due()
	if due {
		store, err = o.open()
	}
	if !o.finish(due, store, err) {
		_ = store.Close()
	}
}

func (o *opening) open() (store Store, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			store = nil
			err = fmt.Errorf("%w: opening the store panicked: %v", ErrUnavailable, reason)
		}
	}()
	return o.opener.Open(o.logger)
}

// finish ends an attempt. It reports whether the store is still wanted.
func (o *opening) finish(tried bool, store Store, err error) (wanted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.attempt)
	o.attempt = nil
	switch {
	case !tried:
	case err != nil:
		if !errors.Is(err, ErrUnavailable) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		o.lost(err)
	case o.done:
		return false
	default:
		o.found(store)
	}
	return true
}

// due reports whether the store may be opened now, and if so sets when it may be the next time.
func (o *opening) due() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.done || now.Before(o.notBefore) {
		return false
	}
	if o.retry == 0 || now.Sub(o.notBefore) > lastRetry { // it went well for a while
		o.retry = firstRetry
	} else {
		o.retry = min(2*o.retry, lastRetry)
	}
	o.notBefore = now.Add(o.retry)
	return true
}

// lost notes that the store is unavailable: logged once, however many calls fail. The caller holds
// the lock.
func (o *opening) lost(err error) {
	o.err = err
	if !o.missing {
		o.missing = true
		o.logger.Warn("session registry unavailable: sessions are kept in cookies only",
			zap.Error(err))
	}
}

// found notes that the store is open. The caller holds the lock.
func (o *opening) found(store Store) {
	if o.missing {
		o.missing = false
		o.logger.Info("session registry available again")
	}
	o.store, o.err = store, nil
	o.opened(store)
}

// close closes the store. It waits a few seconds at most for one that hangs, which is closed when
// that ends.
func (o *opening) close() error {
	o.mu.Lock()
	if o.done {
		o.mu.Unlock()
		return nil
	}
	o.done = true
	close(o.closed)
	store := o.store
	o.store = nil
	o.mu.Unlock()

	result := make(chan error, 1)
	go func() {
		var err error
		if store != nil {
			err = store.Close()
		}
		o.work.Wait()
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(closeLimit):
		return fmt.Errorf("%w: the store takes long to close", ErrUnavailable)
	}
}
