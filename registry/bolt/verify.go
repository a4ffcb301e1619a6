package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// errCorrupt says that a file cannot be what bbolt and this package wrote. errNewer says that a later version wrote it.
// errForeign says that it is sound, but no session registry.
var (
	errCorrupt = errors.New("corrupt")
	errNewer   = errors.New("written by a newer version: update Caddy's plugin, or give store file another path")
	errForeign = errors.New("the file is no session registry, or damaged beyond recognition: give store file another path, or move the file away")
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errCorrupt, fmt.Errorf(format, args...))
}

// bbolt's file format, version 2: pages of equal size, in the machine's own byte order. Pages 0 and 1 are metas, of which the
// valid one with the higher transaction ID counts. All else hangs off the meta's root page: B+ trees of branch and leaf pages,
// in whose leaves buckets are the roots of further trees, or, while they are small, have a leaf page inline.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16 // id u64, flags u16, count u16, overflow u32
	elementSize = 16 // leaf: flags, pos, ksize, vsize u32; branch: pos, ksize u32, page u64
	metaSize    = 64
	bucketSize  = 16 // root u64, sequence u64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	noFreelist = ^uint64(0)
	maxDepth   = 64 // of pages; ten suffice for more than any disk holds
)

var native = binary.NativeEndian

// findings are what verify saw.
type findings struct {
	pages, used uint64 // up to the high-water mark, and those reachable of them
	pageSize    int
	version     []byte // unsealed; nil: there is none
	buckets     int
	badRecord   error // of the first record whose checksum is wrong
}

// A verifier reads a whole file once. It never trusts a number in it before it was compared with the file's size.
type verifier struct {
	file     io.ReaderAt
	size     int64
	root     uint64
	freelist uint64
	seen     []uint64 // a bit for each page
	buffers  [maxDepth][]byte
	findings
}

// verify reports whether a file is sound: it is safe to be read with bbolt, and all its records are what was written. An error that
// is none of this file's is about reading it.
func verify(file io.ReaderAt, size int64) (findings, error) {
	v := &verifier{file: file, size: size}
	if err := v.readMeta(); err != nil {
		return v.findings, err
	}
	if err := v.readFreelist(); err != nil {
		return v.findings, err
	}
	if err := v.tree(v.root, nil, nil, nil, 0); err != nil {
		return v.findings, err
	}
	return v.findings, v.verdict()
}

// verdict is about the records. Those of a newer version are not judged: only its version record is certain to be sealed alike.
func (v *verifier) verdict() error {
	switch {
	case v.version != nil && !bytes.Equal(v.version, formatVersion):
		return errNewer
	case v.badRecord != nil:
		return corrupt("%w", v.badRecord)
	case v.version == nil:
		return corrupt("no version record")
	}
	return nil
}

// readMeta picks the meta that bbolt would pick.
func (v *verifier) readMeta() error {
	var best []byte
	pageSize, err := v.findPageSize()
	if err != nil {
		return err
	}
	for id := range int64(2) {
		meta, err := v.metaAt(id * pageSize)
		if err != nil && !errors.Is(err, errCorrupt) {
			return err
		}
		if err == nil && (best == nil || metaTx(meta) > metaTx(best)) {
			best = meta
		}
	}
	if best == nil {
		return corrupt("no valid meta page")
	}
	v.pageSize = int(native.Uint32(best[8:]))
	v.root, v.freelist, v.pages = native.Uint64(best[16:]), native.Uint64(best[32:]), native.Uint64(best[40:])
	if int64(v.pageSize) != pageSize || pageSize < 1024 || pageSize > 1<<24 || pageSize&(pageSize-1) != 0 {
		return corrupt("page size %d", v.pageSize)
	}
	if v.pages < 3 || v.pages > uint64(v.size/pageSize) {
		return corrupt("truncated: %d bytes for %d pages of %d", v.size, v.pages, pageSize)
	}
	v.seen = make([]uint64, v.pages/64+1)
	v.mark(0, 2)
	return nil
}

