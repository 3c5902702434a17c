package group

import (
	"encoding/binary"
	"testing"
)

// The values are those of hash4j 0.22, which Kafka uses, over bytes i*7+n.
func TestXXH3(t *testing.T) {
	for n, want := range map[int]uint64{
		0: 0x2d06800538d394c2, 1: 0xe12ef9d2eb86ceeb, 2: 0x33b0814d4f061d86, 3: 0xa9088dda485b481c, 4: 0x57648c318a7a307e,
		7: 0x4f82be6987f5eea7, 8: 0xb0fb3e3c3f94990a, 9: 0x8aca5cb309437c2e, 15: 0xc14e5d6729b9e68c, 16: 0x2bd926d88792965a,
		17: 0x621f018aad19b14a, 32: 0x8911535e799e4d99, 33: 0xb6d8b523db9b284c, 64: 0x1b1bf114c7371f1b, 65: 0xf0037f8ac0441cc4,
		100: 0x6e2ae3af09fcbd6d, 128: 0xe9549af9a74093e6, 129: 0xb54ad1cd8a4c84b9, 130: 0x52dc6001473ca9cb, 200: 0x660156a92b43203f,
		240: 0x3e136902ec966624, 241: 0xbd7d29b6ba966d6a, 256: 0xff5a1cefade75bb9, 257: 0x78ebbc62dbd8326d, 500: 0x57fa1e96a14a714c,
		1023: 0x0805f138405a64a4, 1024: 0xdc5acf0b043c445b, 1025: 0xc856c953bbdbc807, 2048: 0x848d24cc268f7498, 5000: 0x308f149a673a1625,
	} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*7 + n)
		}
		if got := xxh3(b); got != want {
			t.Errorf("xxh3 of %d bytes is %016x, want %016x", n, got, want)
		}
	}
}

func TestTopicHash(t *testing.T) {
	info := TopicInfo{Name: "orders", Partitions: 3}
	binary.BigEndian.PutUint64(info.ID[:8], 0x0102030405060708)
	binary.BigEndian.PutUint64(info.ID[8:], 0x1112131415161718)
	if got, _ := topicHash(info, nil); got != 0xc8f03918fe5051c5 {
		t.Errorf("topic hash %016x", got)
	}
}
