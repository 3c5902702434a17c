package collect

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// replaceTopics deletes two topics, then makes two.
func replaceTopics(t *testing.T, client *kgo.Client, old, new []string) {
	t.Helper()
	gone := kmsg.NewPtrDeleteTopicsRequest()
	for _, name := range old {
		gone.TopicNames = append(gone.TopicNames, name)
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		gone.Topics = append(gone.Topics, topic)
	}
	if resp, err := gone.RequestWith(t.Context(), client); err != nil || coded(resp.Topics[0].ErrorCode) != nil || coded(resp.Topics[1].ErrorCode) != nil {
		t.Fatal(resp, err)
	}
	made := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range new {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		made.Topics = append(made.Topics, topic)
	}
	if resp, err := made.RequestWith(t.Context(), client); err != nil || coded(resp.Topics[0].ErrorCode) != nil || coded(resp.Topics[1].ErrorCode) != nil {
		t.Fatal(resp, err)
	}
}

// Between the two readings a topic is deleted, another is deleted and made anew, one appears, and a leader moves.
func TestTopicsChangeDuringTheScan(t *testing.T) {
	c := fake(t, kfake.NumBrokers(2), kfake.SeedTopics(1, "stays", "goes", "returns"))
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	_, s, end, err := begin(ctx, quick(c))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	steps := map[string]*step{}
	for i := range sources {
		steps[sources[i].name] = s.step(&sources[i])
		steps[sources[i].name].runRound(ctx, 0)
	}
	before := map[string]int32{} // of each topic's partition 0
	parts := len(s.scan.Partitions)
	for _, p := range s.scan.Partitions {
		if p.Index == 0 {
			before[p.Topic] = p.Leader
		}
	}

	replaceTopics(t, client, []string{"goes", "returns"}, []string{"returns", "appears"})
	if err := c.MoveTopicPartition("stays", 0, 1-before["stays"]); err != nil {
		t.Fatal(err)
	}

	s.readAgain(ctx, steps)
	want := map[string]evidence.Partition{
		"stays": {Leader: 1 - before["stays"]}, "goes": {Leader: -1, Error: topicDeleted}, "returns": {Leader: -1, Error: topicDeleted},
	}
	if len(s.scan.Partitions) != parts {
		t.Errorf("%d partitions, %d before", len(s.scan.Partitions), parts)
	}
	for _, p := range s.scan.Partitions {
		if p.Index > 0 {
			continue
		}
		w, changed := want[p.Topic]
		if !changed {
			w.Leader = before[p.Topic]
		}
		if p.Leader != w.Leader || p.Error != w.Error {
			t.Errorf("%s: leader %d %q, want %d %q", p.Topic, p.Leader, p.Error, w.Leader, w.Error)
		}
	}
	if line := steps[evidence.SourceMetadata].ledger(); line.State != evidence.Partly || !strings.Contains(line.Why, "2 topics appeared") {
		t.Errorf("%+v", line)
	}
}

// Nobody answers the second reading: the scan has what it had.
func TestTopicsAreNotReadAgain(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "stays"))
	ctx := context.Background()
	_, s, end, err := begin(ctx, quick(c))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	topics := s.step(&sourceMetadata)
	s.step(&sourceAPIVersions).runRound(ctx, 0)
	topics.runRound(ctx, 0)
	before := slices.Clone(s.scan.Partitions)
	c.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, context.DeadlineExceeded, true
	})
	topics.runRound(ctx, 1)
	if line := topics.ledger(); line.State != evidence.Seen || len(before) == 0 || !reflect.DeepEqual(s.scan.Partitions, before) {
		t.Errorf("%+v %+v", line, s.scan.Partitions)
	}
}

// TestTopicsWithoutIDsAreTheSame: in a cluster of two versions, one of which has no ids of topics, either may answer.
func TestTopicsWithoutIDsAreTheSame(t *testing.T) {
	id := [16]byte{1}
	name := "steady"
	answer := func(id [16]byte) *kmsg.MetadataResponse {
		return &kmsg.MetadataResponse{Topics: []kmsg.MetadataResponseTopic{{Topic: &name, TopicID: id, Partitions: []kmsg.MetadataResponseTopicPartition{{Leader: 2}}}}}
	}
	for _, c := range []struct {
		first, second [16]byte
		leader        int32
	}{{id, id, 2}, {id, [16]byte{}, 2}, {[16]byte{}, id, 2}, {[16]byte{}, [16]byte{}, 2}, {id, [16]byte{2}, -1}} {
		scan := &evidence.Scan{
			Topics:     []evidence.Topic{{Name: name, ID: topicID(&answer(c.first).Topics[0])}},
			Partitions: []evidence.Partition{{Topic: name, Leader: 1}},
		}
		s := (&session{scan: scan}).step(&source{})
		s.renewTopics(answer(c.second))
		if got := scan.Partitions[0].Leader; got != c.leader {
			t.Errorf("%v, then %v: leader %d, not %d", c.first[0], c.second[0], got, c.leader)
		}
	}
}
