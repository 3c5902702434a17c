package null

import "github.com/twmb/franz-go/pkg/kmsg"

// group answers the requests of groups. Each member is alone in its group, its leader, and is assigned what it says
// itself; committed offsets are forgotten. That needs no state.
func (k *conn) group(req kmsg.Request, resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.FindCoordinatorResponse:
		r.NodeID, r.Host, r.Port = self, k.host, k.port
		for _, key := range req.(*kmsg.FindCoordinatorRequest).CoordinatorKeys {
			r.Coordinators = append(r.Coordinators, kmsg.FindCoordinatorResponseCoordinator{Key: key, NodeID: self, Host: k.host, Port: k.port})
		}
	case *kmsg.JoinGroupResponse:
		join(req.(*kmsg.JoinGroupRequest), r)
	case *kmsg.SyncGroupResponse:
		asked := req.(*kmsg.SyncGroupRequest)
		r.ProtocolType, r.Protocol = asked.ProtocolType, asked.Protocol
		for _, a := range asked.GroupAssignment {
			if a.MemberID == asked.MemberID {
				r.MemberAssignment = a.MemberAssignment
			}
		}
	case *kmsg.LeaveGroupResponse:
		for _, m := range req.(*kmsg.LeaveGroupRequest).Members {
			r.Members = append(r.Members, kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID})
		}
	case *kmsg.OffsetCommitResponse:
		for _, t := range req.(*kmsg.OffsetCommitRequest).Topics {
			out := kmsg.OffsetCommitResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition})
			}
			r.Topics = append(r.Topics, out)
		}
	case *kmsg.OffsetFetchResponse:
		offsetFetch(req.(*kmsg.OffsetFetchRequest), r)
	}
}

func join(req *kmsg.JoinGroupRequest, r *kmsg.JoinGroupResponse) {
	member := req.MemberID
	if member == "" {
		member = "member"
	}
	r.Generation, r.MemberID, r.LeaderID, r.ProtocolType = generation, member, member, &req.ProtocolType
	r.Protocol = new(string)
	if len(req.Protocols) > 0 {
		*r.Protocol = req.Protocols[0].Name
		r.Members = []kmsg.JoinGroupResponseMember{{MemberID: member, InstanceID: req.InstanceID, ProtocolMetadata: req.Protocols[0].Metadata}}
	}
}

func offsetFetch(req *kmsg.OffsetFetchRequest, r *kmsg.OffsetFetchResponse) {
	for _, t := range req.Topics {
		out := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: new(string)})
		}
		r.Topics = append(r.Topics, out)
	}
	for _, g := range req.Groups {
		group := kmsg.OffsetFetchResponseGroup{Group: g.Group}
		for _, t := range g.Topics {
			out := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: new(string)})
			}
			group.Topics = append(group.Topics, out)
		}
		r.Groups = append(r.Groups, group)
	}
}
