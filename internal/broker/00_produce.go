package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/partition"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// Produce, versions 0 to 13.
//
// Versions 0 to 2 carry messages of the formats before record batches. They are
// advertised because old librdkafka looks for them (KIP-896), and answered with
// UNSUPPORTED_VERSION; Kafka 4 closes the connection. Topics come by id from version
// 13 (KIP-516), by name before.
//
// acks: 0 sends no answer, and an error ends the connection
// (KafkaApis.sendResponseCallback); 1 answers when the batch is written, which
// survives the end of the process; -1 answers when it is durable. What else is
// INVALID_REQUIRED_ACKS. min.insync.replicas above 1 changes nothing, because Kafka
// never asks for more than a partition has replicas (Partition.effectiveMinIsr).
//
// Each partition gets exactly one record batch of format 2
// (ProduceRequest.validateRecords). Anything behind it is INVALID_RECORD; Kafka
// drops an incomplete second batch silently (UnifiedLog.trimInvalidBytes). A
// partition named twice in one request is appended to twice, in order; Kafka keeps
// the last and drops the others silently.
//
// Skipped: transactions. A transactional id is answered with INVALID_TXN_STATE: no
// transaction can be under way (Kafka takes plain batches beside one). A
// transactional batch without the id is TRANSACTIONAL_ID_AUTHORIZATION_FAILED, as in
// Kafka, here for its partition alone. KIP-951's current leader is this broker, and
// is named only beside NOT_LEADER_OR_FOLLOWER.

const (
	acksAll    = -1
	acksNone   = 0
	acksLeader = 1
)

const (
	produceRecordBatchMin = 3  // the first version of record batches
	produceZstdMin        = 7  // KIP-110
	produceLeaderMin      = 10 // KIP-951
	produceTopicIDMin     = 13 // KIP-516
)

// internalTopicsClientID is the client that Kafka lets write to internal topics
// (AdminUtils.ADMIN_CLIENT_ID).
const internalTopicsClientID = "__admin_client"

func (b *Broker) handleProduce(ctx context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.ProduceRequest)
	reply := newProduceReply(b, r, req)
	load := loadBound{parent: ctx}
	defer load.end()
	now := time.Now()
	add := (*partition.Partition).Append
	if len(reply.parts) > 1 {
		add = (*partition.Partition).AppendOfMany
	}
	next := 0
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := b.produceTopic(r, rt)
		reply.topics = append(reply.topics, producedTopic{name: rt.Topic, id: rt.TopicID, parts: len(rt.Partitions)})
		for j := range rt.Partitions {
			out := &reply.parts[next]
			next++
			*out = produced{index: rt.Partitions[j].Partition, baseOffset: -1, logAppendTime: -1, logStart: -1, leaderEpoch: noEpoch}
			b.produceOne(&load, r, req, t, rt.Partitions[j].Records, add, out, now)
		}
	}
	reply.hurry()
	if req.Acks == acksNone {
		return b.produceNoAnswer(r, reply)
	}
	return reply
}

func (b *Broker) produceTopic(r *wire.Request, rt *kmsg.ProduceRequestTopic) *catalog.Topic {
	if r.Version >= produceTopicIDMin {
		t, _ := b.o.Catalog.TopicByID(rt.TopicID)
		return t
	}
	return b.topicByName(rt.Topic)
}

// produceNoAnswer ends a request with acks 0: an error can only be told by ending
// the connection, so that the client asks for metadata again.
func (b *Broker) produceNoAnswer(r *wire.Request, reply *produceReply) wire.Reply {
	for i := range reply.parts {
		if code := reply.parts[i].code; code != codeNone {
			b.log.Info("closing a connection: a produce request with acks 0 failed",
				"client", r.ClientID, "correlation", r.CorrelationID, "partition", reply.parts[i].index, "code", code)
			return wire.Close()
		}
	}
	return wire.Ready(nil)
}

// appender is one of the ways to append to a partition.
type appender func(*partition.Partition, context.Context, batch.Batch, int16, time.Time) (partition.Appended, error)

