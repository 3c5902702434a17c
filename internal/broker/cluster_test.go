package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Tests of what the admin tools ask of a cluster of one broker. Codes and words are those of Apache Kafka 4.3.1, but where said.

func TestElectLeaders(t *testing.T) {
	s := newStack(t)
	s.topic("orders", 1)
	for _, x := range []struct {
		version int16
		kind    int8
		all     bool
		want    string
	}{
		{0, 0, false, "0 orders-0=84 orders-7=3 nope-0=3"},
		{2, 0, false, "0 orders-0=84 orders-7=3 nope-0=3"},
		{2, 1, false, "0 orders-0=84 orders-7=3 nope-0=3"},
		{2, 9, false, "42 orders-0=42 orders-7=42 nope-0=42"},
		{1, 1, true, "0 orders"},
		{1, 9, true, "42"},
	} {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = x.kind
		if !x.all {
			req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "orders", Partitions: []int32{0, 7}}, {Topic: "nope", Partitions: []int32{0}}}
		}
		resp := s.do(req, x.version).(*kmsg.ElectLeadersResponse)
		got := fmt.Sprint(resp.ErrorCode)
		for _, rt := range resp.Topics {
			if len(rt.Partitions) == 0 {
				got += " " + rt.Topic
			}
			for _, p := range rt.Partitions {
				got += fmt.Sprintf(" %s-%d=%d", rt.Topic, p.Partition, p.ErrorCode)
			}
		}
		if got != x.want {
			t.Errorf("%+v: got %q", x, got)
		}
	}
}

func TestPartitionReassignments(t *testing.T) {
	s := newStack(t)
	s.topic("orders", 1)
	for _, x := range []struct {
		topic    string
		index    int32
		replicas []int32
		code     int16
		why      string
	}{
		{"orders", 0, []int32{1}, 0, "<null>"},
		{"orders", 0, nil, 85, "<null>"},
		{"orders", 0, []int32{}, 39, "The manual partition assignment includes an empty replica list."},
		{"orders", 0, []int32{2}, 39, "The manual partition assignment includes broker 2, but no such broker is registered."},
		{"orders", 0, []int32{1, 1}, 39, "The manual partition assignment includes the broker 1 more than once."},
		{"orders", 0, []int32{2, 1}, 39, "The manual partition assignment includes broker 2, but no such broker is registered."},
		{"orders", 0, []int32{-1}, 39, "The manual partition assignment includes broker -1, but no such broker is registered."},
		{"orders", 7, []int32{1}, 3, "Unable to find partition orders:7."},
		{"nope", 0, []int32{1}, 3, "Unable to find a topic named nope."},
	} {
		for version := int16(0); version <= 1; version++ {
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: x.topic,
				Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: x.index, Replicas: x.replicas}}}}
			resp := s.do(req, version).(*kmsg.AlterPartitionAssignmentsResponse)
			p := resp.Topics[0].Partitions[0]
			if resp.ErrorCode != 0 || p.ErrorCode != x.code || text(p.ErrorMessage) != x.why && !(p.ErrorMessage == nil && x.why == "<null>") {
				t.Errorf("%+v: got %+v %s", x, p, text(p.ErrorMessage))
			}
		}
	}
	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	list.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
	if resp := s.do(list, 0).(*kmsg.ListPartitionReassignmentsResponse); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("got %+v", resp)
	}
}

func TestAlterReplicaLogDirs(t *testing.T) {
	s := newStack(t)
	s.topic("orders", 1)
	dirs := func(names ...string) string {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		for _, name := range names {
			req.Dirs = append(req.Dirs, kmsg.AlterReplicaLogDirsRequestDir{Dir: name, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{
				{Topic: "orders", Partitions: []int32{0, 7}}, {Topic: "nope", Partitions: []int32{0}}}})
		}
		var got []string
		for _, rt := range s.do(req, 2).(*kmsg.AlterReplicaLogDirsResponse).Topics {
			for _, p := range rt.Partitions {
				got = append(got, fmt.Sprintf("%s-%d=%d", rt.Topic, p.Partition, p.ErrorCode))
			}
		}
		return strings.Join(got, " ")
	}
	if got := dirs(stackDir); got != "orders-0=0 orders-7=3 nope-0=3" {
		t.Errorf("got %q", got)
	}
	if got := dirs(stackDir, "/elsewhere"); got != "orders-0=57 orders-7=57 nope-0=57" {
		t.Errorf("got %q", got)
	}
}

