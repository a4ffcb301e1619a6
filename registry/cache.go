package registry

import (
	"bytes"
	"errors"
	"sync"
)

const (
	// cached is how many decoded records are kept, and maxCached the longest of them, in bytes:
	// most have a few hundred.
	cached    = 4096
	maxCached = 8 << 10
)

// A cache keeps decoded records by place and value: one that was replaced is not found, so nothing
// has to be removed. The zero value is empty. What it returns must not be changed.
type cache struct {
	mu      sync.Mutex
	records map[Place]decoded
}

type decoded struct {
	value  []byte
	record *record
}

// decode returns the record of a value; nil: there is none, or it is damaged. The next write to it
// logs that.
func (c *cache) decode(place Place, value []byte) (*record, error) {
	if value == nil {
		return nil, nil
	}
	c.mu.Lock()
	known, ok := c.records[place]
	c.mu.Unlock()
	if ok && bytes.Equal(known.value, value) {
		return known.record, nil
	}
	r, err := decodeRecord(value)
	if errors.Is(err, errDamaged) {
		return nil, nil
	}
	if err != nil || len(value) > maxCached {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records = make(map[Place]decoded)
	}
	if len(c.records) >= cached {
		for some := range c.records { // in no order: any will do
			delete(c.records, some)
			break
		}
	}
	c.records[place] = decoded{bytes.Clone(value), r}
	return r, nil
}
