package null

import (
	"errors"
	"hash/fnv"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions that are spoken, Kafka 4.3's except for offsets of groups, whose last versions know topics by id only.
const maxProduce = 13

var spoken = []kmsg.ApiVersionsResponseApiKey{
	{ApiKey: keyProduce, MinVersion: 0, MaxVersion: maxProduce},
	{ApiKey: 1, MinVersion: 4, MaxVersion: 18}, // Fetch
	{ApiKey: 2, MinVersion: 1, MaxVersion: 11}, // ListOffsets
	{ApiKey: 3, MinVersion: 0, MaxVersion: 13}, // Metadata
	{ApiKey: 8, MinVersion: 2, MaxVersion: 9},  // OffsetCommit
	{ApiKey: 9, MinVersion: 1, MaxVersion: 9},  // OffsetFetch
	{ApiKey: 10, MinVersion: 0, MaxVersion: 6}, // FindCoordinator
	{ApiKey: 11, MinVersion: 2, MaxVersion: 9}, // JoinGroup
	{ApiKey: 12, MinVersion: 0, MaxVersion: 4}, // Heartbeat
	{ApiKey: 13, MinVersion: 0, MaxVersion: 5}, // LeaveGroup
	{ApiKey: 14, MinVersion: 0, MaxVersion: 5}, // SyncGroup
	{ApiKey: 18, MinVersion: 0, MaxVersion: 4}, // ApiVersions
	{ApiKey: 19, MinVersion: 2, MaxVersion: 7}, // CreateTopics
	{ApiKey: 20, MinVersion: 1, MaxVersion: 6}, // DeleteTopics
	{ApiKey: 22, MinVersion: 0, MaxVersion: 5}, // InitProducerId
	{ApiKey: 60, MinVersion: 0, MaxVersion: 2}, // DescribeCluster
}

const (
	keyApiVersions                = 18
	unsupportedVersion            = 35
	unknownTopicOrPartition       = 3
	unknownTopicID                = 100
	generation                    = 1
	self                    int32 = 1
)

var errUnspoken = errors.New("a request that the null server does not speak")

// control answers a request that is held in memory.
func (k *conn) control(key, version int16) error {
	known := false
	for _, s := range spoken {
		known = known || s.ApiKey == key && s.MinVersion <= version && version <= s.MaxVersion
	}
	if !known {
		if key != keyApiVersions {
			return errUnspoken
		}
		version = 0 // as Kafka does, so that the client can ask again
		r := &kmsg.ApiVersionsResponse{ErrorCode: unsupportedVersion, ApiKeys: spoken}
		k.out = r.AppendTo(k.out)
		return k.send()
	}
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	f := bodyAfterHeader(k.body, req.IsFlexible())
	if f == nil {
		return errMalformed
	}
	if err := req.ReadFrom(f); err != nil {
		return errMalformed
	}
	if fetch, ok := req.(*kmsg.FetchRequest); ok {
		return k.fetch(fetch)
	}
	if req.IsFlexible() && key != keyApiVersions {
		k.out = append(k.out, 0)
	}
	resp := k.answer(req)
	resp.SetVersion(version)
	k.out = resp.AppendTo(k.out)
	return k.send()
}

// bodyAfterHeader skips the client id and the tags of the header; nil if that can't be done.
func bodyAfterHeader(b []byte, flexible bool) []byte {
	if len(b) < 2 {
		return nil
	}
	n := max(int(int16(uint16(b[0])<<8|uint16(b[1]))), 0) + 2
	if len(b) < n {
		return nil
	}
	b = b[n:]
	if !flexible {
		return b
	}
	if len(b) == 0 || b[0] != 0 {
		return nil // no client sends tags there
	}
	return b[1:]
}

// answer is the answer to every request but Produce and Fetch.
func (k *conn) answer(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind()
	switch r := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		r.ApiKeys = spoken
	case *kmsg.MetadataResponse:
		k.metadata(req.(*kmsg.MetadataRequest), r)
	case *kmsg.DescribeClusterResponse:
		r.ClusterID, r.ControllerID = clusterID, self
		r.Brokers = []kmsg.DescribeClusterResponseBroker{{NodeID: self, Host: k.host, Port: k.port}}
	case *kmsg.InitProducerIDResponse:
		r.ProducerID = 1
	case *kmsg.CreateTopicsResponse:
		for _, t := range req.(*kmsg.CreateTopicsRequest).Topics {
			r.Topics = append(r.Topics, k.topics.create(t))
		}
	case *kmsg.DeleteTopicsResponse:
		k.topics.delete(req.(*kmsg.DeleteTopicsRequest), r)
	case *kmsg.ListOffsetsResponse:
		listOffsets(req.(*kmsg.ListOffsetsRequest), r)
	default:
		k.group(req, resp)
	}
	return resp
}

const clusterID = "null"

