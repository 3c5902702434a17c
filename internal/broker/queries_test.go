package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// Tests of the APIs that only ask: ListOffsets, Metadata, FindCoordinator,
// InitProducerId, OffsetForLeaderEpoch, DescribeProducers.

func listOffsetsRequest(topic string, index int32, timestamp int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = index, timestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// stamped builds a batch of one record with the given timestamp.
func stamped(tb testing.TB, timestamp int64) []byte {
	tb.Helper()
	h := plain(1)
	h.BaseTimestamp, h.MaxTimestamp = timestamp, timestamp
	out, err := batch.Build(nil, h, batch.CodecNone, []batch.Record{{Timestamp: timestamp, Value: []byte("v")}})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestListOffsets(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	s.topic("empty", 1)
	for _, timestamp := range []int64{1000, 3000, 2000} {
		if p := s.produce(topic, 0, stamped(t, timestamp)); p.ErrorCode != codeNone {
			t.Fatal(p.ErrorCode)
		}
	}
	for _, c := range []struct {
		name              string
		version           int16
		topic             string
		index             int32
		timestamp         int64
		code              int16
		offset, stampedAt int64
		epoch             int32
	}{
		{"latest", 11, "orders", 0, timestampLatest, codeNone, 3, -1, 0},
		{"latest, old", 1, "orders", 0, timestampLatest, codeNone, 3, -1, -1},
		{"earliest", 11, "orders", 0, timestampEarliest, codeNone, 0, -1, 0},
		{"earliest local", 11, "orders", 0, timestampEarliestLocal, codeNone, 0, -1, 0},
		{"latest tiered", 11, "orders", 0, timestampLatestTiered, codeNone, -1, -1, -1},
		{"earliest to upload", 11, "orders", 0, timestampEarliestPendingUpload, codeNone, -1, -1, -1},
		{"latest of nothing", 11, "empty", 0, timestampLatest, codeNone, 0, -1, 0},
		{"earliest of nothing", 11, "empty", 0, timestampEarliest, codeNone, 0, -1, 0},
		{"max timestamp of nothing", 11, "empty", 0, timestampMax, codeNone, -1, -1, -1},
		{"at in nothing", 11, "empty", 0, 0, codeNone, -1, -1, -1},
		{"max timestamp", 7, "orders", 0, timestampMax, codeNone, 1, 3000, 0},
		{"at", 7, "orders", 0, 1000, codeNone, 0, 1000, 0},
		{"after", 7, "orders", 0, 1001, codeNone, 1, 3000, 0},
		{"later than all", 7, "orders", 0, 3001, codeNone, -1, -1, -1},
		{"max timestamp before version 7", 6, "orders", 0, timestampMax, codeUnsupportedVersion, -1, -1, -1},
		{"pending upload before version 11", 10, "orders", 0, timestampEarliestPendingUpload, codeUnsupportedVersion, -1, -1, -1},
		{"unknown name", 11, "orders", 0, -7, codeUnsupportedVersion, -1, -1, -1},
		{"unknown topic", 11, "nobody", 0, timestampLatest, codeUnknownTopicOrPartition, -1, -1, -1},
		{"unknown partition", 11, "orders", 1, timestampLatest, codeUnknownTopicOrPartition, -1, -1, -1},
	} {
		p := s.do(listOffsetsRequest(c.topic, c.index, c.timestamp), c.version).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if p.ErrorCode != c.code || p.Offset != c.offset || p.Timestamp != c.stampedAt || p.LeaderEpoch != c.epoch {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	fenced := listOffsetsRequest("orders", 0, timestampLatest)
	fenced.Topics[0].Partitions[0].CurrentLeaderEpoch = 9
	if p := s.do(fenced, 11).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != codeUnknownLeaderEpoch {
		t.Errorf("epoch ahead: %+v", p)
	}
	twice := listOffsetsRequest("orders", 0, timestampLatest)
	twice.Topics = append(twice.Topics, twice.Topics[0])
	for _, rt := range s.do(twice, 11).(*kmsg.ListOffsetsResponse).Topics {
		if rt.Partitions[0].ErrorCode != codeInvalidRequest {
			t.Errorf("named twice: %+v", rt)
		}
	}
}

func metadataRequest(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (s *stack) metadata(req *kmsg.MetadataRequest, version int16) *kmsg.MetadataResponse {
	s.tb.Helper()
	return s.do(req, version).(*kmsg.MetadataResponse)
}

func TestMetadataEveryVersion(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 2)
	s.topic("bills", 1)
	for version := int16(0); version <= 13; version++ {
		resp := s.metadata(metadataRequest("orders", "orders"), version)
		if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 1 || resp.Brokers[0].Host != "localhost" || resp.Brokers[0].Port != 9092 {
			t.Fatalf("version %d: brokers %+v", version, resp.Brokers)
		}
		if version >= 2 && (resp.ClusterID == nil || *resp.ClusterID != s.catalog.ClusterID()) {
			t.Errorf("version %d: cluster id %v", version, resp.ClusterID)
		}
		if version >= 1 && resp.ControllerID != 1 {
			t.Errorf("version %d: controller %d", version, resp.ControllerID)
		}
		if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != codeNone || *resp.Topics[0].Topic != "orders" || len(resp.Topics[0].Partitions) != 2 {
			t.Fatalf("version %d: topics %+v", version, resp.Topics)
		}
		if version >= 10 && resp.Topics[0].TopicID != topic.ID {
			t.Errorf("version %d: topic id", version)
		}
		p := resp.Topics[0].Partitions[1]
		if p.Partition != 1 || p.Leader != 1 || len(p.Replicas) != 1 || p.Replicas[0] != 1 || len(p.ISR) != 1 || len(p.OfflineReplicas) != 0 {
			t.Errorf("version %d: %+v", version, p)
		}
		if version >= 8 && resp.Topics[0].AuthorizedOperations != operationsNotAsked {
			t.Errorf("version %d: operations %d", version, resp.Topics[0].AuthorizedOperations)
		}
		if all := s.metadata(metadataRequest(), version); len(all.Topics) != 2 || *all.Topics[0].Topic != "bills" {
			t.Errorf("version %d: all topics: %+v", version, all.Topics)
		}
		none := metadataRequest()
		none.Topics = []kmsg.MetadataRequestTopic{}
		if got := len(s.metadata(none, version).Topics); (got == 0) != (version >= 1) {
			t.Errorf("version %d: an empty list gave %d topics", version, got)
		}
	}
}

func TestMetadataByID(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	req := metadataRequest("by name, ignored beside ids")
	for _, id := range [][16]byte{topic.ID, {1, 2}, topic.ID} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.TopicID = id
		req.Topics = append(req.Topics, rt)
	}
	resp := s.metadata(req, 13)
	if len(resp.Topics) != 2 || *resp.Topics[0].Topic != "orders" || resp.Topics[1].ErrorCode != codeUnknownTopicID || resp.Topics[1].Topic != nil {
		t.Errorf("%+v", resp.Topics)
	}
	for _, version := range []int16{10, 11} {
		for _, rt := range s.metadata(req, version).Topics {
			if rt.ErrorCode != codeInvalidRequest {
				t.Errorf("version %d: %+v", version, rt)
			}
		}
	}
}

func TestMetadataOperations(t *testing.T) {
	s := newStack(t)
	s.topic("orders", 1)
	req := metadataRequest("orders")
	req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = true, true
	for version := int16(8); version <= 13; version++ {
		resp := s.metadata(req, version)
		if resp.Topics[0].AuthorizedOperations != 3576 || (version <= 10 && resp.AuthorizedOperations != 8096) {
			t.Errorf("version %d: %d, %d", version, resp.Topics[0].AuthorizedOperations, resp.AuthorizedOperations)
		}
	}
}

func TestMetadataAutoCreate(t *testing.T) {
	s := newStack(t)
	ask := func(version int16, name string, allow bool) int16 {
		req := metadataRequest(name)
		req.AllowAutoTopicCreation = allow
		return s.metadata(req, version).Topics[0].ErrorCode
	}
	if code := ask(4, "switched-off", true); code != codeUnknownTopicOrPartition {
		t.Errorf("switched off: code %d", code)
	}
	s.auto = true
	for _, c := range []struct {
		version int16
		name    string
		allow   bool
		code    int16
	}{
		{4, "not-allowed", false, codeUnknownTopicOrPartition},
		{4, "allowed", true, codeNone},
		{3, "always-before-4", false, codeNone},
		{13, "bad name!", true, codeInvalidTopic},
		{13, "..", true, codeInvalidTopic},
		{13, "", true, codeInvalidTopic},
		{13, "__consumer_offsets", true, codeUnknownTopicOrPartition},
		{13, "allowed", true, codeNone},
	} {
		if code := ask(c.version, c.name, c.allow); code != c.code {
			t.Errorf("%q version %d: code %d, want %d", c.name, c.version, code, c.code)
		}
	}
	if n := len(s.catalog.Topics()); n != 2 {
		t.Errorf("%d topics, want 2", n)
	}
	// The new topic takes records at once.
	topic, _ := s.catalog.Topic("allowed")
	s.fill(topic, 0, 1, "v")
}

// TestFindCoordinator: groups are here, in every version; the others are refused in words.
func TestFindCoordinator(t *testing.T) {
	s := newStack(t)
	without := New(Options{Catalog: s.catalog, NodeID: 1})
	for version := int16(0); version <= 6; version++ {
		for _, kind := range []int8{0, 1, 2, 9} {
			if version == 0 && kind != 0 {
				continue // the kind is not in the request
			}
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorKey, req.CoordinatorType, req.CoordinatorKeys = "g", kind, []string{"g", ""}
			want, node, host := codeNone, int32(1), "localhost"
			if kind != 0 {
				want, node, host = codeInvalidRequest, -1, ""
			}
			checkCoordinator(t, s.do(req, version).(*kmsg.FindCoordinatorResponse), want, node, host)
			resp, err := without.Handle(t.Context(), s.request(req, version)).Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			checkCoordinator(t, resp.(*kmsg.FindCoordinatorResponse), codeInvalidRequest, -1, "")
		}
	}
	if topic, found := s.catalog.Topic("__consumer_offsets"); !found || !topic.Internal {
		t.Error("__consumer_offsets was not made")
	}
}

func checkCoordinator(t *testing.T, resp *kmsg.FindCoordinatorResponse, code int16, node int32, host string) {
	t.Helper()
	if resp.Version < 4 {
		if resp.ErrorCode != code || resp.NodeID != node || resp.Host != host {
			t.Errorf("version %d: %+v", resp.Version, resp)
		}
		return
	}
	if len(resp.Coordinators) != 2 {
		t.Fatalf("version %d: %+v", resp.Version, resp)
	}
	for i, key := range []string{"g", ""} {
		c := &resp.Coordinators[i]
		if c.Key != key || c.ErrorCode != code || c.NodeID != node || c.Host != host || c.ErrorMessage == nil || (*c.ErrorMessage == "") != (code == codeNone) {
			t.Errorf("version %d: %+v", resp.Version, c)
		}
	}
}

func TestInitProducerID(t *testing.T) {
	s := newStack(t)
	seen := map[int64]bool{}
	name, empty := "mover", ""
	for version := int16(0); version <= 5; version++ {
		for _, c := range []struct {
			txn   *string
			pid   int64
			epoch int16
			code  int16
		}{
			{nil, -1, -1, codeNone},
			{nil, 77, 3, codeNone},
			{nil, 77, -1, codeInvalidRequest},
			{nil, -1, 3, codeInvalidRequest},
			{&name, -1, -1, codeInvalidRequest},
			{&empty, -1, -1, codeInvalidRequest},
		} {
			if version < 3 && (c.pid != -1 || c.epoch != -1) {
				continue
			}
			req := kmsg.NewPtrInitProducerIDRequest()
			req.TransactionalID, req.ProducerID, req.ProducerEpoch = c.txn, c.pid, c.epoch
			// Else the answers before it would be sent by themselves, one write each.
			reply := s.b.Handle(t.Context(), s.request(req, version))
			if p, ok := reply.(wire.Poller); !ok || !p.Done() {
				t.Errorf("version %d %+v: the answer is not there at once", version, c)
			}
			r, err := reply.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			resp := r.(*kmsg.InitProducerIDResponse)
			if resp.ErrorCode != c.code || (c.code == codeNone) != (resp.ProducerID >= 0 && resp.ProducerEpoch == 0) {
				t.Errorf("version %d %+v: %+v", version, c, resp)
			}
			if c.code == codeNone && seen[resp.ProducerID] {
				t.Errorf("producer id %d issued twice", resp.ProducerID)
			}
			seen[resp.ProducerID] = true
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	s.topic("empty", 1)
	s.fill(topic, 0, 3, "v")
	for version := int16(2); version <= 4; version++ {
		for _, c := range []struct {
			topic          string
			current, asked int32
			code           int16
			epoch          int32
			end            int64
		}{
			{"orders", -1, 0, codeNone, 0, 3},
			{"orders", 0, 0, codeNone, 0, 3},
			{"empty", -1, 0, codeNone, 0, 0},
			{"orders", -1, 5, codeNone, -1, -1},
			{"orders", -1, -1, codeNone, -1, -1},
			{"orders", 4, 0, codeUnknownLeaderEpoch, -1, -1},
			{"nobody", -1, 0, codeUnknownTopicOrPartition, -1, -1},
		} {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic = c.topic
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.CurrentLeaderEpoch, rp.LeaderEpoch = c.current, c.asked
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			p := s.do(req, version).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			if p.ErrorCode != c.code || p.LeaderEpoch != c.epoch || p.EndOffset != c.end {
				t.Errorf("version %d %+v: %+v", version, c, p)
			}
		}
	}
}

func describeProducersRequest(topics ...string) *kmsg.DescribeProducersRequest {
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, topic := range topics {
		rt := kmsg.NewDescribeProducersRequestTopic()
		rt.Topic, rt.Partitions = topic, []int32{0}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

func TestDescribeProducers(t *testing.T) {
	s := newStack(t)
	topic := s.topic("orders", 1)
	for pid := range int64(3) {
		for sequence := range int32(2) {
			if p := s.produce(topic, 0, build(t, idempotent(100+pid, 4, sequence, 1), batch.CodecNone, "v")); p.ErrorCode != codeNone {
				t.Fatal(p.ErrorCode)
			}
		}
	}
	resp := s.do(describeProducersRequest("orders", "nobody", "bad name"), 0).(*kmsg.DescribeProducersResponse)
	for i, want := range []int16{codeNone, codeUnknownTopicOrPartition, codeInvalidTopic} {
		if got := resp.Topics[i].Partitions[0].ErrorCode; got != want {
			t.Errorf("%s: code %d, want %d", resp.Topics[i].Topic, got, want)
		}
	}
	producers := resp.Topics[0].Partitions[0].ActiveProducers
	if len(producers) != 3 {
		t.Fatalf("%d producers", len(producers))
	}
	for _, p := range producers {
		if p.ProducerID < 100 || p.ProducerID > 102 || p.ProducerEpoch != 4 || p.LastSequence != 1 || p.LastTimestamp <= 0 || p.CurrentTxnStartOffset != -1 || p.CoordinatorEpoch != -1 {
			t.Errorf("%+v", p)
		}
	}
}

// TestUnknownTopicsLeaveNothingBehind: whatever is asked about them, no topic, partition
// or session appears.
func TestUnknownTopicsLeaveNothingBehind(t *testing.T) {
	s := newStack(t)
	nobody := &catalog.Topic{Name: "nobody", ID: [16]byte{9}}
	fetch := fetchRequest(nobody, 0, 0, 1, 2)
	fetch.SessionEpoch = 0
	s.do(fetch, 13)
	s.do(fetch, 12)
	s.do(listOffsetsRequest("nobody", 0, timestampLatest), 11)
	s.do(describeProducersRequest("nobody"), 0)
	s.do(produceRequest(acksAll, "nobody", nobody.ID, 0, build(t, plain(1), batch.CodecNone, "v")), 12)
	s.metadata(metadataRequest("nobody"), 13)
	if n := len(s.catalog.Topics()); n != 0 {
		t.Errorf("%d topics", n)
	}
	if n := len(s.b.sessions.mu.sessions); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
