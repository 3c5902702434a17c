package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"ottla/internal/pidstore"
)

// numRange are partitions that were made together: partition i of the range has the internal number first+i.
type numRange struct {
	first      uint64
	count      int32
	createdPID int64 // every producer id below it was issued before these partitions existed
}

// topicState is what the journal knows of a topic.
type topicState struct {
	name    string
	id      [16]byte
	ranges  []numRange
	configs map[string]string // nil when nothing is overridden
}

func (t *topicState) partitions() int32 {
	n := int32(0)
	for _, r := range t.ranges {
		n += r.count
	}
	return n
}

// state is the fold of all changes: pure, no I/O, no clock. It is the same after a start as it was before, because
// apply is the only way to change it.
type state struct {
	clusterID, directoryID [16]byte
	run                    int32
	nextNum                uint64 // internal numbers below it are used up, also those of deleted topics
	pidEnd                 int64  // producer ids below it are used up; 0: none was ever reserved
	marks                  []pidstore.IssueMark

	topics    map[[16]byte]*topicState
	byName    map[string]*topicState
	collision map[string]string // collisionKey -> a topic of that key
	deleting  map[[16]byte]*topicState
	brokers   map[string]map[string]string // resource ("" or node id) -> key -> value
	count     int                          // partitions of all topics
	groups    map[string]map[string]string // group -> key -> value; none is empty

	groupBytes    int // see groupConfigBytes
	deletingNames map[string]int
}

func newState() *state {
	return &state{
		nextNum:   1,
		topics:    map[[16]byte]*topicState{},
		byName:    map[string]*topicState{},
		collision: map[string]string{},
		deleting:  map[[16]byte]*topicState{},
		brokers:   map[string]map[string]string{},
		groups:    map[string]map[string]string{},

		deletingNames: map[string]int{},
	}
}

// apply makes one change. An error means that the change cannot follow what was before: the journal is corrupt.
func (s *state) apply(c *change) error {
	switch c.kind {
	case kindIdentity:
		s.clusterID, s.directoryID = c.id, c.id2
	case kindRun:
		s.run = c.count
	case kindCounters:
		s.nextNum = max(s.nextNum, c.num)
	case kindTopicCreated:
		return s.createTopic(c)
	case kindTopicDeleted:
		return s.deleteTopic(c)
	case kindTopicPurged:
		t := s.deleting[c.id]
		if t == nil {
			return fmt.Errorf("%w: topic %s purged but not deleted", ErrCorrupt, formatID(c.id))
		}
		delete(s.deleting, c.id)
		if s.deletingNames[t.name]--; s.deletingNames[t.name] == 0 {
			delete(s.deletingNames, t.name)
		}
	case kindPartitionsAdded:
		return s.addPartitions(c)
	case kindTopicConfig:
		t := s.topics[c.id]
		if t == nil {
			return fmt.Errorf("%w: configuration of unknown topic %s", ErrCorrupt, formatID(c.id))
		}
		t.configs = applySettings(t.configs, c.settings)
	case kindBrokerConfig:
		m := applySettings(s.brokers[c.name], c.settings)
		if m == nil {
			delete(s.brokers, c.name)
		} else {
			s.brokers[c.name] = m
		}
	case kindGroupConfig:
		s.configureGroup(c)
	case kindProducerBlock:
		return s.reserve(c)
	case kindIssueMarks:
		return s.setMarks(c.marks)
	}
	return nil
}

func (s *state) configureGroup(c *change) {
	old := s.groups[c.name]
	m := applySettings(old, c.settings)
	s.groupBytes += groupConfigBytes(c.name, m) - groupConfigBytes(c.name, old)
	if m == nil {
		delete(s.groups, c.name)
	} else {
		s.groups[c.name] = m
	}
}

func (s *state) createTopic(c *change) error {
	if s.byName[c.name] != nil || s.topics[c.id] != nil || s.deleting[c.id] != nil {
		return fmt.Errorf("%w: topic %q created twice", ErrCorrupt, c.name)
	}
	if err := s.useNumbers(c); err != nil {
		return err
	}
	t := &topicState{
		name: c.name, id: c.id,
		ranges:  []numRange{{c.num, c.count, c.pid}},
		configs: applySettings(nil, c.settings),
	}
	s.topics[t.id], s.byName[t.name] = t, t
	s.collision[collisionKey(t.name)] = t.name
	s.count += int(c.count)
	return nil
}

func (s *state) addPartitions(c *change) error {
	t := s.topics[c.id]
	if t == nil {
		return fmt.Errorf("%w: partitions of unknown topic %s", ErrCorrupt, formatID(c.id))
	}
	if err := s.useNumbers(c); err != nil {
		return err
	}
	// A copy: readers of a published topic may hold the old slice.
	t.ranges = append(slices.Clip(t.ranges), numRange{c.num, c.count, c.pid})
	s.count += int(c.count)
	return nil
}

