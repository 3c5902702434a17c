package collect

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

var sourceMetadata = source{
	name: evidence.SourceMetadata, always: true,
	what: "all topics and partitions, their leaders and replicas", permissions: "DESCRIBE on the topics; others are not listed",
	run:  askMetadata,
	most: func(s *step) (int64, int64) { return 1, 1<<10 + 64*int64(len(s.scan.Partitions)) },
}

// permissionTopic is what most sources need.
const permissionTopic = "DESCRIBE on Topic"

// askMetadata asks one broker after another until one answers: they all know the same.
func askMetadata(ctx context.Context, s *step) error {
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
			s.ok()
			s.keepTopics(resp)
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, errRequests) {
			break
		}
	}
	return err
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
			topic := evidence.Topic{Name: *t.Topic, Internal: t.IsInternal}
			if t.TopicID != [16]byte{} {
				topic.ID = base64.RawURLEncoding.EncodeToString(t.TopicID[:]) // as Kafka prints it
			}
			scan.Topics = append(scan.Topics, topic)
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
