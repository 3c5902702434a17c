package broker

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// Metadata, versions 0 to 13.
//
// All topics are asked for by an empty list in version 0 and a null one later; none
// by an empty list. Topics come by name, or by id from version 12; versions 10 and 11
// have the field and refuse its use, and one topic asked for by id makes all of the
// request count by id (KafkaApis.handleTopicMetadataRequest). A topic asked for twice is answered once.
//
// A topic that is missing is created where auto.create.topics.enable and the client
// (version 4, KIP-204; always before) allow it. Kafka answers such a request with
// UNKNOWN_TOPIC_OR_PARTITION while its controller works; here the creation is durable
// before the answer, which holds the new topic. Internal topics are not created: they come with what they serve.
//
// The one broker leads everything, is the controller, and is named with the
// address that is advertised for the listener the client came through. Operations (KIP-430) are all there are, because nothing
// restricts them; the cluster's are told in versions 8 to 10 (KIP-700).

const (
	metadataNullMin         = 1
	metadataAutoCreateMin   = 4
	metadataTopicIDMin      = 12
	metadataErrorCodeMin    = 13
	metadataOperationsMin   = 8
	metadataClusterLastOper = 10
)

// autoCreateTopicsMax bounds the topics that one request creates; the client asks
// again for the rest.
const autoCreateTopicsMax = 1000

func (b *Broker) handleMetadata(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.MetadataRequest)
	if code := metadataRefusal(req); code != codeNone {
		return wire.Ready(metadataRefused(req, code))
	}
	// Creating a topic waits for the disk: that is for the second phase.
	if !b.mayCreate(req) {
		return wire.Ready(b.metadata(r, req))
	}
	return replyFunc(func(context.Context) (wire.Response, error) { return b.metadata(r, req), nil })
}

func metadataRefusal(req *kmsg.MetadataRequest) int16 {
	if req.Version >= metadataTopicIDMin {
		return codeNone
	}
	for i := range req.Topics {
		if req.Topics[i].Topic == nil || req.Topics[i].TopicID != [16]byte{} {
			return codeInvalidRequest
		}
	}
	return codeNone
}

// metadataRefused is MetadataRequest.getErrorResponse: every topic gets the code.
func metadataRefused(req *kmsg.MetadataRequest, code int16) *kmsg.MetadataResponse {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if req.Version >= metadataErrorCodeMin {
		resp.ErrorCode = code
	}
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		name := ""
		if req.Topics[i].Topic != nil {
			name = *req.Topics[i].Topic
		}
		t.ErrorCode, t.Topic = code, &name
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// mayCreate says whether a missing topic of the request is to be created.
func (b *Broker) mayCreate(req *kmsg.MetadataRequest) bool {
	return !allTopics(req) && len(req.Topics) > 0 && (req.AllowAutoTopicCreation || req.Version < metadataAutoCreateMin) && b.o.AutoCreate()
}

func allTopics(req *kmsg.MetadataRequest) bool {
	return req.Topics == nil || (req.Version < metadataNullMin && len(req.Topics) == 0)
}

func (b *Broker) metadata(r *wire.Request, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	n := b.node(r.Session)
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port, broker.Rack = n.id, n.host, n.port, n.rack
	resp.Brokers = append(resp.Brokers, broker)
	resp.ClusterID = &b.o.ClusterID
	resp.ControllerID = b.o.NodeID
	if req.Version >= metadataOperationsMin && req.Version <= metadataClusterLastOper && req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = operationsCluster
	}
	if allTopics(req) {
		for _, t := range b.o.Catalog.Topics() {
			resp.Topics = append(resp.Topics, b.metadataTopic(req, t))
		}
		return resp
	}
	b.namedTopics(req, resp)
	return resp
}

// namedTopics answers the topics of the request, each once.
func (b *Broker) namedTopics(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	byID := false
	for i := range req.Topics {
		byID = byID || req.Topics[i].TopicID != [16]byte{}
	}
	type asked struct {
		id   [16]byte
		name string
	}
	seen := make(map[asked]bool, len(req.Topics))
	created := 0
	for i := range req.Topics {
		rt := &req.Topics[i]
		key := asked{id: rt.TopicID}
		if !byID && rt.Topic != nil {
			key.name = *rt.Topic
		}
		if seen[key] || (byID && rt.TopicID == [16]byte{}) {
			continue
		}
		seen[key] = true
		if byID {
			resp.Topics = append(resp.Topics, b.metadataByID(req, rt.TopicID))
		} else {
			resp.Topics = append(resp.Topics, b.metadataByName(req, key.name, &created))
		}
	}
}

func (b *Broker) metadataByID(req *kmsg.MetadataRequest, id [16]byte) kmsg.MetadataResponseTopic {
	if t, found := b.o.Catalog.TopicByID(id); found {
		return b.metadataTopic(req, t)
	}
	out := kmsg.NewMetadataResponseTopic()
	out.ErrorCode, out.TopicID = codeUnknownTopicID, id
	return out
}

// metadataByName counts in created the topics it made.
func (b *Broker) metadataByName(req *kmsg.MetadataRequest, name string, created *int) kmsg.MetadataResponseTopic {
	t, found := b.o.Catalog.Topic(name)
	if found {
		return b.metadataTopic(req, t)
	}
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.IsInternal = &name, catalog.IsInternal(name)
	if err := catalog.ValidateTopicName(name); err != nil {
		out.ErrorCode = codeOf(err)
		return out
	}
	out.ErrorCode = codeUnknownTopicOrPartition
	if out.IsInternal || *created >= autoCreateTopicsMax || !b.mayCreate(req) {
		return out
	}
	*created++
	t, err := b.o.Catalog.CreateTopic(catalog.TopicSpec{Name: name, Partitions: catalog.UseDefault, ReplicationFactor: catalog.UseDefault}, false)
	if errors.Is(err, catalog.ErrTopicExists) { // somebody else created it meanwhile
		t, err = b.topicByName(name), nil
	}
	if err != nil {
		out.ErrorCode = b.code("create topic "+name, err)
		return out
	}
	if t == nil {
		return out // and somebody else deleted it
	}
	b.log.Info("created topic on first use", "topic", name, "partitions", len(t.Partitions))
	return b.metadataTopic(req, t)
}

func (b *Broker) metadataTopic(req *kmsg.MetadataRequest, t *catalog.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = &t.Name, t.ID, t.Internal
	if req.Version >= metadataOperationsMin && req.IncludeTopicAuthorizedOperations {
		out.AuthorizedOperations = operationsTopic
	}
	replicas := []int32{b.o.NodeID} // shared by all partitions, only ever read
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		rp := &out.Partitions[i]
		rp.Default()
		rp.Partition, rp.Leader, rp.LeaderEpoch = int32(i), b.o.NodeID, p.LeaderEpoch()
		rp.Replicas, rp.ISR = replicas, replicas
	}
	return out
}
