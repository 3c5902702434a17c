package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Online migration (KIP-848): a classic group of consumers becomes a consumer group when a member of the consumer protocol joins it,
// and a classic group again when the last such member is gone. In between its classic members are served as they are used to, by
// migrate_classic.go.

// consumerProtocolVersionMax is the newest version of the embedded consumer protocol (subscriptions and assignments).
const consumerProtocolVersionMax = 3

func (cfg *Config) upgradeAllowed() bool {
	return strings.EqualFold(cfg.MigrationPolicy, "bidirectional") || strings.EqualFold(cfg.MigrationPolicy, "upgrade")
}

func (cfg *Config) downgradeAllowed() bool {
	return strings.EqualFold(cfg.MigrationPolicy, "bidirectional") || strings.EqualFold(cfg.MigrationPolicy, "downgrade")
}

// migrationDisabled keeps classic members out of consumer groups altogether. A policy that is not known is one that disables.
func (cfg *Config) migrationDisabled() bool { return !cfg.upgradeAllowed() && !cfg.downgradeAllowed() }

// readSubscription reads what a classic member subscribes to.
func readSubscription(metadata []byte) (*kmsg.ConsumerMemberMetadata, bool) {
	s := kmsg.NewConsumerMemberMetadata()
	if err := s.ReadFrom(metadata); err != nil || s.Version < 0 {
		return nil, false
	}
	return &s, true
}

// upgrade makes a consumer group of the classic one, without touching that (validateOnlineUpgrade, ConsumerGroup.fromClassicGroup).
// The generation becomes the epoch of the group, of its target, and of all members, who are taken to have their last assignment.
func (g *Group) upgrade(topics Topics) (*consumerGroup, *refusal) {
	old := g.classic
	no := func(why string) (*consumerGroup, *refusal) {
		return nil, &refusal{kerr.GroupIDNotFound.Code, fmt.Sprintf("Classic group %s cannot become a consumer group: %s.", g.id, why)}
	}
	switch limit := g.cfg.ConsumerMembersMax; {
	case !g.cfg.upgradeAllowed():
		return no("the migration policy does not allow it")
	case !old.usesConsumerProtocol():
		return no("its members are not consumers")
	case limit > 0 && len(old.members) > limit:
		return no("it has too many members")
	}
	c := newConsumerGroup(g)
	c.epoch, c.assignmentEpoch = old.generation, old.generation
	why := ""
	old.all(func(m *classicMember) {
		if why == "" {
			why = c.takeOver(m, old.protocol, topics)
		}
	})
	if why != "" {
		return no(why)
	}
	c.hash = c.metadataHash(topics)
	return c, nil
}

// takeOver adds one classic member to a group that is made of its own; it says why it cannot.
func (c *consumerGroup) takeOver(m *classicMember, protocol *string, topics Topics) string {
	metadata := m.metadata(protocol)
	if protocol == nil && len(m.protocols) > 0 {
		metadata = m.protocols[0].Metadata // no generation yet; a consumer says the same for all of its protocols
	}
	subscription, ok := readSubscription(metadata)
	if !ok {
		return "the metadata of a member cannot be read"
	}
	assignment := kmsg.NewConsumerMemberAssignment()
	if len(m.assignment) > 0 {
		if err := assignment.ReadFrom(m.assignment); err != nil || assignment.Version < 0 {
			return "the assignment of a member cannot be read"
		}
	}
	if len(assignment.UserData) > 0 {
		return "its assignor keeps data of its own in assignments, which would be lost"
	}
	target := c.unowned(assignment.Topics, topics)
	c.put(&consumerMember{id: m.id}, memberData{
		instance: m.instance, rack: notEmpty(subscription.Rack), clientID: m.client.ID, clientHost: m.client.Host,
		names: sortedNames(subscription.Topics), rebalanceMillis: int32(m.rebalance.Milliseconds()),
		classic: &classicMetadata{sessionMillis: int32(m.session.Milliseconds()), protocols: classicProtocols(m.protocols)},
		epoch:   c.epoch, previous: c.epoch, owned: target.withEpoch(c.epoch),
	})
	c.target[m.id] = target
	return ""
}

