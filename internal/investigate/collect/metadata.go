package collect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

var sourceMetadata = source{
	name: evidence.SourceMetadata, always: true,
	what: "all topics and partitions, their leaders and replicas; once more before the second readings", permissions: "DESCRIBE on the topics; others are not listed",
	run:  askMetadata,
	most: func(s *step) (int64, int64) { return 2, 2 * (1<<10 + 64*int64(len(s.scan.Partitions))) },
}

// permissionTopic is what most sources need.
const permissionTopic = "DESCRIBE on Topic"

// askMetadata reads topics in the first round and what became of them in the second. That one only helps the others: if nobody answers it, the scan
// goes on with what it has.
func askMetadata(ctx context.Context, s *step) error {
	resp, err := s.readTopics(ctx)
	switch {
	case s.round == 0 && err == nil:
		s.ok()
		s.keepTopics(resp)
	case s.round == 0:
		return err
	case err == nil:
		s.renewTopics(resp)
	}
	return nil
}

// readTopics asks one broker after another until one answers: they all know the same.
func (s *step) readTopics(ctx context.Context) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	if len(s.o.Topics) > 0 {
		req.Topics = []kmsg.MetadataRequestTopic{}
		for _, name := range s.o.Topics {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			req.Topics = append(req.Topics, t)
		}
	}
	err := errors.New("no broker answers")
	for _, broker := range s.answering() {
		var resp *kmsg.MetadataResponse
		if resp, err = req.RequestWith(ctx, s.at(broker, min(answerMax, s.budget.left()))); err == nil {
			return resp, nil
		}
		if ctx.Err() != nil || errors.Is(err, errRequests) {
			break
		}
	}
	return nil, err
}

// topicDeleted is the error of partitions that a second reading does not find.
const topicDeleted = "deleted during the scan"

// renewTopics takes over new leaders. Partitions that are gone have none and are not asked again; topics that are new are counted, since nothing
// is known of them to compare with.
func (s *step) renewTopics(resp *kmsg.MetadataResponse) {
	now := make(map[string]*kmsg.MetadataResponseTopic, len(resp.Topics))
	for i := range resp.Topics {
		if t := &resp.Topics[i]; t.Topic != nil {
			now[*t.Topic] = t
		}
	}
	appeared := 0
	s.write(func(scan *evidence.Scan) {
		leaders := map[string]map[int32]int32{} // of topics that are what they were; none if they are gone
		for i := range scan.Topics {
			old := &scan.Topics[i]
			t := now[old.Name]
			delete(now, old.Name)
			switch {
			case t == nil || errors.Is(coded(t.ErrorCode), kerr.UnknownTopicOrPartition):
				leaders[old.Name] = nil
			case coded(t.ErrorCode) != nil: // nothing is said of it
			case old.ID != "" && topicID(t) != "" && topicID(t) != old.ID: // deleted, and made anew; brokers of different versions may answer
				leaders[old.Name] = nil
				appeared++
			default:
				leaders[old.Name] = map[int32]int32{}
				for j := range t.Partitions {
					leaders[old.Name][t.Partitions[j].Partition] = max(t.Partitions[j].Leader, -1)
				}
			}
		}
		for i := range scan.Partitions {
			p := &scan.Partitions[i]
			of, told := leaders[p.Topic]
			if !told {
				continue
			}
			if leader, there := of[p.Index]; there {
				p.Leader = leader
			} else {
				p.Leader, p.Error = -1, topicDeleted
			}
		}
		for _, t := range now {
			if coded(t.ErrorCode) == nil && scan.PartitionsLeftOut == 0 { // else it may have been among those
				appeared++
			}
		}
	})
	if appeared > 0 {
		s.leftOut(fmt.Sprintf("%d topics appeared during the scan and were not looked at", appeared))
	}
}

// topicID is a topic's id as Kafka prints it, empty where the broker has none.
func topicID(t *kmsg.MetadataResponseTopic) string {
	if t.TopicID == [16]byte{} {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(t.TopicID[:])
}

func (s *step) keepTopics(resp *kmsg.MetadataResponse) {
	topicsLeftOut, offline := 0, 0
	s.write(func(scan *evidence.Scan) {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.Topic == nil {
				continue
			}
			if err := coded(t.ErrorCode); err != nil {
				s.trouble(fmt.Errorf("topic %s: %w", *t.Topic, err), permissionTopic)
				continue
			}
			if len(scan.Topics) == evidence.TopicsMax {
				topicsLeftOut++
				scan.PartitionsLeftOut += len(t.Partitions)
				continue
			}
			scan.Topics = append(scan.Topics, evidence.Topic{Name: *t.Topic, ID: topicID(t), Internal: t.IsInternal})
			offline += keepPartitions(scan, t)
		}
	})
	if topicsLeftOut > 0 {
		s.leftOut(fmt.Sprintf("%d topics above the limit of %d", topicsLeftOut, evidence.TopicsMax))
	}
	if n := s.scan.PartitionsLeftOut; n > 0 {
		s.leftOut(fmt.Sprintf("%d partitions above the limits", n))
	}
	if offline > 0 {
		s.leftOut(fmt.Sprintf("%d partitions have no leader", offline))
	}
	if len(s.scan.Topics) == 0 && len(s.o.Topics) == 0 {
		s.leftOut("no topic is visible: none exists, or DESCRIBE on them is missing") // Kafka does not tell which
		s.lacks(permissionTopic)
	}
}

// keepPartitions returns how many have no leader.
func keepPartitions(scan *evidence.Scan, t *kmsg.MetadataResponseTopic) (offline int) {
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if len(scan.Partitions) == evidence.PartitionsMax {
			scan.PartitionsLeftOut += len(t.Partitions) - i
			break
		}
		out := evidence.Partition{Topic: *t.Topic, Index: p.Partition, Leader: p.Leader, Replicas: p.Replicas, Start: -1, End: -1, Since: -1}
		if err := coded(p.ErrorCode); err != nil && p.Leader < 0 {
			out.Error = err.Error()
		}
		if p.Leader < 0 {
			out.Leader = -1
			offline++
		}
		scan.Partitions = append(scan.Partitions, out)
	}
	return offline
}
