package group

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
)

// topicHash is the hash of one topic that exists (Kafka's Utils.computeTopicHash): version, id, name, partitions. A broker has no rack
// here, so no racks follow the partitions. buf is room to work in.
func topicHash(t TopicInfo, buf []byte) (hash uint64, grown []byte) {
	le := binary.LittleEndian
	buf = append(buf[:0], 0) // the version of the hash function
	buf = le.AppendUint64(buf, binary.BigEndian.Uint64(t.ID[:8]))
	buf = le.AppendUint64(buf, binary.BigEndian.Uint64(t.ID[8:]))
	units := utf16.Encode([]rune(t.Name))
	for _, u := range units {
		buf = le.AppendUint16(buf, u)
	}
	buf = le.AppendUint32(buf, uint32(len(units)))
	buf = le.AppendUint32(buf, uint32(t.Partitions))
	for p := range t.Partitions {
		buf = le.AppendUint32(buf, uint32(p))
	}
	return xxh3(buf), buf
}

// hashMemo is a metadata hash and what it was computed from, so that members who come and go with the same subscription do not make
// it be computed again.
type hashMemo struct {
	known         bool
	revision      uint64 // of the topics
	subscriptions uint64 // consumerGroup.subscriptions
	hash          int64
}

func (c *consumerGroup) topicsHash(topics Topics) int64 {
	memo := hashMemo{known: true, revision: topics.Revision(), subscriptions: c.subscriptions}
	if memo.hash = c.memo.hash; memo != c.memo {
		memo.hash = c.metadataHash(topics)
		c.memo = memo
	}
	return memo.hash
}

// metadataHash is the hash of the subscribed topics that exist, in the order of their names (ModernGroup.computeMetadataHash); 0 for
// none. It goes into the group's record, so that a change of a topic is noticed even over a restart.
func (c *consumerGroup) metadataHash(topics Topics) int64 {
	names := make([]string, 0, len(c.names))
	for name := range c.names {
		names = append(names, name)
	}
	for _, r := range c.regexes {
		if r.members > 0 {
			names = append(names, r.topics...)
		}
	}
	slices.Sort(names)
	var hashes, buf []byte
	for _, name := range slices.Compact(names) {
		if t, ok := topics.Topic(name); ok {
			var h uint64
			h, buf = topicHash(t, buf)
			hashes = binary.LittleEndian.AppendUint64(hashes, h)
		}
	}
	if len(hashes) == 0 {
		return 0
	}
	return int64(xxh3(hashes))
}

// What follows is XXH3 of 64 bits with seed 0, by its specification (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).

const (
	xxhPrime32x1 = 0x9E3779B1
	xxhPrime32x2 = 0x85EBCA77
	xxhPrime32x3 = 0xC2B2AE3D
	xxhPrime64x1 = 0x9E3779B185EBCA87
	xxhPrime64x2 = 0xC2B2AE3D27D4EB4F
	xxhPrime64x3 = 0x165667B19E3779F9
	xxhPrime64x4 = 0x85EBCA77C2B2AE63
	xxhPrime64x5 = 0x27D4EB2F165667C5
	xxhMix1      = 0x165667919E3779F9
	xxhMix2      = 0x9FB21C651E98DF25

	xxhStripe = 64
	xxhBlock  = 1024
)

var xxhSecret = func() (s []byte) {
	for _, w := range [...]uint64{
		0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
		0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
		0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
		0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
		0xc3ebd33483acc5ea, 0xeb6313faffa081c5, 0x49daf0b751dd0d17, 0x9e68d429265516d3,
		0xfca1477d58be162b, 0xce31d07ad1b8f88f, 0x280416958f3acb45, 0x7e404bbbcafbd7af,
	} {
		s = binary.LittleEndian.AppendUint64(s, w)
	}
	return s
}()

func le64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func secret(at int) uint64 { return le64(xxhSecret, at) }

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func avalanche(h uint64) uint64 {
	h ^= h >> 37
	h *= xxhMix1
	return h ^ h>>32
}

func avalanche64(h uint64) uint64 {
	h ^= h >> 33
	h *= xxhPrime64x2
	h ^= h >> 29
	h *= xxhPrime64x3
	return h ^ h>>32
}

func mix16(b []byte, at, secretAt int) uint64 {
	return fold(le64(b, at)^secret(secretAt), le64(b, at+8)^secret(secretAt+8))
}

func xxh3(b []byte) uint64 {
	n := len(b)
	switch {
	case n == 0:
		return avalanche64(secret(56) ^ secret(64))
	case n <= 3:
		v := uint32(b[0])<<16 | uint32(b[n>>1])<<24 | uint32(b[n-1]) | uint32(n)<<8
		return avalanche64(uint64(v) ^ uint64(uint32(secret(0))^uint32(secret(4))))
	case n <= 8:
		first, last := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[n-4:])
		h := (uint64(last) + uint64(first)<<32) ^ secret(8) ^ secret(16)
		h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
		h *= xxhMix2
		h ^= h>>35 + uint64(n)
		h *= xxhMix2
		return h ^ h>>28
	case n <= 16:
		lo := le64(b, 0) ^ secret(24) ^ secret(32)
		hi := le64(b, n-8) ^ secret(40) ^ secret(48)
		return avalanche(uint64(n) + bits.ReverseBytes64(lo) + hi + fold(lo, hi))
	case n <= 128:
		acc := uint64(n) * xxhPrime64x1
		for i := (n - 1) / 32; i >= 0; i-- {
			acc += mix16(b, 16*i, 32*i) + mix16(b, n-16*(i+1), 32*i+16)
		}
		return avalanche(acc)
	case n <= 240:
		return xxh3Middle(b)
	}
	return xxh3Long(b)
}

func xxh3Middle(b []byte) uint64 {
	n := len(b)
	acc := uint64(n) * xxhPrime64x1
	for i := range 8 {
		acc += mix16(b, 16*i, 16*i)
	}
	acc = avalanche(acc)
	for i := 8; i < n/16; i++ {
		acc += mix16(b, 16*i, 16*(i-8)+3)
	}
	return avalanche(acc + mix16(b, n-16, 136-17))
}

func xxh3Long(b []byte) uint64 {
	acc := [8]uint64{xxhPrime32x3, xxhPrime64x1, xxhPrime64x2, xxhPrime64x3, xxhPrime64x4, xxhPrime32x2, xxhPrime64x5, xxhPrime32x1}
	n := len(b)
	for at := 0; at < n-1; at += xxhBlock {
		// The last stripe is taken apart, below, and is never whole here.
		stripes := min(xxhBlock, n-1-at) / xxhStripe
		for s := range stripes {
			accumulate(&acc, b[at+s*xxhStripe:], 8*s)
		}
		if at+xxhBlock > n-1 {
			break
		}
		for i := range acc {
			acc[i] = (acc[i] ^ acc[i]>>47 ^ secret(len(xxhSecret)-xxhStripe+8*i)) * xxhPrime32x1
		}
	}
	accumulate(&acc, b[n-xxhStripe:], len(xxhSecret)-xxhStripe-7)
	h := uint64(n) * xxhPrime64x1
	for i := range 4 {
		h += fold(acc[2*i]^secret(11+16*i), acc[2*i+1]^secret(11+16*i+8))
	}
	return avalanche(h)
}

func accumulate(acc *[8]uint64, stripe []byte, secretAt int) {
	for i := range acc {
		data := le64(stripe, 8*i)
		key := data ^ secret(secretAt+8*i)
		acc[i^1] += data
		acc[i] += key & 0xffffffff * (key >> 32)
	}
}