// useNumbers takes the internal numbers of a change. In the order of the journal they may have holes (numbers of
// deleted topics, after a compaction), but never repeat; topics are written in the order of their numbers.
func (s *state) useNumbers(c *change) error {
	if c.count <= 0 || c.num < 1 || c.num > math.MaxInt64-uint64(c.count) || s.count+int(c.count) > partitionsHardMax {
		return fmt.Errorf("%w: %d partitions from number %d", ErrCorrupt, c.count, c.num)
	}
	if c.num < s.nextNum {
		return fmt.Errorf("%w: internal number %d used twice", ErrCorrupt, c.num)
	}
	s.nextNum = c.num + uint64(c.count)
	return nil
}

func (s *state) deleteTopic(c *change) error {
	t := s.topics[c.id]
	if t == nil {
		return fmt.Errorf("%w: unknown topic %s deleted", ErrCorrupt, formatID(c.id))
	}
	delete(s.topics, t.id)
	delete(s.byName, t.name)
	if k := collisionKey(t.name); s.collision[k] == t.name {
		delete(s.collision, k)
	}
	s.count -= int(t.partitions())
	s.deleting[t.id] = t
	s.deletingNames[t.name]++
	return nil
}

func (s *state) reserve(c *change) error {
	if c.end <= c.pid || c.pid < s.pidEnd {
		return fmt.Errorf("%w: producer ids [%d, %d) after %d", ErrCorrupt, c.pid, c.end, s.pidEnd)
	}
	s.pidEnd = c.end
	// A clone: readers may hold the old slice.
	s.marks = pidstore.AddMark(slices.Clone(s.marks), pidstore.IssueMark{PID: c.pid, Age: c.age})
	return nil
}

func (s *state) setMarks(marks []pidstore.IssueMark) error {
	ascending := slices.IsSortedFunc(marks, func(a, b pidstore.IssueMark) int { return cmp.Compare(a.PID, b.PID) })
	if len(marks) == 0 || !ascending || marks[len(marks)-1].PID >= s.pidEnd {
		return fmt.Errorf("%w: %d issue marks below producer id %d", ErrCorrupt, len(marks), s.pidEnd)
	}
	s.marks = slices.Clone(marks)
	return nil
}

// applySettings returns a new map: the old one may be in use by readers. An empty one is nil.
func applySettings(old map[string]string, settings []setting) map[string]string {
	if len(old) == 0 && len(settings) == 0 {
		return nil
	}
	m := maps.Clone(old)
	if m == nil {
		m = make(map[string]string, len(settings))
	}
	for _, x := range settings {
		if x.removed {
			delete(m, x.key)
		} else {
			m[x.key] = x.value
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// snapshot returns changes that make the same state from nothing.
func (s *state) snapshot() []change {
	out := []change{{kind: kindIdentity, id: s.clusterID, id2: s.directoryID}, {kind: kindRun, count: s.run}}
	out = append(out, s.topicChanges()...)
	for _, t := range sortedByNumber(s.deleting) {
		out = append(out, change{kind: kindTopicDeleted, id: t.id})
	}
	out = append(out, change{kind: kindCounters, num: s.nextNum})
	for _, name := range slices.Sorted(maps.Keys(s.brokers)) {
		out = append(out, change{kind: kindBrokerConfig, name: name, settings: settingsOf(s.brokers[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		out = append(out, change{kind: kindGroupConfig, name: name, settings: settingsOf(s.groups[name])})
	}
	if s.pidEnd > 0 {
		last := s.marks[len(s.marks)-1]
		out = append(out, change{kind: kindProducerBlock, pid: last.PID, end: s.pidEnd, age: last.Age},
			change{kind: kindIssueMarks, marks: s.marks})
	}
	return out
}

// topicChanges writes the ranges of all topics, deleted ones too, by ascending number: apply refuses any other order.
// A topic's first range makes it.
func (s *state) topicChanges() []change {
	var out []change
	for _, all := range []map[[16]byte]*topicState{s.topics, s.deleting} {
		for _, t := range all {
			for i, r := range t.ranges {
				c := change{kind: kindPartitionsAdded, id: t.id, num: r.first, count: r.count, pid: r.createdPID}
				if i == 0 {
					c.kind, c.name, c.settings = kindTopicCreated, t.name, settingsOf(t.configs)
				}
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b change) int { return cmp.Compare(a.num, b.num) })
	return out
}

func sortedByNumber(topics map[[16]byte]*topicState) []*topicState {
	return slices.SortedFunc(maps.Values(topics), func(a, b *topicState) int {
		return cmp.Compare(a.ranges[0].first, b.ranges[0].first)
	})
}

func settingsOf(m map[string]string) []setting {
	out := make([]setting, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, setting{key: k, value: m[k]})
	}
	return out
}
