package broker

import (
	"context"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/wire"
)

// DescribeQuorum, versions 0 to 2 (KIP-595, KIP-836, KIP-853).
//
// The quorum is this node alone: it leads, it is the one voter, nobody observes. Its epoch is
// that of all leaders here, the run number. What Kafka's controllers replicate as a log is a
// journal without offsets here, so the high watermark and the end of the log are 0. Anything but
// the one partition of __cluster_metadata makes every partition of the request unknown
// (DescribeQuorumRequest.getTopLevelErrorResponse). The node's endpoint is that of the listener
// which the client came through.

const (
	metadataTopic           = "__cluster_metadata"
	describeQuorumTimeMin   = 1
	describeQuorumNodesMin  = 2
	codeUnknownTopicMessage = "This server does not host this topic-partition."
)

func (b *Broker) handleDescribeQuorum(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	resp.ErrorMessage = new(string)
	known := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, rp := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, codeUnknownTopicOrPartition
			why := codeUnknownTopicMessage
			if known {
				p, why = b.quorum(req.Version), ""
			}
			p.ErrorMessage = &why
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if known && req.Version >= describeQuorumNodesMin {
		resp.Nodes = append(resp.Nodes, b.quorumNode(r.Session))
	}
	return wire.Ready(resp)
}

func (b *Broker) quorum(version int16) kmsg.DescribeQuorumResponseTopicPartition {
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch = b.o.NodeID, b.o.Catalog.Run()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = b.o.NodeID, -1, -1
	if version >= describeQuorumTimeMin { // a leader is always as far as itself
		voter.LastFetchTimestamp = time.Now().UnixMilli()
		voter.LastCaughtUpTimestamp = voter.LastFetchTimestamp
	}
	p.CurrentVoters = append(p.CurrentVoters, voter)
	return p
}

func (b *Broker) quorumNode(s *wire.Session) kmsg.DescribeQuorumResponseNode {
	here := b.node(s)
	l := kmsg.NewDescribeQuorumResponseNodeListener()
	l.Host, l.Port = here.host, uint16(min(max(here.port, 0), math.MaxUint16))
	if s != nil {
		l.Name = s.Listener
	}
	n := kmsg.NewDescribeQuorumResponseNode()
	n.NodeID, n.Listeners = here.id, append(n.Listeners, l)
	return n
}