// findPageSize takes the page size from the first meta, else from the second wherever that is, as bbolt does.
func (v *verifier) findPageSize() (int64, error) {
	meta, err := v.metaAt(0)
	for position := int64(1024); errors.Is(err, errCorrupt) && position <= 1<<24; position *= 2 {
		if meta, err = v.metaAt(position); err == nil && int64(native.Uint32(meta[8:])) != position {
			err = corrupt("misplaced meta page")
		}
	}
	if err != nil {
		return 0, err
	}
	return int64(native.Uint32(meta[8:])), nil
}

// metaChecksum is where a meta has its checksum, which is over all before.
const metaChecksum = 56

func metaSum(meta []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:metaChecksum])
	return sum.Sum64()
}

func metaTx(meta []byte) uint64 { return native.Uint64(meta[48:]) }

// metaAt reads the meta of the page at a position.
func (v *verifier) metaAt(position int64) ([]byte, error) {
	if position > v.size-pageHeader-metaSize {
		return nil, corrupt("no room for a meta page")
	}
	meta := make([]byte, metaSize)
	if _, err := v.file.ReadAt(meta, position+pageHeader); err != nil {
		return nil, err
	}
	switch {
	case native.Uint32(meta) != boltMagic:
		return nil, corrupt("not a bbolt file")
	case native.Uint64(meta[metaChecksum:]) != metaSum(meta):
		return nil, corrupt("wrong checksum of a meta page")
	case native.Uint32(meta[4:]) > boltVersion:
		return nil, errNewer
	case native.Uint32(meta[4:]) < boltVersion:
		return nil, corrupt("old bbolt file")
	}
	return meta, nil
}

// readFreelist checks the list of free pages. Only a file without any commit of this package's has one.
func (v *verifier) readFreelist() error {
	if v.freelist == noFreelist {
		return nil
	}
	page, flags, count, err := v.page(v.freelist, 0)
	if err != nil {
		return err
	}
	if flags != flagFreelist {
		return corrupt("page %d is no freelist", v.freelist)
	}
	ids := page[pageHeader:]
	if count == 0xFFFF && len(ids) >= 8 { // then the first element is the count
		count, ids = int(min(native.Uint64(ids), uint64(len(page)))), ids[8:]
	}
	if count*8 > len(ids) {
		return corrupt("freelist of %d pages", count)
	}
	for i := range count {
		id := native.Uint64(ids[i*8:])
		if id >= v.pages || !v.mark(id, 1) {
			return corrupt("page %d cannot be free", id)
		}
	}
	v.used -= uint64(count)
	return nil
}

// mark notes that n pages are in use, and reports whether they were not yet.
func (v *verifier) mark(id, n uint64) bool {
	for end := id + n; id < end; id++ {
		if v.seen[id/64]&(1<<(id%64)) != 0 {
			return false
		}
		v.seen[id/64] |= 1 << (id % 64)
		v.used++
	}
	return true
}

// page reads a page with its overflow. The result is valid until the next call with the same depth.
func (v *verifier) page(id uint64, depth int) (page []byte, flags uint16, count int, err error) {
	if id < 2 || id >= v.pages {
		return nil, 0, 0, corrupt("page %d of %d", id, v.pages)
	}
	if depth >= maxDepth {
		return nil, 0, 0, corrupt("pages nest too deeply")
	}
	var header [pageHeader]byte
	position := int64(id) * int64(v.pageSize)
	if _, err := v.file.ReadAt(header[:], position); err != nil {
		return nil, 0, 0, err
	}
	n := uint64(native.Uint32(header[12:])) + 1
	if native.Uint64(header[:]) != id || n > v.pages-id {
		return nil, 0, 0, corrupt("page %d has a wrong header", id)
	}
	if !v.mark(id, n) {
		return nil, 0, 0, corrupt("page %d is used twice", id)
	}
	size := int(n) * v.pageSize
	if cap(v.buffers[depth]) < size {
		v.buffers[depth] = make([]byte, size)
	}
	page = v.buffers[depth][:size]
	if _, err := v.file.ReadAt(page, position); err != nil {
		return nil, 0, 0, err
	}
	return page, native.Uint16(page[8:]), int(native.Uint16(page[10:])), nil
}

