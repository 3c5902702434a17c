package wire

import "math"

// The fields of a schema, as Kafka's message definitions name them. Nullable or not makes no difference here.
var (
	boolean = field{kind: fixed, bytes: 1, max: math.MaxInt16}
	int8s   = field{kind: fixed, bytes: 1, max: math.MaxInt16}
	int16s  = field{kind: fixed, bytes: 2, max: math.MaxInt16}
	int32s  = field{kind: fixed, bytes: 4, max: math.MaxInt16}
	int64s  = field{kind: fixed, bytes: 8, max: math.MaxInt16}
	uuid    = field{kind: fixed, bytes: 16, max: math.MaxInt16}
	str     = field{kind: text, max: math.MaxInt16}
	blobs   = field{kind: blob, max: math.MaxInt16}
	strs    = field{kind: list, max: math.MaxInt16, of: &structure{fields: []field{str}, bare: true}}
)

// from limits a field to version and above.
func (f field) from(version int16) field { f.min = version; return f }

// to limits a field to version and below.
func (f field) to(version int16) field { f.max = version; return f }

func listOf(fields ...field) field {
	return field{kind: list, max: math.MaxInt16, of: &structure{fields: fields}}
}

func numbers(of field) field {
	return field{kind: fixedList, bytes: of.bytes, max: math.MaxInt16}
}

func maybe(fields ...field) field {
	return field{kind: optional, max: math.MaxInt16, of: &structure{fields: fields}}
}

func body(fields ...field) structure { return structure{fields: fields} }

// schemas has the shape of every API that can be served, by key. A test compares each, at every version, with
// what kmsg writes.
var schemas = map[int16]*schema{
	0: {flexible: 9, body: body(str.from(3), int16s, int32s,
		listOf(str.to(12), uuid.from(13), listOf(int32s, blobs)))}, // Produce
	1: {flexible: 12, body: structure{ // Fetch
		fields: []field{
			int32s.to(14), int32s, int32s, int32s.from(3), int8s.from(4), int32s.from(7), int32s.from(7),
			listOf(str.to(12), uuid.from(13),
				listOf(int32s, int32s.from(9), int64s, int32s.from(12), int64s.from(5), int32s)),
			listOf(str.to(12), uuid.from(13), numbers(int32s)).from(7),
			str.from(11),
		},
		known: map[uint32]*structure{1: {fields: []field{int32s, int64s}}},
	}},
	2: {flexible: 6, body: body(int32s, int8s.from(2),
		listOf(str, listOf(int32s, int32s.from(4), int64s, int32s.to(0))), int32s.from(10))}, // ListOffsets
	3:  {flexible: 9, body: body(listOf(uuid.from(10), str), boolean.from(4), boolean.from(8).to(10), boolean.from(8))}, // Metadata
	10: {flexible: 3, body: body(str.to(3), int8s.from(1), strs.from(4))},                                               // FindCoordinator
	18: {flexible: 3, body: body(str.from(3), str.from(3), str.from(5), int32s.from(5))},                                // ApiVersions
	19: {flexible: 5, body: body(
		listOf(str, int32s, int16s, listOf(int32s, numbers(int32s)), listOf(str, str)),
		int32s, boolean.from(1))}, // CreateTopics
	20: {flexible: 4, body: body(strs.to(5), listOf(str, uuid).from(6), int32s)},                       // DeleteTopics
	21: {flexible: 2, body: body(listOf(str, listOf(int32s, int64s)), int32s)},                         // DeleteRecords
	22: {flexible: 2, body: body(str, int32s, int64s.from(3), int16s.from(3))},                         // InitProducerId
	23: {flexible: 4, body: body(int32s.from(3), listOf(str, listOf(int32s, int32s.from(2), int32s)))}, // OffsetForLeaderEpoch
	32: {flexible: 4, body: body(listOf(int8s, str, strs), boolean.from(1), boolean.from(3))},          // DescribeConfigs
	33: {flexible: 2, body: body(listOf(int8s, str, listOf(str, str)), boolean)},                       // AlterConfigs
	35: {flexible: 2, body: body(listOf(str, numbers(int32s)))},                                        // DescribeLogDirs
	37: {flexible: 2, body: body(listOf(str, int32s, listOf(numbers(int32s))), int32s, boolean)},       // CreatePartitions
	44: {flexible: 1, body: body(listOf(int8s, str, listOf(str, int8s, str)), boolean)},                // IncrementalAlterConfigs
	60: {flexible: 0, body: body(boolean, int8s.from(1), boolean.from(2))},                             // DescribeCluster
	61: {flexible: 0, body: body(listOf(str, numbers(int32s)))},                                        // DescribeProducers
	74: {flexible: 0, body: body(numbers(int8s).from(1))},                                              // ListConfigResources
	75: {flexible: 0, body: body(listOf(str), int32s, maybe(str, int32s))},                             // DescribeTopicPartitions
}

// Frame limits by kind of request. What is not named here holds at most frameBytesSmall.
const (
	frameBytesSmall = 64 << 10 // a few numbers and short strings
	frameBytesLists = 4 << 20  // may name every partition of a large cluster
)

var frameBytesByKey = map[int16]int32{
	0: math.MaxInt32, // Produce carries records: only socket.request.max.bytes bounds it
	1: frameBytesLists, 2: frameBytesLists, 3: frameBytesLists,
	10: frameBytesLists, 19: frameBytesLists, 20: frameBytesLists, 21: frameBytesLists,
	23: frameBytesLists, 32: frameBytesLists, 33: frameBytesLists, 35: frameBytesLists, 37: frameBytesLists,
	44: frameBytesLists, 61: frameBytesLists, 75: frameBytesLists,
}

// DefaultFrameBytesMax is the largest frame an API accepts when its API entry names none.
func DefaultFrameBytesMax(key int16) int32 {
	if n := frameBytesByKey[key]; n != 0 {
		return n
	}
	return frameBytesSmall
}
