package catalog

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ottla/internal/disk"
	"ottla/internal/pidstore"
)

// View is what a journal says, for tools that look at a directory without using it.
type View struct {
	ClusterID, DirectoryID string
	Run                    int32
	Revision               uint64
	NextNum                uint64 // internal partition numbers below it are used up
	ProducerIDEnd          int64  // producer ids below it are used up
	IssueMarks             []pidstore.IssueMark
	Topics                 []TopicView                  // by name
	Deleting               []TopicView                  // deleted, but not yet removed
	Brokers                map[string]map[string]string // node id or "" for all -> key -> value
	Groups                 map[string]map[string]string // group -> key -> value
	SnapshotBytes          int64                        // of the journal, the start that a compaction wrote
	JournalBytes           int64
	TornBytes              int64 // an unfinished step behind the journal's end; the next start cuts it off
}

// TopicView is a topic of a View.
type TopicView struct {
	Name       string
	ID         [16]byte
	Configs    map[string]string
	Partitions []PartitionView
}

// PartitionView is a partition of a View.
type PartitionView struct {
	Dir        string
	Num        uint64
	CreatedPID int64
}

// Inspect reads the catalog of a data directory and changes nothing. The directory may be in use.
func Inspect(fs disk.FS, dir string) (*View, error) {
	l, err := loadJournal(fs, dir)
	if err != nil {
		return nil, err
	}
	s := l.state
	v := &View{
		ClusterID: formatID(s.clusterID), DirectoryID: formatID(s.directoryID), Run: s.run, Revision: l.revision,
		NextNum: s.nextNum, ProducerIDEnd: s.pidEnd, IssueMarks: s.marks, Brokers: s.brokers, Groups: s.groups,
		SnapshotBytes: l.snapshot, JournalBytes: l.size, TornBytes: l.torn,
		Topics: viewTopics(s.topics), Deleting: viewTopics(s.deleting),
	}
	return v, nil
}

func viewTopics(topics map[[16]byte]*topicState) []TopicView {
	var out []TopicView
	for _, t := range topics {
		v := TopicView{Name: t.name, ID: t.id, Configs: t.configs}
		for _, r := range t.ranges {
			for i := range r.count {
				dir := fmt.Sprintf("%s-%d", t.name, len(v.Partitions))
				v.Partitions = append(v.Partitions, PartitionView{dir, r.first + uint64(i), r.createdPID})
			}
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b TopicView) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Dump writes one line for every change in a journal, as far as it is whole.
func Dump(fs disk.FS, name string, w io.Writer) error {
	b, err := disk.ReadFile(fs, name, journalBytesMax)
	if err != nil {
		return err
	}
	l, err := walk(b, func(offset int64, f frame, c *change) error {
		from := "step"
		if f.flag == flagSnapshot {
			from = "snapshot"
		}
		_, err := fmt.Fprintf(w, "%d revision=%d %s %s%s\n", offset, f.revision, from, c.kind, c.text())
		return err
	})
	if err == nil && l.torn > 0 {
		_, err = fmt.Fprintf(w, "%d torn: %d bytes of an unfinished step\n", l.size, l.torn)
	}
	return err
}

func (c *change) text() string {
	var b strings.Builder
	switch c.kind {
	case kindIdentity:
		fmt.Fprintf(&b, " cluster=%s directory=%s", formatID(c.id), formatID(c.id2))
	case kindRun:
		fmt.Fprintf(&b, " run=%d", c.count)
	case kindCounters:
		fmt.Fprintf(&b, " next-num=%d", c.num)
	case kindTopicCreated:
		fmt.Fprintf(&b, " topic=%s id=%s partitions=%d nums=%d.. created-pid=%d", c.name, formatID(c.id), c.count, c.num, c.pid)
	case kindTopicDeleted, kindTopicPurged, kindTopicConfig:
		fmt.Fprintf(&b, " id=%s", formatID(c.id))
	case kindPartitionsAdded:
		fmt.Fprintf(&b, " id=%s partitions=%d nums=%d.. created-pid=%d", formatID(c.id), c.count, c.num, c.pid)
	case kindBrokerConfig:
		fmt.Fprintf(&b, " broker=%q", c.name)
	case kindGroupConfig:
		fmt.Fprintf(&b, " group=%q", c.name)
	case kindProducerBlock:
		fmt.Fprintf(&b, " pids=[%d,%d) age=%d", c.pid, c.end, c.age)
	case kindIssueMarks:
		for _, m := range c.marks {
			fmt.Fprintf(&b, " %d@%d", m.PID, m.Age)
		}
	}
	for _, s := range c.settings {
		if s.removed {
			fmt.Fprintf(&b, " -%s", s.key)
		} else {
			fmt.Fprintf(&b, " %s=%q", s.key, s.value)
		}
	}
	return b.String()
}

// Overrides returns the configuration that is set on the topic itself.
func (t *Topic) Overrides() map[string]string { return maps.Clone(t.overrides) }

// PartitionCount returns the number of partitions, also before Attach.
func (t *Topic) PartitionCount() int {
	n := 0
	for _, r := range t.ranges {
		n += int(r.count)
	}
	return n
}
