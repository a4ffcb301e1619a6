package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/oidc-session/caddy-oidc-session/registry"
)

// Get implements [registry.Store].
func (s *Store) Get(ctx context.Context, _ bool, keys ...registry.Key) ([][]byte, error) {
	now := s.now()
	return read(ctx, s, func(tx *bbolt.Tx) [][]byte {
		values := make([][]byte, len(keys))
		records := tx.Bucket(bucketRecords)
		for i, key := range keys {
			stored := records.Get([]byte(key))
			if stored == nil {
				continue
			}
			if h, value := decode(key, stored); !h.hasExpired(now) || len(value) == 0 {
				values[i] = append([]byte{}, value...)
			}
		}
		return values
	})
}

// Members implements [registry.Store].
func (s *Store) Members(ctx context.Context, limit int, sets ...registry.Key) ([][]string, error) {
	now := s.now().UnixMilli()
	return read(ctx, s, func(tx *bbolt.Tx) [][]string {
		members := make([][]string, len(sets))
		cursor := tx.Bucket(bucketSets).Cursor()
		for i, set := range sets {
			prefix := setPrefix(set)
			k, v := cursor.Seek(prefix)
			for ; bytes.HasPrefix(k, prefix) && len(members[i]) < limit; k, v = cursor.Next() {
				if readTime(v) > now {
					members[i] = append(members[i], string(k[len(prefix):]))
				}
			}
		}
		return members
	})
}

// Due implements [registry.Store].
func (s *Store) Due(ctx context.Context, limit int) ([]registry.Key, error) {
	now := s.now()
	s.listed.Forget(now)
	return read(ctx, s, func(tx *bbolt.Tx) (due []registry.Key) {
		cursor, records := tx.Bucket(bucketWakes).Cursor(), tx.Bucket(bucketRecords)
		for k, _ := cursor.First(); len(k) > 8 && len(due) < limit; k, _ = cursor.Next() {
			if int64(binary.BigEndian.Uint64(k)) > now.UnixMilli() {
				break
			}
			key := registry.Key(k[8:])
			h, _ := decode(key, records.Get(k[8:]))
			// else it was damaged
			if h.wake == int64(binary.BigEndian.Uint64(k)) && s.listed.First(key, now) {
				due = append(due, key)
			}
		}
		return due
	})
}

// Owing implements [registry.Store].
func (s *Store) Owing(ctx context.Context, after registry.Key, limit int) ([]registry.Key, error) {
	return read(ctx, s, func(tx *bbolt.Tx) (owing []registry.Key) {
		cursor := tx.Bucket(bucketOwing).Cursor()
		k, _ := cursor.Seek([]byte(after))
		for ; k != nil && len(owing) < limit; k, _ = cursor.Next() {
			if key := registry.Key(k); key > after {
				owing = append(owing, key)
			}
		}
		return owing
	})
}
