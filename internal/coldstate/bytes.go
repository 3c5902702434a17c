package coldstate

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Entries under keys of any bytes. They obey the same rules as those under integers: batches, checkpoints, DeletePartition.

// putBytesKey writes the key of an entry to dst, which has the right size.
func putBytesKey(dst []byte, part uint64, key []byte) {
	dst[0] = spaceBytes
	binary.BigEndian.PutUint64(dst[1:], part)
	copy(dst[partKeyBytes:], key)
}

func makeBytesKey(part uint64, key []byte) []byte {
	k := make([]byte, partKeyBytes+len(key))
	putBytesKey(k, part, key)
	return k
}

// AfterPrefix returns the first key after all keys that begin with prefix; nil if there can be none.
func AfterPrefix(prefix []byte) []byte {
	k := bytes.Clone(prefix)
	for i := len(k) - 1; i >= 0; i-- {
		if k[i]++; k[i] != 0 {
			return k[:i+1]
		}
	}
	return nil
}

// GetBytes appends the value of an entry that PutBytes stored to dst.
func (s *Store) GetBytes(part uint64, key, dst []byte) (val []byte, found bool, err error) {
	start := time.Now()
	val, found, err = s.get(makeBytesKey(part, key), dst)
	s.metrics.Reads.Inc()
	s.metrics.ReadSeconds.Observe(time.Since(start).Seconds())
	return val, found, err
}

// ScanBytes visits at most limit of a partition's entries under keys of bytes that begin with prefix, in the order of bytes, from the
// key from on (nil: from the first). If there are more, next is the key to go on from. fn may say from which key to go on, which has
// to be after key; nil goes on with the next: so a scan passes over many entries at the cost of a seek. Key and val are valid during
// the call only; an error of fn ends the scan and is returned.
func (s *Store) ScanBytes(part uint64, prefix, from []byte, limit int,
	fn func(key, val []byte) (seek []byte, err error),
) (next []byte, more bool, err error) {
	lower, upper := makeBytesKey(part, prefix), partEnd(spaceBytes, part)
	if after := AfterPrefix(prefix); after != nil {
		upper = makeBytesKey(part, after)
	}
	start := time.Now()
	err = s.iterate(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}, func(it *pebble.Iterator) error {
		next, more, err = scanBytes(s, it, part, from, limit, fn)
		return err
	})
	s.metrics.Reads.Inc()
	s.metrics.ReadSeconds.Observe(time.Since(start).Seconds())
	return next, more && err == nil, err
}

func scanBytes(s *Store, it *pebble.Iterator, part uint64, from []byte, limit int,
	fn func(key, val []byte) (seek []byte, err error),
) (next []byte, more bool, err error) {
	ok := false
	if from == nil {
		ok = it.First()
	} else {
		ok = it.SeekGE(makeBytesKey(part, from))
	}
	for n := 0; ok; n++ {
		if n == limit {
			return bytes.Clone(it.Key()[partKeyBytes:]), true, nil
		}
		val, err := it.ValueAndErr()
		if err != nil {
			return nil, false, s.readError(err)
		}
		seek, err := fn(it.Key()[partKeyBytes:], val)
		switch {
		case err != nil:
			return nil, false, err
		case seek == nil:
			ok = it.Next()
		default:
			ok = it.SeekGE(makeBytesKey(part, seek))
		}
	}
	return nil, false, nil
}
