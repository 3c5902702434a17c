package group

import (
	"slices"
	"time"
)

// record adds a record of this group to what the step writes. second is the member or the expression, for keys that have one.
func (c *consumerGroup) record(out *Output, kind int16, second string, value []byte) {
	parts := []string{c.g.id, second}
	switch kind {
	case keyGroupMetadata, keyPartitionMetadata, keyTargetMetadata:
		parts = parts[:1]
	}
	out.Records = append(out.Records, Record{Key: consumerKey(kind, parts...), Value: value})
}

func (c *consumerGroup) tombstone(out *Output, kind int16, second string) {
	c.record(out, kind, second, nil)
}

// bump starts a new group epoch: the target is not that of the members and topics any more.
func (c *consumerGroup) bump(hash int64, out *Output) {
	c.epoch++
	c.hash = hash
	c.record(out, keyGroupMetadata, "", encodeGroupMetadata(c.epoch, hash))
}

// refresh looks whether the topics are still those that the hash and the expressions are of, and bumps the group epoch if not, or if
// the caller knows a reason. When neither a member nor the topics changed it costs a comparison.
func (c *consumerGroup) refresh(now time.Time, topics Topics, bump bool, out *Output) {
	revision := topics.Revision()
	moved := !c.revisionKnown || revision != c.revision
	if moved {
		c.regexesStale = true
	}
	if !bump && !moved && !c.regexesDue(now) {
		return
	}
	if c.resolveRegexes(now, topics, out) {
		bump = true
	}
	c.revision, c.revisionKnown = revision, true
	if hash := c.topicsHash(topics); bump || hash != c.hash {
		c.bump(hash, out)
	}
	if c.oldPartitionMetadata {
		c.oldPartitionMetadata = false
		c.tombstone(out, keyPartitionMetadata, "")
	}
}

// A target is computed with the first heartbeat that finds a newer group epoch, but a large group waits between two of them, so that
// a crowd that joins one by one is not computed one by one. (Kafka waits in groups of any size: group.consumer.assignment.interval.ms,
// 1 s. Here one does that was told to.)
const (
	retargetWaitFrom = 1000                  // members and partitions of the target, together; fewer never wait
	retargetWaitEach = 10 * time.Microsecond // for each of them: a target costs about a tenth of that
	retargetWaitMax  = time.Second
)

// retargetDue says whether the group has waited long enough since its last target. A clock that was set back does not make it wait.
func (c *consumerGroup) retargetDue(now time.Time) bool {
	wait := c.g.cfg.ConsumerAssignmentInterval
	if size := len(c.members) + c.targetSize; size >= retargetWaitFrom {
		wait = max(wait, min(time.Duration(size)*retargetWaitEach, retargetWaitMax))
	}
	since := time.Duration(now.UnixMilli()-c.assignmentMillis) * time.Millisecond
	return since < 0 || since >= wait
}

// retarget computes the target for the group epoch, unless there is one. Only targets that changed are written.
func (c *consumerGroup) retarget(now time.Time, topics Topics, out *Output) {
	if c.assignmentEpoch >= c.epoch || !c.retargetDue(now) {
		return
	}
	resolver := subscriptionResolver{group: c, topics: topics}
	members := make([]assigned, 0, len(c.members))
	for _, id := range c.memberIDs() {
		m := c.members[id]
		members = append(members, assigned{id: id, instance: m.instance, topics: resolver.topicsOf(&m.memberData), target: c.target[id]})
	}
	c.targetSize = 0
	targets := assign(c.assignorName(), members)
	for i, target := range targets {
		id := members[i].id
		c.targetSize += target.size()
		if old, ok := c.target[id]; ok && old.equal(target) {
			continue
		}
		c.target[id] = target
		c.record(out, keyTargetMember, id, encodeTargetMember(target))
	}
	c.assignmentEpoch, c.assignmentMillis = c.epoch, now.UnixMilli()
	c.record(out, keyTargetMetadata, "", encodeTargetMetadata(c.assignmentEpoch, c.assignmentMillis))
}

// assignorName is the assignor that most members ask for, else the first that is configured. One that was configured once counts as
// not asked for.
func (c *consumerGroup) assignorName() string {
	best, votes := "", 0
	for name, n := range c.assignors {
		if (n > votes || n == votes && name < best) && slices.Contains(c.g.cfg.assignors(), name) {
			best, votes = name, n
		}
	}
	if votes == 0 {
		return c.g.cfg.assignors()[0]
	}
	return best
}

// assignors is the configured assignors, Kafka's default if there are none.
func (cfg *Config) assignors() []string {
	if len(cfg.ConsumerAssignors) == 0 {
		return defaultAssignors
	}
	return cfg.ConsumerAssignors
}

var defaultAssignors = []string{assignorUniform, assignorRange}

// subscriptionResolver turns subscriptions into topics that exist. Members mostly subscribe alike, so it remembers the last answers.
type subscriptionResolver struct {
	group   *consumerGroup
	topics  Topics
	byRegex map[string][]topicInfo // for members that subscribe by no names
	names   []string
	infos   []topicInfo // of names
}

func (r *subscriptionResolver) topicsOf(m *memberData) []topicInfo {
	var pattern []string
	if s := r.group.regexes[m.regex]; m.regex != "" && s != nil {
		pattern = s.topics
	}
	switch {
	case len(pattern) == 0:
		if r.infos == nil || !slices.Equal(r.names, m.names) {
			r.names, r.infos = m.names, r.resolve(m.names)
		}
		return r.infos
	case len(m.names) > 0:
		return r.resolve(append(slices.Clone(m.names), pattern...))
	}
	infos, ok := r.byRegex[m.regex]
	if !ok {
		infos = r.resolve(pattern)
		if r.byRegex == nil {
			r.byRegex = map[string][]topicInfo{}
		}
		r.byRegex[m.regex] = infos
	}
	return infos
}

func (r *subscriptionResolver) resolve(names []string) []topicInfo {
	infos := make([]topicInfo, 0, len(names))
	for _, name := range names {
		if t, ok := r.topics.Topic(name); ok {
			infos = append(infos, topicInfo{t.ID, t.Partitions})
		}
	}
	slices.SortFunc(infos, func(a, b topicInfo) int { return compareIDs(a.id, b.id) })
	return slices.CompactFunc(infos, func(a, b topicInfo) bool { return a.id == b.id })
}

// reconcile moves one member towards its target and writes what changed.
func (c *consumerGroup) reconcile(m *consumerMember, now time.Time, topics Topics, subscriptionChanged bool, owned ownedTopics, out *Output) {
	if !subscriptionChanged && m.reconciledTo(c.assignmentEpoch) {
		return
	}
	resolver := subscriptionResolver{group: c, topics: topics}
	r := reconciler{
		group: c, memberID: m.id, subscribed: resolver.topicsOf(&m.memberData),
		target: c.target[m.id], targetEpoch: c.assignmentEpoch, subscriptionChanged: subscriptionChanged, owned: owned,
	}
	next, changed := r.next(m.memberData)
	if !changed {
		return
	}
	c.put(m, next)
	c.record(out, keyCurrentAssignment, m.id, encodeCurrentAssignment(&next))
	if m.classic != nil {
		return // members of the classic protocol have their join and sync clocks
	}
	m.rebalance = time.Time{}
	if m.state == stateUnrevoked {
		m.rebalance, m.rebalanceEpoch = now.Add(ofMillis(m.rebalanceMillis)), m.epoch
	}
	c.timers.touch(m)
}