// produceOne checks and appends what the request holds for one partition.
func (b *Broker) produceOne(load *loadBound, r *wire.Request, req *kmsg.ProduceRequest, t *catalog.Topic, records []byte, add appender, out *produced, now time.Time) {
	p := partitionOf(t, out.index)
	if code, why := produceRefusal(r, req, t, p); code != codeNone {
		out.fail(code, why)
		return
	}
	bt, code, why := produceBatch(r.Version, records)
	if code != codeNone {
		out.fail(code, why)
		return
	}
	a, err := add(p, load.of(p), bt, req.Acks, now)
	if err != nil {
		b.produceFailed(load, p, out, err)
		if req.Acks == acksAll && out.code == codeDuplicateSequence {
			out.ticket, out.waits = a.Ticket, true // clients take it for stored
		}
		return
	}
	out.baseOffset, out.logAppendTime, out.logStart = a.BaseOffset, a.LogAppendTime, a.LogStart
	if req.Acks == acksAll {
		out.ticket, out.waits = a.Ticket, true
	}
}

// produceRefusal makes the checks that need no look at the records.
func produceRefusal(r *wire.Request, req *kmsg.ProduceRequest, t *catalog.Topic, p *partition.Partition) (code int16, why string) {
	switch {
	case r.Version < produceRecordBatchMin:
		return codeUnsupportedVersion, ""
	case t == nil && r.Version >= produceTopicIDMin:
		return codeUnknownTopicID, ""
	case p == nil:
		return codeUnknownTopicOrPartition, ""
	case req.Acks != acksAll && req.Acks != acksNone && req.Acks != acksLeader:
		return codeInvalidRequiredAcks, ""
	case req.TransactionID != nil:
		return codeInvalidTxnState, "this broker does not support transactions"
	case t.Internal && r.ClientID != internalTopicsClientID:
		return codeInvalidTopic, fmt.Sprintf("cannot append to internal topic %s", t.Name)
	}
	return codeNone, ""
}

// produceBatch finds the one batch (ProduceRequest.validateRecords).
func produceBatch(version int16, records []byte) (bt batch.Batch, code int16, why string) {
	if len(records) == 0 {
		return bt, codeInvalidRecord, fmt.Sprintf("Produce requests with version %d must have at least one record batch per partition", version)
	}
	bt, err := batch.Parse(records)
	if err != nil {
		return bt, codeOf(err), err.Error()
	}
	h := bt.Header()
	switch {
	case bt.Size() != len(records):
		return bt, codeInvalidRecord, fmt.Sprintf("Produce requests with version %d are only allowed to contain exactly one record batch per partition", version)
	case h.Codec() == codecZstd && version < produceZstdMin:
		return bt, codeUnsupportedCompression, fmt.Sprintf("Produce requests with version %d are not allowed to use ZStandard compression", version)
	case h.Transactional():
		return bt, codeTransactionalIDAuth, "this broker does not support transactions"
	}
	return bt, codeNone, ""
}

const codecZstd int8 = 4

// produceFailed notes why an append failed. Kafka tells the log start beside the
// errors that speak of the records or of their producer, and only then
// (ReplicaManager.appendRecordsToLeader): a producer compares it with the last
// offset it knows.
func (b *Broker) produceFailed(load *loadBound, p *partition.Partition, out *produced, err error) {
	out.code = b.code("append to "+p.Dir(), err)
	out.message = clientMessage(out.code, err)
	out.leaderEpoch = p.LeaderEpoch()
	var rejected *batch.RejectedError
	if errors.As(err, &rejected) {
		for _, r := range rejected.Records {
			out.recordErrors = append(out.recordErrors, recordError{index: r.Index, message: r.Message})
		}
	}
	switch out.code {
	case codeUnknownTopicOrPartition, codeNotLeaderOrFollower, codeMessageTooLarge, codeRecordListTooLarge, codeCorruptMessage,
		codeKafkaStorageError, codeRequestTimedOut:
		return
	}
	if s, err := p.State(load.of(p)); err == nil {
		out.logStart = s.LogStart
	}
}

// produced is the outcome for one partition.
type produced struct {
	index                               int32
	code                                int16
	waits                               bool // for the ticket
	leaderEpoch                         int32
	baseOffset, logAppendTime, logStart int64
	message                             *string
	recordErrors                        []recordError
	ticket                              seglog.Ticket
}

// recordError says what is wrong with one record of a batch (KIP-467).
type recordError struct {
	index   int32
	message string
}

func (p *produced) fail(code int16, why string) {
	p.code = code
	p.baseOffset, p.logAppendTime = -1, -1
	if why != "" {
		p.message = &why
	}
}

type producedTopic struct {
	name  string
	id    [16]byte
	parts int
}

