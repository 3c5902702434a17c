package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

// deletion is a topic that is gone for clients while its files and producer entries are being removed. It is in the
// journal until nothing is left, so that a crash leaves no orphan; a topic of the same name waits for it, so that
// what is found under its name at a start is never a new topic's.
type deletion struct {
	topic *Topic
	done  chan struct{} // closed when the attempt has ended; nil: nobody works on it
	err   error         // of the last attempt, after done
}

// DeleteTopic deletes a topic by name. Its data is removed in the background.
func (c *Catalog) DeleteTopic(name string) error {
	return c.committer.propose(func(t *tx) error {
		topic := t.byName[name]
		if topic == nil {
			return ErrUnknownTopic
		}
		t.add(change{kind: kindTopicDeleted, id: topic.id})
		return nil
	})
}

// DeleteTopics deletes topics by id, in one atomic step.
func (c *Catalog) DeleteTopics(ids [][16]byte) []error {
	out := make([]error, len(ids))
	err := c.committer.propose(func(t *tx) error {
		for i, id := range ids {
			if t.topics[id] == nil {
				out[i] = ErrUnknownTopicID
				continue
			}
			t.add(change{kind: kindTopicDeleted, id: id})
		}
		return nil
	})
	if err != nil {
		for i := range out {
			out[i] = err
		}
	}
	return out
}

// startDeletionLocked takes a topic out of use and removes it in the background.
func (c *Catalog) startDeletionLocked(t *Topic) {
	delete(c.live.byName, t.Name)
	delete(c.live.byID, t.ID)
	c.live.sorted = nil
	d := &deletion{topic: t}
	c.live.deletions[t.Name] = d
	c.resumeLocked(d)
}

// resumeLocked has a deletion worked on, unless it is already.
func (c *Catalog) resumeLocked(d *deletion) {
	if d.done != nil || c.live.logs == nil || c.closing.Load() {
		return
	}
	d.done = make(chan struct{})
	c.live.purges = append(c.live.purges, d)
	if c.live.purging < purgesMax {
		c.live.purging++
		c.purging.Go(c.runPurges)
	}
}

// runPurges works on deletions until there are none.
func (c *Catalog) runPurges() {
	c.live.Lock()
	defer c.live.Unlock()
	for len(c.live.purges) > 0 {
		d := c.live.purges[0]
		c.live.purges = c.live.purges[1:]
		c.live.Unlock()
		err := c.purge(d.topic)
		if err != nil && !errors.Is(err, ErrClosed) {
			c.o.Logger.Warn("catalog: removing a deleted topic failed, trying again later", "topic", d.topic.Name, "err", err)
		}
		c.live.Lock()
		d.err = err
		close(d.done)
		d.done = nil
	}
	c.live.purging--
}

