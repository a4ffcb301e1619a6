package bolt

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// The buckets of the file. Times are in milliseconds since 1970, big-endian.
var (
	bucketMeta    = []byte("meta")
	bucketRecords = []byte("records") // key -> header, value
	bucketSets    = []byte("sets")    // set and member, as memberKey has it -> when it expires
	bucketWakes   = []byte("wakes")   // time, key: of records that Due lists
	bucketExpires = []byte("expires") // time, ofRecord or ofMember, then the key of that
	bucketOwing   = []byte("owing")   // keys of records that owe something

	allBuckets = [][]byte{
		bucketMeta, bucketRecords, bucketSets, bucketWakes, bucketExpires, bucketOwing,
	}
)

const (
	ofRecord = 'r'
	ofMember = 'm'
)

// A header stands in front of each record's value.
type header struct {
	expires, wake int64 // wake: zero, if Due does not list it
}

const headerSize = 8 + 8 + 8 + 4 // eight bytes that are not used, and a checksum, are its end

func headerOf(c *registry.Change) header {
	h := header{expires: c.Expires.UnixMilli()}
	if wake := c.Wake(); !wake.IsZero() {
		h.wake = max(wake.UnixMilli(), 1)
	}
	return h
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns what is stored of a record.
func (h header) encode(key registry.Key, value []byte) []byte {
	stored := make([]byte, 0, headerSize+len(value))
	stored = binary.BigEndian.AppendUint64(stored, uint64(h.expires))
	stored = binary.BigEndian.AppendUint64(stored, uint64(h.wake))
	stored = binary.BigEndian.AppendUint64(stored, 0)
	stored = binary.BigEndian.AppendUint32(stored, checksum(key, stored, value))
	return append(stored, value...)
}

// decode returns what encode was given. A damaged record's value is empty.
func decode(key registry.Key, stored []byte) (h header, value []byte) {
	if len(stored) < headerSize {
		return header{}, []byte{}
	}
	h.expires = int64(binary.BigEndian.Uint64(stored))
	h.wake = int64(binary.BigEndian.Uint64(stored[8:]))
	value = stored[headerSize:]
	if binary.BigEndian.Uint32(stored[24:]) != checksum(key, stored[:24], value) {
		return h, []byte{}
	}
	return h, value
}

func checksum(key registry.Key, head, value []byte) uint32 {
	sum := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, head)
	return crc32.Update(sum, castagnoli, value)
}

// hasExpired reports whether the record has expired.
func (h header) hasExpired(now time.Time) bool { return h.expires <= now.UnixMilli() }

// timeKey is a key in an index of times.
func timeKey(at int64, rest ...[]byte) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(at))
	for _, part := range rest {
		key = append(key, part...)
	}
	return key
}

// memberKey is the key of a member of a set.
func memberKey(set registry.Key, member string) []byte {
	key := append([]byte{byte(len(set))}, set...)
	return append(key, member...)
}

// setPrefix is what the keys of all members of a set begin with.
func setPrefix(set registry.Key) []byte { return memberKey(set, "") }

func readTime(value []byte) int64 {
	if len(value) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(value))
}

func writeTime(at int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(at)) }
