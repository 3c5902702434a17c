package wire

import "math"

// The fields of a schema, as Kafka's message definitions name them. Nullable or not makes no difference here.
var (
	boolean = field{kind: fixed, bytes: 1, max: math.MaxInt16}
	int8s   = field{kind: fixed, bytes: 1, max: math.MaxInt16}
	int16s  = field{kind: fixed, bytes: 2, max: math.MaxInt16}
	int32s  = field{kind: fixed, bytes: 4, max: math.MaxInt16}
	int64s  = field{kind: fixed, bytes: 8, max: math.MaxInt16}
	double  = field{kind: fixed, bytes: 8, max: math.MaxInt16}
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
	3: {flexible: 9, body: body(listOf(uuid.from(10), str), boolean.from(4), boolean.from(8).to(10), boolean.from(8))}, // Metadata
	8: {flexible: 8, body: body(str, int32s.from(1), str.from(1), str.from(7), int64s.from(2).to(4),
		listOf(str.to(9), uuid.from(10), listOf(int32s, int64s, int64s.from(1).to(1), int32s.from(6), str)))}, // OffsetCommit
	9: {flexible: 6, body: body(str.to(7), listOf(str, numbers(int32s)).to(7),
		listOf(str, str.from(9), int32s.from(9), listOf(str.to(9), uuid.from(10), numbers(int32s))).from(8),
		boolean.from(7))}, // OffsetFetch
	10: {flexible: 3, body: body(str.to(3), int8s.from(1), strs.from(4))},                                              // FindCoordinator
	11: {flexible: 6, body: body(str, int32s, int32s.from(1), str, str.from(5), str, listOf(str, blobs), str.from(8))}, // JoinGroup
	12: {flexible: 4, body: body(str, int32s, str, str.from(3))},                                                       // Heartbeat
	13: {flexible: 4, body: body(str, str.to(2), listOf(str, str, str.from(5)).from(3))},                               // LeaveGroup
	14: {flexible: 4, body: body(str, int32s, str, str.from(3), str.from(5), str.from(5), listOf(str, blobs))},         // SyncGroup
	15: {flexible: 5, body: body(strs, boolean.from(3))},                                                               // DescribeGroups
	16: {flexible: 3, body: body(strs.from(4), strs.from(5))},                                                          // ListGroups
	17: {flexible: math.MaxInt16, body: body(str)},                                                                     // SaslHandshake
	18: {flexible: 3, body: body(str.from(3), str.from(3), str.from(5), int32s.from(5))},                               // ApiVersions
	19: {flexible: 5, body: body(
		listOf(str, int32s, int16s, listOf(int32s, numbers(int32s)), listOf(str, str)),
		int32s, boolean.from(1))}, // CreateTopics
	20: {flexible: 4, body: body(strs.to(5), listOf(str, uuid).from(6), int32s)},                                             // DeleteTopics
	21: {flexible: 2, body: body(listOf(str, listOf(int32s, int64s)), int32s)},                                               // DeleteRecords
	22: {flexible: 2, body: body(str, int32s, int64s.from(3), int16s.from(3))},                                               // InitProducerId
	23: {flexible: 4, body: body(int32s.from(3), listOf(str, listOf(int32s, int32s.from(2), int32s)))},                       // OffsetForLeaderEpoch
	29: {flexible: 2, body: body(int8s, str, int8s.from(1), str, str, int8s, int8s)},                                         // DescribeAcls
	30: {flexible: 2, body: body(listOf(int8s, str, int8s.from(1), str, str, int8s, int8s))},                                 // CreateAcls
	31: {flexible: 2, body: body(listOf(int8s, str, int8s.from(1), str, str, int8s, int8s))},                                 // DeleteAcls
	32: {flexible: 4, body: body(listOf(int8s, str, strs), boolean.from(1), boolean.from(3))},                                // DescribeConfigs
	33: {flexible: 2, body: body(listOf(int8s, str, listOf(str, str)), boolean)},                                             // AlterConfigs
	34: {flexible: 2, body: body(listOf(str, listOf(str, numbers(int32s))))},                                                 // AlterReplicaLogDirs
	35: {flexible: 2, body: body(listOf(str, numbers(int32s)))},                                                              // DescribeLogDirs
	36: {flexible: 2, body: body(blobs)},                                                                                     // SaslAuthenticate
	37: {flexible: 2, body: body(listOf(str, int32s, listOf(numbers(int32s))), int32s, boolean)},                             // CreatePartitions
	38: {flexible: 2, body: body(str.from(3), str.from(3), listOf(str, str), int64s)},                                        // CreateDelegationToken
	39: {flexible: 2, body: body(blobs, int64s)},                                                                             // RenewDelegationToken
	40: {flexible: 2, body: body(blobs, int64s)},                                                                             // ExpireDelegationToken
	41: {flexible: 2, body: body(listOf(str, str))},                                                                          // DescribeDelegationToken
	42: {flexible: 2, body: body(strs)},                                                                                      // DeleteGroups
	43: {flexible: 2, body: body(int8s.from(1), listOf(str, numbers(int32s)), int32s)},                                       // ElectLeaders
	44: {flexible: 1, body: body(listOf(int8s, str, listOf(str, int8s, str)), boolean)},                                      // IncrementalAlterConfigs
	45: {flexible: 0, body: body(int32s, boolean.from(1), listOf(str, listOf(int32s, numbers(int32s))))},                     // AlterPartitionReassignments
	46: {flexible: 0, body: body(int32s, listOf(str, numbers(int32s)))},                                                      // ListPartitionReassignments
	47: {flexible: math.MaxInt16, body: body(str, listOf(str, listOf(int32s)))},                                              // OffsetDelete
	48: {flexible: 1, body: body(listOf(str, int8s, str), boolean)},                                                          // DescribeClientQuotas
	49: {flexible: 1, body: body(listOf(listOf(str, str), listOf(str, double, boolean)), boolean)},                           // AlterClientQuotas
	50: {flexible: 0, body: body(listOf(str))},                                                                               // DescribeUserScramCredentials
	51: {flexible: 0, body: body(listOf(str, int8s), listOf(str, int8s, int32s, blobs, blobs))},                              // AlterUserScramCredentials
	55: {flexible: 0, body: body(listOf(str, listOf(int32s)))},                                                               // DescribeQuorum
	57: {flexible: 0, body: body(int32s, listOf(str, int16s, boolean.to(0), int8s.from(1)), boolean.from(1))},                // UpdateFeatures
	60: {flexible: 0, body: body(boolean, int8s.from(1), boolean.from(2))},                                                   // DescribeCluster
	61: {flexible: 0, body: body(listOf(str, numbers(int32s)))},                                                              // DescribeProducers
	65: {flexible: 0, body: body(strs)},                                                                                      // DescribeTransactions
	66: {flexible: 0, body: body(strs, numbers(int64s), int64s.from(1), str.from(2))},                                        // ListTransactions
	68: {flexible: 0, body: body(str, str, int32s, str, str, int32s, strs, str.from(1), str, listOf(uuid, numbers(int32s)))}, // ConsumerGroupHeartbeat
	69: {flexible: 0, body: body(strs, boolean)},                                                                             // ConsumerGroupDescribe
	71: {flexible: 0, body: body(uuid)},                                                                                      // GetTelemetrySubscriptions
	72: {flexible: 0, body: body(uuid, int32s, boolean, int8s, blobs)},                                                       // PushTelemetry
	74: {flexible: 0, body: body(numbers(int8s).from(1))},                                                                    // ListConfigResources
	75: {flexible: 0, body: body(listOf(str), int32s, maybe(str, int32s))},                                                   // DescribeTopicPartitions
}

// Frame limits by kind of request. What is not named here holds at most frameBytesSmall.
const (
	frameBytesSmall = 64 << 10 // a few numbers and short strings
	frameBytesLists = 4 << 20  // may name every partition of a large cluster
)

var frameBytesByKey = map[int16]int32{
	0: math.MaxInt32, // Produce carries records: only socket.request.max.bytes bounds it
	1: frameBytesLists, 2: frameBytesLists, 3: frameBytesLists,
	8: frameBytesLists, 9: frameBytesLists, 10: frameBytesLists, 11: frameBytesLists, 13: frameBytesLists, 14: frameBytesLists,
	15: frameBytesLists, 30: frameBytesLists, 31: frameBytesLists, 34: frameBytesLists, 42: frameBytesLists, 43: frameBytesLists,
	45: frameBytesLists, 46: frameBytesLists, 47: frameBytesLists, 49: frameBytesLists, 65: frameBytesLists, 68: frameBytesLists,
	69: frameBytesLists, 72: frameBytesLists,
	19: frameBytesLists, 20: frameBytesLists, 21: frameBytesLists,
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