func TestSecurityIsOff(t *testing.T) {
	s := newStack(t)
	for version := int16(1); version <= 3; version++ {
		describe := s.do(kmsg.NewPtrDescribeACLsRequest(), version).(*kmsg.DescribeACLsResponse)
		create := kmsg.NewPtrCreateACLsRequest()
		create.Creations = make([]kmsg.CreateACLsRequestCreation, 2)
		created := s.do(create, version).(*kmsg.CreateACLsResponse).Results
		del := kmsg.NewPtrDeleteACLsRequest()
		del.Filters = make([]kmsg.DeleteACLsRequestFilter, 2)
		deleted := s.do(del, version).(*kmsg.DeleteACLsResponse).Results
		if describe.ErrorCode != 54 || describe.ErrorMessage == nil || len(created) != 2 || created[1].ErrorCode != 54 || len(deleted) != 2 || deleted[1].ErrorCode != 54 {
			t.Errorf("version %d: %+v, %+v, %+v", version, describe, created, deleted)
		}
		token := s.do(kmsg.NewPtrCreateDelegationTokenRequest(), version).(*kmsg.CreateDelegationTokenResponse)
		tokens := s.do(kmsg.NewPtrDescribeDelegationTokenRequest(), version).(*kmsg.DescribeDelegationTokenResponse)
		if token.ErrorCode != 64 || token.ExpiryTimestamp != -1 || tokens.ErrorCode != 64 {
			t.Errorf("version %d: %+v, %+v", version, token, tokens)
		}
	}
	for version := int16(0); version <= 2; version++ {
		if resp := s.do(kmsg.NewPtrSASLAuthenticateRequest(), version).(*kmsg.SASLAuthenticateResponse); resp.ErrorCode != 34 || resp.ErrorMessage == nil {
			t.Errorf("version %d: %+v", version, resp)
		}
		if resp := s.do(kmsg.NewPtrSASLHandshakeRequest(), min(version, 1)).(*kmsg.SASLHandshakeResponse); resp.ErrorCode != 34 || len(resp.SupportedMechanisms) != 0 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	for version := int16(1); version <= 2; version++ {
		renewed := s.do(kmsg.NewPtrRenewDelegationTokenRequest(), version).(*kmsg.RenewDelegationTokenResponse)
		expired := s.do(kmsg.NewPtrExpireDelegationTokenRequest(), version).(*kmsg.ExpireDelegationTokenResponse)
		if renewed.ErrorCode != 64 || expired.ErrorCode != 64 {
			t.Errorf("version %d: %+v, %+v", version, renewed, expired)
		}
	}
}

func TestClientQuotas(t *testing.T) {
	s := newStack(t)
	name, empty := "bob", ""
	for _, x := range []struct {
		c    []kmsg.DescribeClientQuotasRequestComponent
		code int16
	}{
		{nil, 0},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2}, {EntityType: "client-id", MatchType: 0, Match: &name}}, 0},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "foo", MatchType: 2}}, 35},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "", MatchType: 2}}, 42},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 0}}, 42},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 1, Match: &name}}, 42},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 9}}, 42},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2}, {EntityType: "user", MatchType: 2}}, 42},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "ip", MatchType: 2}, {EntityType: "user", MatchType: 2}}, 42},
	} {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Components = x.c
		resp := s.do(req, 1).(*kmsg.DescribeClientQuotasResponse)
		if resp.ErrorCode != x.code || len(resp.Entries) != 0 || (resp.Entries == nil) != (x.code != 0) || text(resp.ErrorMessage) == "" != (x.code == 0) {
			t.Errorf("%+v: got %+v", x, resp)
		}
	}
	type entity = kmsg.AlterClientQuotasRequestEntryEntity
	type op = kmsg.AlterClientQuotasRequestEntryOp
	for _, x := range []struct {
		e    []entity
		op   op
		code int16
	}{
		{[]entity{{Type: "user", Name: &name}}, op{Key: "producer_byte_rate", Value: 1000}, 35}, // Kafka keeps it
		{[]entity{{Type: "ip"}}, op{Key: "connection_creation_rate", Value: 10}, 35},            // Kafka keeps it
		{[]entity{{Type: "user"}}, op{Key: "producer_byte_rate", Remove: true}, 0},
		{[]entity{{Type: "user"}}, op{Key: "producer_byte_rate", Value: -1}, 42},
		{[]entity{{Type: "user"}}, op{Key: "connection_creation_rate", Value: 10}, 42},
		{[]entity{{Type: "user"}}, op{Key: "foo", Value: 10}, 42},
		{nil, op{Key: "producer_byte_rate", Value: 10}, 42},
		{[]entity{{Type: "user", Name: &empty}}, op{Key: "producer_byte_rate", Value: 10}, 42},
		{[]entity{{Type: "what"}}, op{Key: "producer_byte_rate", Value: 10}, 42},
		{[]entity{{Type: "user"}, {Type: "user"}}, op{Key: "producer_byte_rate", Value: 10}, 42},
		{[]entity{{Type: "user"}, {Type: "ip"}}, op{Key: "producer_byte_rate", Value: 10}, 42},
	} {
		req := kmsg.NewPtrAlterClientQuotasRequest()
		req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: x.e, Ops: []op{x.op}}}
		got := s.do(req, 1).(*kmsg.AlterClientQuotasResponse).Entries
		if len(got) != 1 || got[0].ErrorCode != x.code || len(got[0].Entity) != len(x.e) || (got[0].ErrorMessage != nil) != (x.code != 0) {
			t.Errorf("%+v: got %+v", x, got)
		}
	}
}

