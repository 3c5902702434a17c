package broker

import (
	"errors"
	"testing"
	"time"

	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/coordinator"
	"ottla/internal/disk"
	"ottla/internal/group"
	"ottla/internal/metrics"
	"ottla/internal/partition"
)

// newGroups is the coordinator of a stack, on a store of its own, and what closes that.
func newGroups(tb testing.TB, fs disk.FS, cat *catalog.Catalog, m *metrics.Metrics) (*coordinator.Coordinator, func() error) {
	tb.Helper()
	if err := fs.MkdirAll(stackDir + "/groups"); err != nil {
		tb.Fatal(err)
	}
	store, err := coldstate.Open(coldstate.Options{FS: fs, Dir: stackDir + "/groups", MemoryBytes: 4 << 20, Metrics: m.Groups.Cold})
	if err != nil {
		tb.Fatal(err)
	}
	policy := "compact"
	cfg := &group.Config{
		SessionTimeoutMin: 6 * time.Second, SessionTimeoutMax: 30 * time.Minute, MembersMax: 20, MetadataBytesMax: 1 << 20,
		ConsumerSessionTimeout: 45 * time.Second, ConsumerHeartbeatInterval: 5 * time.Second, ConsumerMembersMax: 20,
		ConsumerAssignors: []string{"uniform", "range"}, MigrationPolicy: "bidirectional",
	}
	c := coordinator.New(coordinator.Options{
		Store: store,
		Partition: func(index int32) (*partition.Partition, error) {
			p, err := cat.Partition(coordinator.Topic, index)
			if errors.Is(err, catalog.ErrUnknownTopic) {
				err = coordinator.ErrNoTopic
			}
			return p, err
		},
		Partitions: func() int32 {
			t, found := cat.Topic(coordinator.Topic)
			if !found {
				return 0
			}
			return int32(len(t.Partitions))
		},
		EnsureTopic: func() error {
			return cat.EnsureInternalTopic(catalog.TopicSpec{Name: coordinator.Topic, Partitions: 2, ReplicationFactor: 1,
				Configs: map[string]*string{"cleanup.policy": &policy}})
		},
		Topics:  func() group.Topics { return stackTopics{cat} },
		Config:  func(string) *group.Config { return cfg },
		Offsets: coordinator.OffsetsConfig{RetentionMillis: 1 << 40, RetentionCheckMillis: 600_000, MetadataBytesMax: 4096},
		Metrics: m.Groups,
	})
	c.Start()
	return c, store.Close
}

// stackTopics shows the catalog to groups. Its revision counts topics, which is enough where none is deleted and made again.
type stackTopics struct{ catalog *catalog.Catalog }

func topicInfo(t *catalog.Topic, found bool) (group.TopicInfo, bool) {
	if !found {
		return group.TopicInfo{}, false
	}
	return group.TopicInfo{Name: t.Name, ID: t.ID, Partitions: int32(len(t.Partitions))}, true
}

func (s stackTopics) Topic(name string) (group.TopicInfo, bool) {
	return topicInfo(s.catalog.Topic(name))
}

func (s stackTopics) TopicByID(id [16]byte) (group.TopicInfo, bool) {
	return topicInfo(s.catalog.TopicByID(id))
}

func (s stackTopics) Names(fn func(string) bool) {
	for _, t := range s.catalog.Topics() {
		if !t.Internal && !fn(t.Name) {
			return
		}
	}
}

func (s stackTopics) Revision() uint64 { return uint64(len(s.catalog.Topics())) }
