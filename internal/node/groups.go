package node

import (
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/group"
	"ottla/internal/partition"
)

// groupsDir is the directory of the cold store of consumer groups and committed offsets.
const groupsDir = "groups"

// groupMetadataBytesMax bounds what one member of a group may make the broker keep: protocol metadata and assignment. Kafka has no
// bound but the largest message; Kafka Streams with thousands of tasks needs some hundred KiB.
const groupMetadataBytesMax = 1 << 20

// openGroups opens the store of groups and builds their coordinator.
func (n *Node) openGroups() (err error) {
	n.groupsCold, err = n.openStore(groupsDir, n.config.Int("group.state.memory.bytes"), n.metrics.Groups.Cold,
		"the store of consumer groups is damaged: it was moved aside and is rebuilt from "+coordinator.Topic)
	if err != nil {
		return err
	}
	n.groups = n.newCoordinator()
	n.groups.Start()
	n.tellOffline(n.groups.SetOffline)
	return nil
}

func (n *Node) newCoordinator() *coordinator.Coordinator {
	topics := &groupTopics{catalog: n.catalog}
	return coordinator.New(coordinator.Options{
		Store: n.groupsCold,
		Partition: func(index int32) (*partition.Partition, error) {
			p, err := n.catalog.Partition(coordinator.Topic, index)
			if errors.Is(err, catalog.ErrUnknownTopic) {
				err = coordinator.ErrNoTopic
			}
			return p, err
		},
		Partitions: func() int32 {
			t, found := n.catalog.Topic(coordinator.Topic)
			if !found {
				return 0
			}
			return int32(t.PartitionCount())
		},
		EnsureTopic: n.ensureOffsetsTopic,
		Topics:      topics.now,
		Config:      n.configOfGroups(),
		Offsets: coordinator.OffsetsConfig{
			RetentionMillis:      n.config.Int("offsets.retention.minutes") * time.Minute.Milliseconds(),
			RetentionCheckMillis: n.config.Int("offsets.retention.check.interval.ms"),
			MetadataBytesMax:     int32(n.config.Int("offset.metadata.max.bytes")),
		},
		Metrics: n.metrics.Groups, Logger: n.logger,
	})
}

// configOfGroups returns what is in force for a group: what the catalog says of it alone, and what counts for all. As at Kafka
// (GroupConfig.evaluate) a value that the broker allowed once counts as the nearest that it allows now.
func (n *Node) configOfGroups() func(groupID string) *group.Config {
	general := n.groupConfig()
	sessionMin, sessionMax := n.config.Int("group.consumer.min.session.timeout.ms"), n.config.Int("group.consumer.max.session.timeout.ms")
	heartbeatMin, heartbeatMax := n.config.Int("group.consumer.min.heartbeat.interval.ms"), n.config.Int("group.consumer.max.heartbeat.interval.ms")
	return func(groupID string) *group.Config {
		told := n.catalog.GroupOverrides(groupID)
		if told == nil {
			return general
		}
		own := *general
		override(&own.ConsumerSessionTimeout, told["consumer.session.timeout.ms"], sessionMin, sessionMax)
		override(&own.ConsumerHeartbeatInterval, told["consumer.heartbeat.interval.ms"], heartbeatMin, heartbeatMax)
		override(&own.ConsumerAssignmentInterval, told["consumer.assignment.interval.ms"], 0, math.MaxInt32)
		return &own
	}
}

// override puts the number of milliseconds in text in force, if there is one, as far as the limits allow.
func override(d *time.Duration, text string, low, high int64) {
	if millis, err := strconv.ParseInt(text, 10, 32); err == nil {
		*d = time.Duration(min(max(millis, low), high)) * time.Millisecond
	}
}

// groupConfig is what the configuration says of all groups; it does not change while the node runs.
func (n *Node) groupConfig() *group.Config {
	millis := func(key string) time.Duration { return time.Duration(n.config.Int(key)) * time.Millisecond }
	return &group.Config{
		InitialRebalanceDelay:     millis("group.initial.rebalance.delay.ms"),
		SessionTimeoutMin:         millis("group.min.session.timeout.ms"),
		SessionTimeoutMax:         millis("group.max.session.timeout.ms"),
		MembersMax:                int(n.config.Int("group.max.size")),
		MetadataBytesMax:          groupMetadataBytesMax,
		ConsumerSessionTimeout:    millis("group.consumer.session.timeout.ms"),
		ConsumerHeartbeatInterval: millis("group.consumer.heartbeat.interval.ms"),
		ConsumerMembersMax:        int(n.config.Int("group.consumer.max.size")),
		ConsumerAssignors:         n.config.List("group.consumer.assignors"),
		MigrationPolicy:           n.config.Text("group.consumer.migration.policy"),
	}
}

// ensureOffsetsTopic makes __consumer_offsets as Kafka does (AutoTopicCreationManager, GroupCoordinator.groupMetadataTopicConfigs).
func (n *Node) ensureOffsetsTopic() error {
	policy, codec := "compact", "producer"
	segment := strconv.FormatInt(n.config.Int("offsets.topic.segment.bytes"), 10)
	return n.catalog.EnsureInternalTopic(catalog.TopicSpec{
		Name: coordinator.Topic, Partitions: int32(n.config.Int("offsets.topic.num.partitions")), ReplicationFactor: int16(n.config.Int("offsets.topic.replication.factor")),
		Configs: map[string]*string{"cleanup.policy": &policy, "compression.type": &codec, "segment.bytes": &segment},
	})
}

// groupTopics shows the catalog to groups. A new list of topics in the catalog is a new revision.
type groupTopics struct {
	catalog *catalog.Catalog
	mu      struct {
		sync.Mutex
		view *topicsView
	}
}

// topicsView is the catalog under one revision number.
type topicsView struct {
	catalog  *catalog.Catalog
	topics   []*catalog.Topic
	revision uint64
}

func (t *groupTopics) now() group.Topics {
	topics := t.catalog.Topics()
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.mu.view
	// The catalog makes the list anew when a topic changes. The one that is held here keeps its address from being used again.
	if v == nil || len(v.topics) != len(topics) || len(topics) > 0 && &v.topics[0] != &topics[0] {
		next := &topicsView{catalog: t.catalog, topics: topics, revision: 1}
		if v != nil {
			next.revision = v.revision + 1
		}
		v, t.mu.view = next, next
	}
	return v
}

func infoOf(t *catalog.Topic, found bool) (group.TopicInfo, bool) {
	if !found {
		return group.TopicInfo{}, false
	}
	return group.TopicInfo{Name: t.Name, ID: t.ID, Partitions: int32(t.PartitionCount())}, true
}

// Topic implements group.Topics.
func (v *topicsView) Topic(name string) (group.TopicInfo, bool) { return infoOf(v.catalog.Topic(name)) }

// TopicByID implements group.Topics.
func (v *topicsView) TopicByID(id [16]byte) (group.TopicInfo, bool) {
	return infoOf(v.catalog.TopicByID(id))
}

// Names implements group.Topics.
func (v *topicsView) Names(fn func(name string) bool) {
	for _, t := range v.topics {
		if !fn(t.Name) {
			return
		}
	}
}

// Revision implements group.Topics.
func (v *topicsView) Revision() uint64 { return v.revision }