func TestUserScramCredentials(t *testing.T) {
	s := newStack(t)
	describe := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	if resp := s.do(describe, 0).(*kmsg.DescribeUserSCRAMCredentialsResponse); resp.ErrorCode != 0 || len(resp.Results) != 0 {
		t.Errorf("got %+v", resp)
	}
	for _, name := range []string{"bob", "bob", "al", ""} {
		describe.Users = append(describe.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: name})
	}
	codes := map[string]int16{}
	for _, r := range s.do(describe, 0).(*kmsg.DescribeUserSCRAMCredentialsResponse).Results {
		codes[r.User] = r.ErrorCode
	}
	if fmt.Sprint(codes) != "map[:91 al:91 bob:92]" {
		t.Errorf("got %v", codes)
	}
	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	alter.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "gone", Mechanism: 1}, {Name: "what", Mechanism: 7}}
	alter.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "", Mechanism: 1}, {Name: "al", Mechanism: 9}, {Name: "few", Mechanism: 1, Iterations: 10},
		{Name: "many", Mechanism: 2, Iterations: 1 << 20}, {Name: "bob", Mechanism: 1, Iterations: 8192}, {Name: "gone", Mechanism: 1, Iterations: 8192}}
	codes = map[string]int16{}
	for _, r := range s.do(alter, 0).(*kmsg.AlterUserSCRAMCredentialsResponse).Results {
		if _, twice := codes[r.User]; twice || r.ErrorMessage == nil {
			t.Errorf("got %+v", r)
		}
		codes[r.User] = r.ErrorCode
	}
	if fmt.Sprint(codes) != "map[:93 al:33 bob:35 few:93 gone:91 many:93 what:33]" { // Kafka takes bob
		t.Errorf("got %v", codes)
	}
}

