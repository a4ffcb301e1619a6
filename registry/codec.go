package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// version is that of records, which is their first byte. A field is written one release after the
// first that reads it: servers of both run side by side.
const version = 1

var (
	// errNewer says that a record was written by a later release.
	errNewer = fmt.Errorf("%w: it was written by a later release, "+
		"which this one must not change: update this server", ErrUnavailable)

	errDamaged = errors.New("damaged record")
)

var (
	encoding = must(cbor.EncOptions{
		Sort: cbor.SortNone, IndefLength: cbor.IndefLengthForbidden,
	}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:   cbor.DupMapKeyEnforcedAPF,
		IndefLength: cbor.IndefLengthForbidden,
		TagsMd:      cbor.TagsForbidden,
		UTF8:        cbor.UTF8DecodeInvalid,

		MaxNestedLevels: 8, MaxArrayElements: 1 << 14, MaxMapPairs: 64,
	}.DecMode())
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}

// encode returns the value of a record or of a document.
func encode(v any) ([]byte, error) {
	body, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return append([]byte{version}, body...), nil
}

// decode reads what encode wrote. It fails with errNewer or errDamaged.
func decode(value []byte, v any) error {
	switch {
	case len(value) == 0:
		return errDamaged
	case value[0] > version:
		return errNewer
	case value[0] < version:
		return errDamaged
	}
	if err := decoding.Unmarshal(value[1:], v); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// decodeRecord reads a record; nil: there is none, or it is damaged.
func decodeRecord(value []byte) (*record, error) {
	if value == nil {
		return nil, nil
	}
	r := new(record)
	if err := decode(value, r); err != nil {
		return nil, err
	}
	if slices.Contains(r.Sessions, nil) || slices.Contains(r.Responses, nil) {
		return nil, errDamaged
	}
	for _, s := range r.Sessions {
		s.Issuer = r.Issuer
		if slices.Contains(s.Clients, nil) {
			return nil, errDamaged
		}
		for _, c := range s.Clients {
			if slices.Contains(c.Subjects, nil) {
				return nil, errDamaged
			}
		}
	}
	return r, nil
}

func sum256(b []byte) [32]byte { return sha256.Sum256(b) }
