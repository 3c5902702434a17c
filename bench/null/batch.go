package null

import (
	"encoding/binary"
	"hash/crc32"
)

// batchBytes is about the size of the prepared batch: what a producer that is in a hurry sends. A fetch is written from a
// blob of blobBytes, small enough to stay in the processor's cache.
const (
	batchBytes = 64 << 10
	blobBytes  = 128 << 10
)

// Where the fields of a batch are (KIP-98). The checksum begins behind itself, so the offset may be rewritten.
const (
	atLength       = 8
	atMagic        = 16
	atCRC          = 17
	atAttributes   = 21
	atLastDelta    = 23
	atProducer     = 43
	atCount        = 57
	batchHeader    = 61
	lengthOverhead = 12
)

// prepare makes an uncompressed batch of records with values of a size, with the offset 0.
func prepare(recordBytes int) []byte {
	count := max(batchBytes/recordBytes, 1)
	b := make([]byte, batchHeader, batchHeader+count*(recordBytes+16))
	b[atMagic] = 2
	binary.BigEndian.PutUint32(b[atLastDelta:], uint32(count-1))
	for i := range 14 {
		b[atProducer+i] = 0xff // no producer id, epoch and sequence
	}
	binary.BigEndian.PutUint32(b[atCount:], uint32(count))
	var record []byte
	for i := range count {
		record = append(record[:0], 0, 0) // attributes, timestamp delta
		record = binary.AppendVarint(record, int64(i))
		record = binary.AppendVarint(record, -1) // no key
		record = binary.AppendVarint(record, int64(recordBytes))
		for j := range recordBytes {
			record = append(record, 'a'+byte((i*31+j*7)%26))
		}
		record = append(record, 0) // no headers
		b = binary.AppendVarint(b, int64(len(record)))
		b = append(b, record...)
	}
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-lengthOverhead))
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// count is how many records a batch has.
func count(batch []byte) int64 { return int64(binary.BigEndian.Uint32(batch[atCount:])) }
