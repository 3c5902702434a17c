package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ottla/internal/partition"
)

// UseDefault stands for num.partitions and default.replication.factor in a TopicSpec.
const UseDefault = -1

// TopicSpec describes a topic to create.
type TopicSpec struct {
	Name              string
	Partitions        int32 // UseDefault: num.partitions, or given by Assignments
	ReplicationFactor int16 // UseDefault: one
	Assignments       []Assignment
	Configs           map[string]*string
}

// Assignment names the brokers of one partition.
type Assignment struct {
	Partition int32
	Brokers   []int32
}

// Created is the outcome for one TopicSpec. When it was only validated there is no topic, but all else.
type Created struct {
	Topic      *Topic
	ID         [16]byte
	Partitions int32
	Config     []ConfigEntry // topics without a configuration of their own share one
	Err        error
}

// CreateTopic creates one topic.
func (c *Catalog) CreateTopic(spec TopicSpec, validateOnly bool) (*Topic, error) {
	out := c.CreateTopics([]TopicSpec{spec}, validateOnly)[0]
	return out.Topic, out.Err
}

// CreateTopics creates topics in one atomic step; those that are refused do not hinder the others.
func (c *Catalog) CreateTopics(specs []TopicSpec, validateOnly bool) []Created {
	out := make([]Created, len(specs))
	if err := c.checkRequestTotal(specs); err != nil {
		return failAll(out, err)
	}
	for _, spec := range specs {
		if err := c.awaitDeletion(spec.Name); err != nil {
			return failAll(out, err)
		}
	}
	err := c.committer.propose(func(t *tx) error {
		for i := range specs {
			made, err := c.checkTopic(t.state, &specs[i])
			if err != nil {
				out[i].Err = err
				continue
			}
			out[i].ID, out[i].Partitions = made.id, made.count
			if !validateOnly {
				t.add(made)
			}
		}
		return nil
	})
	if err != nil {
		return failAll(out, err)
	}
	plain := c.entries(nil)
	for i := range out {
		if out[i].Err != nil {
			continue
		}
		out[i].Topic, _ = c.TopicByID(out[i].ID)
		out[i].Config = plain
		if overrides := c.pinned(specs[i].Name, canonicalConfig(overridesOf(&specs[i]))); len(overrides) > 0 {
			out[i].Config = c.entries(overrides)
		}
	}
	return out
}

func failAll(out []Created, err error) []Created {
	for i := range out {
		out[i] = Created{Err: err}
	}
	return out
}

// checkRequestTotal is ReplicationControlManager.validateTotalNumberOfPartitions.
func (c *Catalog) checkRequestTotal(specs []TopicSpec) error {
	total := int64(0)
	for i := range specs {
		n := int64(specs[i].Partitions)
		switch {
		case len(specs[i].Assignments) > 0:
			n = int64(len(specs[i].Assignments))
		case n == UseDefault:
			n = int64(c.defaultPartitions())
		}
		total += max(n, 0)
	}
	if total > PartitionsPerRequestMax {
		return Refuse(ErrPolicyViolation, "Excessively large number of partitions per request.")
	}
	return nil
}

// checkTopic applies Kafka's rules in Kafka's order and returns the change that makes the topic.
func (c *Catalog) checkTopic(s *state, spec *TopicSpec) (change, error) {
	if spec.Name == ClusterMetadataTopic {
		return change{}, Refuse(ErrInvalidRequest, "Creation of internal topic %s is prohibited.", ClusterMetadataTopic)
	}
	if err := ValidateTopicName(spec.Name); err != nil {
		return change{}, err
	}
	if s.byName[spec.Name] != nil {
		return change{}, Refuse(ErrTopicExists, "Topic '%s' already exists.", spec.Name)
	}
	if other, found := s.collision[collisionKey(spec.Name)]; found {
		return change{}, Refuse(ErrInvalidTopicName, "Topic '%s' collides with existing topic: %s", spec.Name, other)
	}
	if s.deletingNames[spec.Name] > 0 {
		return change{}, fmt.Errorf("topic %s of the same name is still being deleted", spec.Name)
	}
	if err := checkNullConfigs(spec.Configs); err != nil {
		return change{}, err
	}
	overrides := overridesOf(spec)
	if err := checkTopicConfig(overrides); err != nil {
		return change{}, err
	}
	if err := checkPinned(spec.Name, overrides); err != nil {
		return change{}, err
	}
	if err := c.checkTopicTogether(overrides, overrides); err != nil {
		return change{}, err
	}
	count, err := c.checkLayout(spec)
	if err != nil {
		return change{}, err
	}
	if err := checkTotal(s, count); err != nil {
		return change{}, err
	}
	return change{
		kind: kindTopicCreated, name: spec.Name, id: newID(),
		num: max(s.nextNum, c.numFloor), count: count, pid: c.createdPID(s), settings: settingsOf(canonicalConfig(overrides)),
	}, nil
}