// produceReply waits until what was appended is durable, and is the answer. A
// request for one partition, by far the most frequent, is one allocation.
type produceReply struct {
	b        *Broker
	version  int16
	timeout  time.Duration
	session  *wire.Session
	topics   []producedTopic
	parts    []produced // of all topics, in their order
	oneTopic [1]producedTopic
	onePart  [1]produced
}

func newProduceReply(b *Broker, r *wire.Request, req *kmsg.ProduceRequest) *produceReply {
	p := &produceReply{b: b, version: r.Version, session: r.Session, timeout: time.Duration(req.TimeoutMillis) * time.Millisecond}
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	if p.topics = p.oneTopic[:0]; len(req.Topics) > 1 {
		p.topics = make([]producedTopic, 0, len(req.Topics))
	}
	if p.parts = p.onePart[:min(n, 1)]; n > 1 {
		p.parts = make([]produced, n)
	}
	return p
}

// hurry has what was appended made durable now. The tickets of a request are nearly
// always one and the same.
func (p *produceReply) hurry() {
	var last seglog.Ticket
	for i := range p.parts {
		if part := &p.parts[i]; part.waits && part.ticket != last {
			last = part.ticket
			last.Hurry()
		}
	}
}

// Done implements wire.Poller.
func (p *produceReply) Done() bool {
	for i := range p.parts {
		if p.parts[i].waits {
			select {
			case <-p.parts[i].ticket.Done():
			default:
				return false
			}
		}
	}
	return true
}

// Wait implements wire.Reply. A batch that is not durable when the client's timeout
// ends is REQUEST_TIMED_OUT, and may become durable later.
func (p *produceReply) Wait(ctx context.Context) (wire.Response, error) {
	var expired <-chan time.Time
	if !p.Done() {
		timer := time.NewTimer(p.timeout)
		defer timer.Stop()
		expired = timer.C
	}
	timedOut := false
	for i := range p.parts {
		part := &p.parts[i]
		if !part.waits {
			continue
		}
		select {
		case <-part.ticket.Done():
		default:
			if !timedOut {
				select {
				case <-part.ticket.Done():
				case <-expired:
					timedOut = true
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			}
		}
		p.settle(part)
	}
	return p, nil
}

// settle takes over how a ticket ended, if it did.
func (p *produceReply) settle(part *produced) {
	select {
	case <-part.ticket.Done():
	default:
		part.fail(codeRequestTimedOut, "")
		part.logStart = -1
		return
	}
	if err := part.ticket.Err(); err != nil {
		part.fail(p.b.code("wait for an append to be durable", err), "")
		part.logStart = -1
	}
}

// Key implements wire.Response.
func (p *produceReply) Key() int16 { return 0 }

// IsFlexible implements wire.Response.
func (p *produceReply) IsFlexible() bool { return p.version >= 9 }

// AppendTo implements wire.Response.
func (p *produceReply) AppendTo(dst []byte) []byte {
	e := encoder{b: dst, flexible: p.IsFlexible()}
	e.arrayLen(len(p.topics))
	parts, namesLeader := p.parts, false
	for i := range p.topics {
		t := &p.topics[i]
		if p.version >= produceTopicIDMin {
			e.id(t.id)
		} else {
			e.string(t.name)
		}
		e.arrayLen(t.parts)
		for j := range t.parts {
			namesLeader = p.appendPart(&e, &parts[j]) || namesLeader
		}
		parts = parts[t.parts:]
		e.noTags()
	}
	if p.version >= 1 {
		e.int32(0) // throttle time
	}
	if namesLeader {
		e.uvarint(1)
		e.nodeTag(0, p.b.node(p.session))
	} else {
		e.noTags()
	}
	return e.b
}

// appendPart says whether it named the leader.
func (p *produceReply) appendPart(e *encoder, part *produced) bool {
	e.int32(part.index)
	e.int16(part.code)
	e.int64(part.baseOffset)
	if p.version >= 2 {
		e.int64(part.logAppendTime)
	}
	if p.version >= 5 {
		e.int64(part.logStart)
	}
	if p.version >= 8 {
		e.arrayLen(len(part.recordErrors))
		for i := range part.recordErrors {
			e.int32(part.recordErrors[i].index)
			e.nullableString(&part.recordErrors[i].message)
			e.noTags()
		}
		e.nullableString(part.message)
	}
	if p.version >= produceLeaderMin && part.code == codeNotLeaderOrFollower {
		e.uvarint(1)
		e.leaderTag(0, p.b.o.NodeID, part.leaderEpoch)
		return true
	}
	e.noTags()
	return false
}
