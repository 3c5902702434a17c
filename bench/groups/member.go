package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	sessionTimeout   = 30 * time.Second
	rebalanceTimeout = time.Minute
)

// member is one member of a group with a connection of its own.
type member struct {
	o          options
	conn       *conn
	group      string
	id         string
	generation int32 // or member epoch
	owned      []kmsg.ConsumerGroupHeartbeatRequestTopic
	assigned   int // partitions
}

func newMember(o options, group string) (*member, error) {
	c, err := dial(o.addr)
	return &member{o: o, conn: c, group: group}, err
}

// metadata is the subscription of a classic member.
func (m *member) metadata() []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{m.o.topic}
	return meta.AppendTo(nil)
}

// join has a classic member join and sync, until it has an assignment.
func (m *member) join() error {
	for {
		err := m.joinOnce()
		switch {
		case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.MemberIDRequired),
			errors.Is(err, kerr.CoordinatorLoadInProgress), errors.Is(err, kerr.NotCoordinator):
		default:
			return err
		}
	}
}

func (m *member) joinOnce() error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version = 7
	req.Group, req.MemberID, req.ProtocolType = m.group, m.id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), int32(rebalanceTimeout.Milliseconds())
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", m.metadata()
	req.Protocols = append(req.Protocols, p)
	r, err := m.conn.ask(req)
	if err != nil {
		return err
	}
	joined := r.(*kmsg.JoinGroupResponse)
	if joined.MemberID != "" {
		m.id = joined.MemberID
	}
	if err := failed("JoinGroup", joined.ErrorCode); err != nil {
		return err
	}
	m.generation = joined.Generation
	return m.sync(joined)
}

func (m *member) sync(joined *kmsg.JoinGroupResponse) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version = 5
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	req.ProtocolType, req.Protocol = joined.ProtocolType, joined.Protocol
	if joined.LeaderID == m.id {
		for i, other := range joined.Members {
			a := kmsg.NewConsumerMemberAssignment()
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic = m.o.topic
			for p := i; p < m.o.partitions; p += len(joined.Members) {
				t.Partitions = append(t.Partitions, int32(p))
			}
			a.Topics = append(a.Topics, t)
			g := kmsg.NewSyncGroupRequestGroupAssignment()
			g.MemberID, g.MemberAssignment = other.MemberID, a.AppendTo(nil)
			req.GroupAssignment = append(req.GroupAssignment, g)
		}
	}
	r, err := m.conn.ask(req)
	if err != nil {
		return err
	}
	synced := r.(*kmsg.SyncGroupResponse)
	if err := failed("SyncGroup", synced.ErrorCode); err != nil {
		return err
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(synced.MemberAssignment); err != nil {
		return fmt.Errorf("assignment: %w", err)
	}
	m.assigned = 0
	for _, t := range a.Topics {
		m.assigned += len(t.Partitions)
	}
	return nil
}

// beat sends one heartbeat; a classic member of a group that rebalances joins again.
func (m *member) beat() error {
	if m.o.protocol == "consumer" {
		_, err := m.consumerBeat()
		return err
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version = 4
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	r, err := m.conn.ask(req)
	if err != nil {
		return err
	}
	err = failed("Heartbeat", r.(*kmsg.HeartbeatResponse).ErrorCode)
	if errors.Is(err, kerr.RebalanceInProgress) {
		return m.join()
	}
	return err
}

func (m *member) leave() error {
	if m.o.protocol == "consumer" {
		m.generation = -1
		_, err := m.consumerBeat()
		return err
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version = 5
	req.Group = m.group
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = m.id
	req.Members = append(req.Members, one)
	r, err := m.conn.ask(req)
	if err != nil {
		return err
	}
	return failed("LeaveGroup", r.(*kmsg.LeaveGroupResponse).ErrorCode)
}

// consumerBeat is a heartbeat of KIP-848: joins at epoch 0, says what it owns, takes over what it is told.
func (m *member) consumerBeat() (next time.Duration, err error) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version = 1
	if m.id == "" {
		m.id = rand.Text()
	}
	req.Group, req.MemberID, req.MemberEpoch = m.group, m.id, m.generation
	req.RebalanceTimeoutMillis = -1
	if m.generation == 0 {
		req.RebalanceTimeoutMillis = int32(rebalanceTimeout.Milliseconds())
		req.SubscribedTopicNames = []string{m.o.topic}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	} else if m.owned != nil {
		req.Topics = m.owned
	}
	r, err := m.conn.ask(req)
	if err != nil {
		return 0, err
	}
	resp := r.(*kmsg.ConsumerGroupHeartbeatResponse)
	if err := failed("ConsumerGroupHeartbeat", resp.ErrorCode); err != nil {
		return 0, err
	}
	m.generation, m.owned = resp.MemberEpoch, nil
	if resp.Assignment != nil {
		m.assigned, m.owned = 0, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			o := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			o.TopicID, o.Partitions = t.TopicID, t.Partitions
			m.owned = append(m.owned, o)
			m.assigned += len(t.Partitions)
		}
	}
	return time.Duration(resp.HeartbeatIntervalMillis) * time.Millisecond, nil
}