func TestDescribeQuorum(t *testing.T) {
	s := newStack(t)
	quorum := func(version int16, topic string, indexes ...int32) *kmsg.DescribeQuorumResponse {
		req := kmsg.NewPtrDescribeQuorumRequest()
		rt := kmsg.DescribeQuorumRequestTopic{Topic: topic}
		for _, index := range indexes {
			rt.Partitions = append(rt.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: index})
		}
		req.Topics = append(req.Topics, rt)
		return s.do(req, version).(*kmsg.DescribeQuorumResponse)
	}
	for version := int16(0); version <= 2; version++ {
		resp := quorum(version, "__cluster_metadata", 0)
		p := resp.Topics[0].Partitions[0]
		if resp.ErrorCode != 0 || p.ErrorCode != 0 || p.LeaderID != 1 || p.LeaderEpoch != s.catalog.Run() || len(p.CurrentVoters) != 1 || p.CurrentVoters[0].ReplicaID != 1 || len(p.Observers) != 0 {
			t.Errorf("version %d: %+v", version, resp)
		}
		if caughtUp := p.CurrentVoters[0].LastCaughtUpTimestamp; (caughtUp > 0) != (version >= 1) {
			t.Errorf("version %d: caught up at %d", version, caughtUp)
		}
		if version < 2 {
			continue
		}
		if l := resp.Nodes[0].Listeners[0]; len(resp.Nodes) != 1 || l.Name != "PLAINTEXT" || l.Host != "localhost" || l.Port != 9092 {
			t.Errorf("nodes %+v", resp.Nodes)
		}
	}
	for _, resp := range []*kmsg.DescribeQuorumResponse{quorum(2, "orders", 0), quorum(2, "__cluster_metadata", 1), quorum(1, "__cluster_metadata", 0, 1)} {
		for _, p := range resp.Topics[0].Partitions {
			if resp.ErrorCode != 0 || p.ErrorCode != 3 || len(p.CurrentVoters) != 0 || len(resp.Nodes) != 0 {
				t.Errorf("got %+v", resp)
			}
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	s := newStack(t)
	for _, x := range []struct {
		version int16
		feature string
		level   int16
		kind    int8
		why     string // part of the message; empty: no error
	}{
		{1, "group.version", 1, 1, ""},
		{2, "group.version", 1, 3, ""},
		{1, "group.version", 2, 1, "Invalid update version 2 for feature group.version. Local controller 1 only supports versions 0-1"},
		{1, "group.version", 0, 1, "Can't downgrade the version of this feature"},
		{1, "group.version", 0, 2, "cannot do without"}, // Kafka can
		{1, "group.version", 1, 0, "does not support the given upgrade type"},
		{1, "group.version", 1, 9, "does not support the given upgrade type"},
		{0, "nope.version", 1, 0, "Local controller 1 does not support this feature."},
		{0, "group.version", 1, 0, ""},
	} {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{
			{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}, {Feature: x.feature, MaxVersionLevel: x.level, UpgradeType: x.kind}}
		resp := s.do(req, x.version).(*kmsg.UpdateFeaturesResponse)
		results := 0
		if x.why == "" && x.version < 2 {
			results = 2
		}
		if (resp.ErrorCode == codeFeatureUpdateFailed) != (x.why != "") || !strings.Contains(text(resp.ErrorMessage), x.why) || len(resp.Results) != results {
			t.Errorf("%+v: got %+v %s", x, resp, text(resp.ErrorMessage))
		}
	}
}

func TestTransactions(t *testing.T) {
	s := newStack(t)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"a", ""}
	if x := s.do(describe, 0).(*kmsg.DescribeTransactionsResponse).TransactionStates; len(x) != 2 || x[0].ErrorCode != 105 || x[1].ErrorCode != 42 {
		t.Errorf("got %+v", x)
	}
	for version := int16(0); version <= 2; version++ {
		list := kmsg.NewPtrListTransactionsRequest()
		list.StateFilters = []string{"Foo", "Ongoing", "ongoing"}
		resp := s.do(list, version).(*kmsg.ListTransactionsResponse)
		if resp.ErrorCode != 0 || len(resp.TransactionStates) != 0 || strings.Join(resp.UnknownStateFilters, " ") != "Foo ongoing" {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	for pattern, want := range map[string]int16{"((": 128, "a.*": 0, strings.Repeat("a", transactionPatternBytesMax+1): 128} {
		list := kmsg.NewPtrListTransactionsRequest()
		list.TransactionalIDPattern = &pattern
		if resp := s.do(list, 2).(*kmsg.ListTransactionsResponse); resp.ErrorCode != want {
			t.Errorf("%.10q: %+v", pattern, resp)
		}
	}
}