// unowned is an assignment by ids: of topics that exist, without what another member has already (no leader of consumers gives a
// partition to two, but nothing stops it from doing so).
func (c *consumerGroup) unowned(assigned []kmsg.ConsumerMemberAssignmentTopic, topics Topics) assignment {
	var out []topicParts
	for _, t := range assigned {
		info, ok := topics.Topic(t.Topic)
		if !ok {
			continue
		}
		parts := slices.DeleteFunc(slices.Clone(t.Partitions), func(p int32) bool { return c.owners[partitionKey{info.ID, p}] != "" })
		out = append(out, topicParts{id: info.ID, parts: parts})
	}
	return newAssignment(out)
}

func notEmpty(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

func classicProtocols(protocols []kmsg.JoinGroupRequestProtocol) []classicProtocol {
	out := make([]classicProtocol, 0, len(protocols))
	for _, p := range protocols {
		out = append(out, classicProtocol{strings.Clone(p.Name), bytes.Clone(p.Metadata)})
	}
	return out
}

// mayDowngrade says whether what remains may be a classic group: only classic members, no more than may be, and the policy allows it.
func (c *consumerGroup) mayDowngrade(members, classic int) bool {
	limit := c.g.cfg.MembersMax
	return members > 0 && classic == members && c.g.cfg.downgradeAllowed() && (limit <= 0 || members <= limit)
}

// downgradeWithout makes the group a classic one if that is what it can be once members have left; their clients are asked to join
// again (validateOnlineDowngradeWithFencedMembers).
func (c *consumerGroup) downgradeWithout(now time.Time, topics Topics, leaving []*consumerMember, out *Output) bool {
	classic := c.classicMembers
	for _, m := range leaving {
		if m.classic != nil {
			classic--
		}
	}
	if !c.mayDowngrade(len(c.members)-len(leaving), classic) {
		return false
	}
	c.tombstones(out)
	for _, m := range leaving {
		c.remove(m)
	}
	c.becomeClassic(now, topics, out).prepareRebalance(now, out)
	return true
}

// becomeClassic makes the group a classic one, Stable, whose generation is the group epoch and whose assignments are the targets
// (ClassicGroup.fromConsumerGroup). The tombstones of the consumer group have been written.
func (c *consumerGroup) becomeClassic(now time.Time, topics Topics, out *Output) *classicGroup {
	k := newClassicGroup(c.g)
	k.state, k.changed, k.generation = stateStable, now.UnixMilli(), c.epoch
	for _, id := range c.memberIDs() {
		m := c.members[id]
		one := newClassicMember(id, m.instance, Client{ID: m.clientID, Host: m.clientHost})
		one.rebalance, one.session = ofMillis(m.rebalanceMillis), ofMillis(m.classic.sessionMillis)
		for _, p := range m.classic.protocols {
			one.protocols = append(one.protocols, kmsg.JoinGroupRequestProtocol{Name: p.name, Metadata: p.metadata})
		}
		k.add(one, consumerProtocolType)
		k.assign(one, c.target[id].consumerProtocol(m.classic, topics))
		k.expect(now, one, one.session)
	}
	protocol := k.selectProtocol()
	k.protocol = &protocol
	k.readSubscription()
	k.record(out)
	c.g.consumer, c.g.classic = nil, k
	return k
}

// consumerProtocol is an assignment as a classic member reads it, in the version of its subscription.
func (a assignment) consumerProtocol(of *classicMetadata, topics Topics) []byte {
	out := kmsg.NewConsumerMemberAssignment()
	if s, ok := readSubscription(of.first().metadata); ok {
		out.Version = min(s.Version, consumerProtocolVersionMax)
	}
	for _, t := range a {
		if info, ok := topics.TopicByID(t.id); ok {
			out.Topics = append(out.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: info.Name, Partitions: t.parts})
		}
	}
	return out.AppendTo(nil)
}