// purge removes what is left of a deleted topic and then the deletion itself.
func (c *Catalog) purge(t *Topic) error {
	if c.closing.Load() {
		return ErrClosed
	}
	var all error
	for _, p := range t.Partitions {
		if c.closing.Load() {
			return ErrClosed
		}
		if err := p.Delete(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	if all != nil {
		return all
	}
	return c.committer.propose(func(tx *tx) error {
		if tx.deleting[t.ID] != nil {
			tx.add(change{kind: kindTopicPurged, id: t.ID})
		}
		return nil
	})
}

// awaitDeletion waits until a deleted topic of the name is gone, trying once more if it failed before.
func (c *Catalog) awaitDeletion(name string) error {
	c.live.Lock()
	d := c.live.deletions[name]
	if d == nil {
		c.live.Unlock()
		return nil
	}
	c.resumeLocked(d)
	done := d.done
	c.live.Unlock()
	if done == nil {
		return nil // not attached: the proposal is refused
	}
	select {
	case <-done:
	case <-time.After(deletionWaitMax):
		return fmt.Errorf("topic %s of the same name is still being deleted", name)
	}
	c.live.RLock()
	defer c.live.RUnlock()
	if d.err != nil {
		return fmt.Errorf("topic %s of the same name is still being deleted: %w", name, d.err)
	}
	return nil
}

// ResumeDeletions has deletions that failed tried again.
func (c *Catalog) ResumeDeletions() {
	c.live.Lock()
	defer c.live.Unlock()
	for _, d := range c.live.deletions {
		c.resumeLocked(d)
	}
}

// deletionWaitMax bounds how long the creation of a topic waits for the deletion of one of
// the same name, which may itself wait for a recovery or for room on the disk.
const deletionWaitMax = 10 * time.Second

// purgesMax is how many deleted topics are removed at the same time.
const purgesMax = 4

const (
	deletedDirSuffix = "-delete" // what is being removed; the log store's
	strayDirSuffix   = "-stray"  // what no topic owns; never removed
	fileNameBytesMax = 255
)

// Attach makes the live partitions of all topics, without I/O for each of them, finishes deletions that a crash
// interrupted, and sets aside directories that look like partitions but belong to no topic: after a restored backup of
// the catalog they may hold the only copy of something, so they are never removed.
func (c *Catalog) Attach(logs *seglog.Store, producers *pidstore.Store, unclean bool) error {
	names, err := c.o.FS.List(c.o.Dir)
	if err != nil {
		return fmt.Errorf("attach catalog: %w", err)
	}
	c.live.Lock()
	defer c.live.Unlock()
	if c.live.logs != nil {
		panic("BUG: catalog attached twice")
	}
	if err := c.setStraysAsideLocked(names); err != nil {
		return fmt.Errorf("attach catalog: %w", err)
	}
	c.live.logs, c.live.producers, c.live.unclean = logs, producers, unclean
	for _, t := range c.live.byName {
		c.addPartitionsLocked(t, 0)
	}
	for _, d := range c.live.deletions {
		c.addPartitionsLocked(d.topic, 0)
		c.resumeLocked(d)
	}
	return nil
}

func (c *Catalog) setStraysAsideLocked(names []string) error {
	moved := false
	for _, name := range names {
		topic, index, ok := parsePartitionDir(name)
		if !ok || c.ownedLocked(topic, index) || !c.isDir(name) {
			continue
		}
		suffix := fmt.Sprintf(".%x%s", newID(), strayDirSuffix)
		aside := name[:min(len(name), fileNameBytesMax-len(suffix))] + suffix
		if err := c.o.FS.Rename(filepath.Join(c.o.Dir, name), filepath.Join(c.o.Dir, aside)); err != nil {
			return err
		}
		c.o.Logger.Warn("catalog: directory of no topic set aside", "dir", name, "now", aside)
		moved = true
	}
	if !moved {
		return nil
	}
	return c.o.FS.SyncDir(c.o.Dir)
}

func (c *Catalog) ownedLocked(topic string, index int32) bool {
	t := c.live.byName[topic]
	if t == nil && c.live.deletions[topic] != nil {
		t = c.live.deletions[topic].topic
	}
	if t == nil {
		return false
	}
	count := int32(0)
	for _, r := range t.ranges {
		count += r.count
	}
	return index < count
}

// KnownPartitions returns a function that says whether an internal number belongs to a topic, or to one whose deletion
// is not finished. What a store holds of any other number is left over from a deletion that a crash undid.
func (c *Catalog) KnownPartitions() func(num uint64) bool {
	c.live.RLock()
	defer c.live.RUnlock()
	var all []numRange
	for _, t := range c.live.byName {
		all = append(all, t.ranges...)
	}
	for _, d := range c.live.deletions {
		all = append(all, d.topic.ranges...)
	}
	slices.SortFunc(all, func(a, b numRange) int { return cmp.Compare(a.first, b.first) })
	return func(num uint64) bool {
		i, exact := slices.BinarySearchFunc(all, num, func(r numRange, n uint64) int { return cmp.Compare(r.first, n) })
		return exact || i > 0 && num < all[i-1].first+uint64(all[i-1].count)
	}
}

func (c *Catalog) isDir(name string) bool {
	info, err := c.o.FS.Stat(filepath.Join(c.o.Dir, name))
	return err == nil && info.Dir
}

// parsePartitionDir splits the name of a partition's directory. Directories that are set aside are none.
func parsePartitionDir(name string) (topic string, index int32, ok bool) {
	cut := strings.LastIndexByte(name, '-')
	if cut <= 0 || strings.HasSuffix(name, deletedDirSuffix) || strings.HasSuffix(name, strayDirSuffix) {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[cut+1:], 10, 31)
	if err != nil || ValidateTopicName(name[:cut]) != nil || strconv.FormatUint(n, 10) != name[cut+1:] {
		return "", 0, false
	}
	return name[:cut], int32(n), true
}
