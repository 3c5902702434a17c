package autopsy

import "strings"

// cause is something that fills a broker's heap, told by the number of objects of its classes.
type cause struct {
	id      string
	name    string   // of many
	classes []string // without their package: packages moved from version to version
	// weight is about how many bytes one such object keeps alive with all that belongs to it. It is an estimate, made from the
	// fields of the classes, and good for one significant digit.
	weight float64
	many   int64 // from how many on it is out of the ordinary whatever the heap
	means  string
	next   string // where to look
}

// causes are told apart by a histogram. The producers' own entries are not among them.
var causes = []cause{
	{"transactional-ids", "transactional ids", []string{"TransactionMetadata"}, 600, 100_000,
		"applications make up a new transactional.id each time (churn of ids, horseman 4b)",
		"kafka-transactions.sh list, grouped by the beginning of the id; entries live for transactional.id.expiration.ms"},
	{"committed-offsets", "committed offsets", []string{"OffsetAndMetadata", "CommitRecordMetadataAndOffset"}, 200, 2_000_000,
		"consumer groups that nobody uses any more, or new group ids each time",
		"kafka-consumer-groups.sh --list | wc -l; offsets live for offsets.retention.minutes after a group is empty"},
	{"group-members", "members of consumer groups", []string{"MemberMetadata", "ConsumerGroupMember", "ShareGroupMember", "StreamsGroupMember"}, 2_000, 100_000,
		"consumers that join anew and leave dead members behind, or very large groups",
		"kafka-consumer-groups.sh --describe --members; session.timeout.ms"},
	{"connections", "connections", []string{"KafkaChannel"}, 30_000, 20_000,
		"clients open connections and keep them: often one client per request",
		"connection-count by listener; connections.max.idle.ms, max.connections.per.ip"},
	{"sensors", "metric sensors", []string{"Sensor"}, 3_000, 100_000,
		"client ids with something random in them: every client id gets sensors of its own while quotas are on",
		"the client-id tags of kafka.server:type=Produce and Fetch"},
	{"fetch-sessions", "cached fetch partitions", []string{"CachedPartition"}, 120, 5_000_000,
		"many fetch sessions over many partitions",
		"max.incremental.fetch.session.cache.slots, NumIncrementalFetchSessions"},
	{"purgatory", "requests that wait", []string{"DelayedFetch", "DelayedProduce", "DelayedJoin", "DelayedRemoteFetch"}, 3_000, 200_000,
		"requests pile up waiting: acks from slow followers, long fetch.max.wait.ms",
		"PurgatorySize by operation"},
	{"segments", "log segments", []string{"LogSegment"}, 1_500, 500_000,
		"too many partitions or too small segments for this heap",
		"segment.ms and segment.bytes of the topics with most segments"},
	{"open-transactions", "transactions of partitions", []string{"TxnMetadata", "VerificationStateEntry"}, 150, 1_000_000,
		"transactions that hang, or very many at once",
		"kafka-transactions.sh find-hanging"},
	{"metadata-image", "partitions of the cluster", []string{"PartitionRegistration", "UpdateMetadataPartitionState"}, 300, 1_000_000,
		"a cluster with very many partitions",
		"the number of partitions in the cluster"},
}

// bulkClasses take part in producers' entries or are worth naming by themselves. They belong to everybody, so that no cause
// is told by them alone.
var bulkClasses = map[string]bool{
	"java.util.HashMap$Node": true, "java.lang.Long": true, "java.util.ArrayDeque": true, "java.util.OptionalLong": true,
	"[Ljava.lang.Object;": true, "[B": true, "java.nio.HeapByteBuffer": true, "[Ljava.util.HashMap$Node;": true,
	"scala.collection.mutable.Queue": true, "scala.collection.mutable.HashMap$Node": true, "scala.collection.mutable.DefaultEntry": true,
	"scala.collection.mutable.LinkedList": true, "scala.collection.mutable.ArrayDeque": true, "scala.collection.mutable.MutableList": true,
	"java.lang.Object[]": true, "byte[]": true,
}

var simpleNames = func() map[string]bool {
	m := map[string]bool{"ProducerIdEntry": true, "ProducerStateEntry": true, "BatchMetadata": true, "ProducerStateManager": true, "ProducerStateManagerConfig": true, "UnifiedLog": true, "Log": true}
	for _, c := range causes {
		for _, n := range c.classes {
			m[n] = true
		}
	}
	return m
}()

// knownClass says whether a rule knows the class.
func knownClass(name string) bool {
	if bulkClasses[name] {
		return true
	}
	return (strings.HasPrefix(name, "kafka.") || strings.HasPrefix(name, "org.apache.kafka.")) && simpleNames[simpleName(name)]
}

func simpleName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