func checkTotal(s *state, more int32) error {
	if s.count+int(more) > PartitionsMax {
		return Refuse(ErrPolicyViolation, "The broker has %d partitions and takes at most %d: %d more are too many.",
			s.count, PartitionsMax, more)
	}
	return nil
}

// checkLayout is the part of ReplicationControlManager.createTopic that concerns partitions and replicas.
func (c *Catalog) checkLayout(spec *TopicSpec) (count int32, err error) {
	if len(spec.Assignments) > 0 {
		return c.checkAssignments(spec)
	}
	switch {
	case spec.ReplicationFactor < UseDefault || spec.ReplicationFactor == 0:
		return 0, Refuse(ErrInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case spec.Partitions < UseDefault || spec.Partitions == 0:
		return 0, Refuse(ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case spec.ReplicationFactor > 1:
		return 0, Refuse(ErrInvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication"+
			" factor of %d cannot be reached because only 1 broker(s) are registered.", spec.ReplicationFactor, spec.ReplicationFactor)
	case spec.Partitions == UseDefault:
		return c.defaultPartitions(), nil
	}
	return spec.Partitions, nil
}

func (c *Catalog) checkAssignments(spec *TopicSpec) (count int32, err error) {
	switch {
	case spec.ReplicationFactor != UseDefault:
		return 0, Refuse(ErrInvalidRequest,
			"A manual partition assignment was specified, but replication factor was not set to -1.")
	case spec.Partitions != UseDefault:
		return 0, Refuse(ErrInvalidRequest,
			"A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	seen := make(map[int32]bool, len(spec.Assignments))
	for _, a := range spec.Assignments {
		if seen[a.Partition] {
			return 0, Refuse(ErrInvalidReplicaAssignment,
				"Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := c.checkReplicas(a.Brokers); err != nil {
			return 0, err
		}
		seen[a.Partition] = true
	}
	for i := range int32(len(spec.Assignments)) {
		if !seen[i] {
			return 0, Refuse(ErrInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
	}
	return int32(len(spec.Assignments)), nil
}

// checkReplicas accepts this broker alone: there is no other.
func (c *Catalog) checkReplicas(brokers []int32) error {
	if len(brokers) == 0 {
		return Refuse(ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for i, id := range slices.Sorted(slices.Values(brokers)) {
		if id != c.o.NodeID {
			return Refuse(ErrInvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 {
			return Refuse(ErrInvalidReplicaAssignment,
				"The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	return nil
}

// CreatePartitions grows a topic to count partitions. A nil assignments leaves the placement to the broker.
func (c *Catalog) CreatePartitions(name string, count int32, assignments []Assignment, validateOnly bool) error {
	return c.committer.propose(func(t *tx) error {
		topic := t.byName[name]
		if topic == nil {
			return ErrUnknownTopic
		}
		have := topic.partitions()
		switch {
		case count == have:
			return Refuse(ErrInvalidPartitions, "Topic already has %d partition(s).", have)
		case count < have:
			return Refuse(ErrInvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.",
				name, have, count)
		}
		more := count - have
		if assignments != nil {
			if len(assignments) != int(more) {
				return Refuse(ErrInvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d"+
					" assignment(s) were specified.", more, len(assignments))
			}
			for _, a := range assignments {
				if err := c.checkReplicas(a.Brokers); err != nil {
					return err
				}
			}
		}
		if more > PartitionsPerRequestMax {
			return Refuse(ErrPolicyViolation, "Excessively large number of partitions per request.")
		}
		if err := checkTotal(t.state, more); err != nil || validateOnly {
			return err
		}
		t.add(change{kind: kindPartitionsAdded, id: topic.id, num: max(t.nextNum, c.numFloor), count: more, pid: c.createdPID(t.state)})
		return nil
	})
}

func overridesOf(spec *TopicSpec) map[string]string {
	m := make(map[string]string, len(spec.Configs))
	for k, v := range spec.Configs {
		if v != nil {
			m[k] = *v
		}
	}
	return m
}

func checkNullConfigs(configs map[string]*string) error {
	var null []string
	for _, k := range slices.Sorted(maps.Keys(configs)) {
		if configs[k] == nil {
			null = append(null, k)
		}
	}
	if null != nil {
		return Refuse(ErrInvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	return nil
}

// publish makes durable changes visible. It runs under the committer's lock, in the order of the journal.
func (c *Catalog) publish(changes []change) {
	c.live.Lock()
	defer c.live.Unlock()
	for i := range changes {
		c.publishLocked(&changes[i])
	}
}

func (c *Catalog) publishLocked(x *change) {
	switch x.kind {
	case kindRun:
		c.run.Store(x.count)
	case kindTopicCreated:
		ranges := []numRange{{x.num, x.count, x.pid}}
		t := c.newTopicLocked(x.name, x.id, ranges, applySettings(nil, x.settings))
		c.addPartitionsLocked(t, 0)
		c.putLocked(t)
	case kindPartitionsAdded:
		t := *c.live.byID[x.id]
		have := len(t.Partitions)
		t.ranges = append(slices.Clip(t.ranges), numRange{x.num, x.count, x.pid})
		t.Partitions = slices.Clip(t.Partitions)
		c.addPartitionsLocked(&t, have)
		c.putLocked(&t)
	case kindTopicConfig:
		t := *c.live.byID[x.id]
		t.overrides = applySettings(t.overrides, x.settings)
		c.putLocked(&t)
		c.applyLocked(&t)
	case kindBrokerConfig:
		c.publishBrokerConfigLocked(x)
	case kindGroupConfig:
		c.publishGroupConfig(x)
	case kindTopicDeleted:
		c.startDeletionLocked(c.live.byID[x.id])
	case kindTopicPurged:
		for name, d := range c.live.deletions {
			if d.topic.ID == x.id {
				delete(c.live.deletions, name)
			}
		}
	case kindProducerBlock:
		c.storeMarks(c.committer.write.staged.marks)
	}
}

// addPartitionsLocked makes the live partitions from index have on.
func (c *Catalog) addPartitionsLocked(t *Topic, have int) {
	if c.live.logs == nil {
		return
	}
	index := 0
	for _, r := range t.ranges {
		for i := range r.count {
			if index >= have {
				t.Partitions = append(t.Partitions, c.newPartitionLocked(t, int32(index), r.first+uint64(i), r.createdPID))
			}
			index++
		}
	}
}

func (c *Catalog) newPartitionLocked(t *Topic, index int32, num uint64, createdPID int64) *partition.Partition {
	return partition.New(partition.Options{
		Topic: t.Name, Index: index, TopicID: t.ID, Num: num, CreatedPID: createdPID,
		Logs: c.live.logs, Producers: c.live.producers, Settings: t.settings, LeaderEpoch: c.Run(),
		Unclean: c.live.unclean, Metrics: c.o.Metrics, LoadSlots: c.loads,
		HoldTombstones: IsInternal(t.Name),
	})
}

// applyLocked puts a topic's configuration in force.
func (c *Catalog) applyLocked(t *Topic) {
	t.settings = c.settingsLocked(c.pinned(t.Name, t.overrides))
	for _, p := range t.Partitions {
		p.SetSettings(t.settings)
	}
}