func (k *conn) metadata(req *kmsg.MetadataRequest, r *kmsg.MetadataResponse) {
	id := clusterID
	r.ClusterID, r.ControllerID = &id, self
	r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: self, Host: k.host, Port: k.port}}
	asked := req.Topics
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, name := range k.topics.names() {
			asked = append(asked, kmsg.MetadataRequestTopic{Topic: &name})
		}
	}
	left := maxPartitions
	for _, t := range asked {
		out := kmsg.NewMetadataResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		partitions := 0
		if t.Topic == nil {
			out.ErrorCode = unknownTopicID
			if name, n := k.topics.byID(t.TopicID); n > 0 {
				out.Topic, partitions, out.ErrorCode = &name, n, 0
			}
		} else if partitions = k.topics.partitions(*t.Topic, req.AllowAutoTopicCreation); partitions > 0 {
			out.TopicID = idOf(*t.Topic)
		} else {
			out.ErrorCode = unknownTopicOrPartition
		}
		if left -= partitions; left < 0 {
			partitions, out.ErrorCode = 0, unknownTopicOrPartition
		}
		for p := range partitions {
			out.Partitions = append(out.Partitions, kmsg.MetadataResponseTopicPartition{Partition: int32(p), Leader: self, Replicas: []int32{self}, ISR: []int32{self}})
		}
		r.Topics = append(r.Topics, out)
	}
}

func listOffsets(req *kmsg.ListOffsetsRequest, r *kmsg.ListOffsetsResponse) {
	const latest = -1
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.Offset = p.Partition, 0
			if p.Timestamp == latest {
				answer.Offset = highWatermark
			}
			out.Partitions = append(out.Partitions, answer)
		}
		r.Topics = append(r.Topics, out)
	}
}

// topics are the topics that were heard of.
type topics struct {
	usual int // partitions of one that nobody created
	mu    struct {
		sync.Mutex
		known map[string]int // partitions; 0: deleted
		ids   map[[16]byte]string
	}
}

func newTopics(usual int) *topics {
	t := &topics{usual: usual}
	t.mu.known, t.mu.ids = map[string]int{}, map[[16]byte]string{}
	return t
}

func (t *topics) names() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, n := range t.mu.known {
		if n > 0 {
			out = append(out, name)
		}
	}
	return out
}

// partitions is how many a topic has, 0 if there is none. Whoever asks for a topic that nobody deleted finds one.
func (t *topics) partitions(name string, create bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, heard := t.mu.known[name]
	if n == 0 && (create || !heard) && t.setLocked(name, t.usual) {
		n = t.usual
	}
	return n
}

func (t *topics) byID(id [16]byte) (string, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, ok := t.mu.ids[id]
	if !ok {
		return "", 0
	}
	return name, t.mu.known[name]
}

// setLocked remembers a topic, unless there are too many.
func (t *topics) setLocked(name string, partitions int) bool {
	if _, heard := t.mu.known[name]; !heard && len(t.mu.known) >= maxTopics {
		return false
	}
	t.mu.known[name], t.mu.ids[idOf(name)] = partitions, name
	return true
}

func (t *topics) create(asked kmsg.CreateTopicsRequestTopic) kmsg.CreateTopicsResponseTopic {
	const topicAlreadyExists, invalidPartitions = 36, 37
	t.mu.Lock()
	defer t.mu.Unlock()
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic, out.TopicID, out.ReplicationFactor = asked.Topic, idOf(asked.Topic), 1
	n := int(asked.NumPartitions)
	if n == -1 {
		n = max(t.usual, len(asked.ReplicaAssignment))
	}
	out.NumPartitions = int32(n)
	switch {
	case n <= 0 || n > maxPartitions:
		out.ErrorCode = invalidPartitions
	case t.mu.known[asked.Topic] > 0:
		out.ErrorCode = topicAlreadyExists
	case !t.setLocked(asked.Topic, n):
		out.ErrorCode = unknownTopicOrPartition
	}
	return out
}

func (t *topics) delete(req *kmsg.DeleteTopicsRequest, r *kmsg.DeleteTopicsResponse) {
	asked := req.Topics
	for _, name := range req.TopicNames {
		asked = append(asked, kmsg.DeleteTopicsRequestTopic{Topic: &name})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, topic := range asked {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = topic.Topic, topic.TopicID
		if name, ok := t.mu.ids[topic.TopicID]; ok && topic.Topic == nil {
			out.Topic = &name
		}
		if out.Topic == nil {
			out.ErrorCode = unknownTopicID
		} else if t.mu.known[*out.Topic] == 0 {
			out.ErrorCode = unknownTopicOrPartition
		} else {
			t.mu.known[*out.Topic] = 0
		}
		r.Topics = append(r.Topics, out)
	}
}

// idOf is a topic's id: always the same for a name.
func idOf(name string) (id [16]byte) {
	h := fnv.New128a()
	h.Write([]byte(name))
	h.Sum(id[:0])
	return id
}