// tree checks the tree below a page: keys ascend, and lie between lower (inclusive) and upper (exclusive; nil: no bound).
func (v *verifier) tree(id uint64, bucket, lower, upper []byte, depth int) error {
	page, flags, count, err := v.page(id, depth)
	if err != nil {
		return err
	}
	switch flags {
	case flagLeaf:
		return v.leaf(page, count, bucket, lower, upper, depth)
	case flagBranch:
		return v.branch(page, count, bucket, lower, upper, depth)
	}
	return corrupt("page %d is neither leaf nor branch", id)
}

func (v *verifier) branch(page []byte, count int, bucket, lower, upper []byte, depth int) error {
	if count == 0 {
		return corrupt("empty branch page")
	}
	elements, err := elementsOf(page, count)
	if err != nil {
		return err
	}
	for i := range count {
		element := elements[i*elementSize:]
		key, _, err := content(element, native.Uint32(element), native.Uint32(element[4:]), 0)
		if err != nil {
			return err
		}
		end := upper
		if i+1 < count {
			next := elements[(i+1)*elementSize:]
			if end, _, err = content(next, native.Uint32(next), native.Uint32(next[4:]), 0); err != nil {
				return err
			}
		}
		if !between(key, lower, end) {
			return corrupt("keys of a branch page out of order")
		}
		if err := v.tree(native.Uint64(element[8:]), bucket, key, end, depth+1); err != nil {
			return err
		}
		lower = key
	}
	return nil
}

func (v *verifier) leaf(page []byte, count int, bucket, lower, upper []byte, depth int) error {
	elements, err := elementsOf(page, count)
	if err != nil {
		return err
	}
	var last []byte
	for i := range count {
		element := elements[i*elementSize:]
		key, value, err := content(element, native.Uint32(element[4:]), native.Uint32(element[8:]), native.Uint32(element[12:]))
		if err != nil {
			return err
		}
		if !between(key, lower, upper) || last != nil && bytes.Compare(last, key) >= 0 {
			return corrupt("keys of a leaf page out of order")
		}
		last = key
		if native.Uint32(element)&flagBucket != 0 {
			err = v.bucket(bucket, key, value, depth)
		} else {
			v.record(bucket, key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket within the bucket of the given name; the registry's are all at the top.
func (v *verifier) bucket(parent, name, value []byte, depth int) error {
	if len(value) < bucketSize {
		return corrupt("short bucket")
	}
	if parent == nil {
		v.buckets++
	} else {
		name = append(append(bytes.Clone(parent), '/'), name...)
	}
	if root := native.Uint64(value); root != 0 {
		return v.tree(root, name, nil, nil, depth+1)
	}
	page := value[bucketSize:]
	if len(page) < pageHeader || native.Uint16(page[8:]) != flagLeaf || depth+1 >= maxDepth {
		return corrupt("wrong inline bucket")
	}
	return v.leaf(page, int(native.Uint16(page[10:])), name, nil, nil, depth+1)
}

// record checks one record's checksum.
func (v *verifier) record(bucket, key, value []byte) {
	isVersion := bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, keyVersion)
	unsealed, err := unseal(key, value)
	switch {
	case err == nil && isVersion:
		v.version = bytes.Clone(unsealed)
	case err != nil && isVersion:
		v.badRecord = fmt.Errorf("version record: %w", err)
	case err != nil && v.badRecord == nil:
		v.badRecord = fmt.Errorf("bucket %q: %w", bucket, err)
	}
}

// elementsOf is the page from its elements on.
func elementsOf(page []byte, count int) ([]byte, error) {
	if count*elementSize > len(page)-pageHeader {
		return nil, corrupt("too many elements on a page")
	}
	return page[pageHeader:], nil
}

// content is the key and value of an element, whose position counts from the element's own start.
func content(element []byte, position, keySize, valueSize uint32) (key, value []byte, err error) {
	start, middle := uint64(position), uint64(position)+uint64(keySize)
	end := middle + uint64(valueSize)
	if keySize == 0 || start < elementSize || end > uint64(len(element)) {
		return nil, nil, corrupt("element beyond its page")
	}
	return element[start:middle], element[middle:end], nil
}

func between(key, lower, upper []byte) bool {
	return bytes.Compare(key, lower) >= 0 && (upper == nil || bytes.Compare(key, upper) < 0)
}
