// Package catalog owns what a broker knows about itself and its topics: cluster id, run number, topics with their ids
// and partitions, topic, broker and group configuration, and which producer ids are used up.
//
// All of it is durable in one journal (see journal) and changes in atomic steps with revisions. The package also
// holds the live partitions of every topic and puts changed settings in force. It must not know requests, error
// codes, connections, or how a partition stores its records.
package catalog

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

// Limits of a catalog.
const (
	// PartitionsPerRequestMax is Kafka's bound on what one request may create.
	PartitionsPerRequestMax = 10_000
	// PartitionsMax bounds the partitions of all topics.
	PartitionsMax = 200_000
	// partitionsHardMax is what a journal may say without being called corrupt.
	partitionsHardMax = 1 << 24
	// loadsMax is how many partitions are recovered at the same time: the rebuild of a lost store reads the disk
	// sequentially.
	loadsMax = 2
)

// Options say where a catalog is and what it inherits from the process.
type Options struct {
	FS     disk.FS
	Dir    string
	NodeID int32
	// Static are the broker's configuration keys as the process was started with them.
	Static  []StaticConfig
	Metrics *metrics.Partitions
	Logger  *slog.Logger
	// OnBrokerConfig hears of every dynamic broker key, other than the defaults of topic keys, whose value in force
	// changed. It must not call the catalog. Nil: nobody listens.
	OnBrokerConfig func(name, value string)
}

// Catalog is the one catalog of a data directory. All methods are safe for concurrent use.
type Catalog struct {
	o         Options
	fresh     bool // the directory was empty: there is no run to be cleaned up after
	clusterID string
	run       atomic.Int32
	static    map[string]StaticConfig
	committer committer
	marks     atomic.Pointer[[]pidstore.IssueMark]
	brokers   atomic.Pointer[brokerConfigs]
	issued    atomic.Pointer[func() int64]
	loads     chan struct{}
	purging   sync.WaitGroup
	closing   atomic.Bool
	numFloor  uint64 // nothing below is given out by this process
	pidFloor  int64

	live struct {
		sync.RWMutex
		byName    map[string]*Topic
		byID      map[[16]byte]*Topic
		sorted    []*Topic // by name; nil when stale
		deletions map[string]*deletion
		purges    []*deletion                    // waiting to be worked on
		purging   int                            // how many are
		shared    map[string]*partition.Settings // by overrides; emptied when broker configuration changes
		logs      *seglog.Store                  // nil before Attach
		producers *pidstore.Store
		unclean   bool
	}

	groups struct {
		sync.RWMutex
		configs map[string]map[string]string // group -> key -> value, what was set on the group itself; nothing is changed in place
	}
}

// Topic is one topic at one moment. It is immutable: a change makes a new one.
type Topic struct {
	Name       string
	ID         [16]byte
	Partitions []*partition.Partition // nil before Attach
	Internal   bool

	ranges    []numRange
	overrides map[string]string
	settings  *partition.Settings
}

// Open reads the catalog of a data directory, or makes a new one in an empty directory.
func Open(o Options) (*Catalog, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Catalog{o: o, static: map[string]StaticConfig{}, loads: make(chan struct{}, loadsMax)}
	for _, s := range o.Static {
		c.static[s.Name] = s
	}
	if err := c.checkStatic(); err != nil {
		return nil, err
	}
	j, s, err := openJournal(o.FS, o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		j, s, err = c.create()
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c.committer.write.journal, c.committer.write.staged = j, s
	c.committer.publish = c.publish
	c.committer.compactFailed = func(err error) { o.Logger.Warn("catalog: compaction failed, trying later", "err", err) }
	c.clusterID = formatID(s.clusterID)
	c.run.Store(s.run)
	c.storeMarks(s.marks)
	c.brokers.Store(c.brokerConfigsOf(s.brokers))
	c.groups.configs = maps.Clone(s.groups)
	c.setFloors(s)
	c.buildLive(s)
	if err := c.writeMetaProperties(s); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog: %w", err), c.committer.close())
	}
	return c, nil
}

// create makes the journal of a new data directory.
func (c *Catalog) create() (*journal, *state, error) {
	if err := c.o.FS.MkdirAll(c.o.Dir); err != nil {
		return nil, nil, err
	}
	names, err := c.o.FS.List(c.o.Dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if !mayBeInNewDirectory(name) {
			return nil, nil, fmt.Errorf("%w: %s holds %s but no %s", ErrForeignDirectory, c.o.Dir, name, JournalName)
		}
	}
	s := newState()
	s.clusterID, s.directoryID = c.storedClusterID(), newID()
	j, err := createJournal(c.o.FS, c.o.Dir, s)
	if err != nil {
		return nil, nil, err
	}
	// The directory may be as new as the journal in it.
	if err := c.o.FS.SyncDir(filepath.Dir(c.o.Dir)); err != nil {
		return nil, nil, errors.Join(err, j.close())
	}
	c.fresh = true
	return j, s, nil
}

// mayBeInNewDirectory says whether a name is no sign of somebody else's data, or of a catalog that was lost: what a first start
// leaves that did not get far, a directory that was formatted but never used, the root of a file system, hidden files.
func mayBeInNewDirectory(name string) bool {
	switch name {
	case journalTempName, metaPropertiesName, "bootstrap.checkpoint", "lost+found":
		return true
	}
	return strings.HasPrefix(name, ".")
}

func (c *Catalog) buildLive(s *state) {
	c.live.byName = make(map[string]*Topic, len(s.topics))
	c.live.byID = make(map[[16]byte]*Topic, len(s.topics))
	c.live.deletions = map[string]*deletion{}
	c.live.shared = map[string]*partition.Settings{}
	for _, t := range s.topics {
		c.putLocked(c.newTopicLocked(t.name, t.id, t.ranges, t.configs))
	}
	for _, t := range s.deleting {
		c.live.deletions[t.name] = &deletion{topic: c.newTopicLocked(t.name, t.id, t.ranges, nil)}
	}
}

func (c *Catalog) newTopicLocked(name string, id [16]byte, ranges []numRange, overrides map[string]string) *Topic {
	return &Topic{
		Name: name, ID: id, Internal: IsInternal(name),
		ranges: ranges, overrides: overrides, settings: c.settingsLocked(c.pinned(name, overrides)),
	}
}

func (c *Catalog) putLocked(t *Topic) {
	c.live.byName[t.Name], c.live.byID[t.ID] = t, t
	c.live.sorted = nil
}

// ClusterID returns the id of the cluster, as Kafka writes it: 22 characters.
func (c *Catalog) ClusterID() string { return c.clusterID }

// Run returns the run number, which serves as leader epoch of every partition.
func (c *Catalog) Run() int32 { return c.run.Load() }

// BeginRun raises the run number, durably, if the last run did not stop cleanly. The first run is number 0.
func (c *Catalog) BeginRun(clean bool) error {
	if clean || c.fresh {
		return nil
	}
	return c.committer.propose(func(t *tx) error {
		t.add(change{kind: kindRun, count: t.run + 1})
		return nil
	})
}

// Topic finds a topic by name.
func (c *Catalog) Topic(name string) (*Topic, bool) {
	c.live.RLock()
	defer c.live.RUnlock()
	t, found := c.live.byName[name]
	return t, found
}

// TopicByID finds a topic by its id.
func (c *Catalog) TopicByID(id [16]byte) (*Topic, bool) {
	c.live.RLock()
	defer c.live.RUnlock()
	t, found := c.live.byID[id]
	return t, found
}

// Topics returns all topics by name. The slice is shared and must not be changed.
func (c *Catalog) Topics() []*Topic {
	c.live.RLock()
	sorted := c.live.sorted
	c.live.RUnlock()
	if sorted != nil {
		return sorted
	}
	c.live.Lock()
	defer c.live.Unlock()
	if c.live.sorted == nil {
		all := make([]*Topic, 0, len(c.live.byName))
		for _, t := range c.live.byName {
			all = append(all, t)
		}
		slices.SortFunc(all, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
		c.live.sorted = all
	}
	return c.live.sorted
}

// Partition finds a partition.
func (c *Catalog) Partition(name string, index int32) (*partition.Partition, error) {
	t, found := c.Topic(name)
	if !found || index < 0 || int(index) >= len(t.Partitions) {
		return nil, ErrUnknownTopic
	}
	return t.Partitions[index], nil
}

// Compact rewrites the journal as a snapshot. It is done on its own when the journal has grown.
func (c *Catalog) Compact() error { return c.committer.compact() }

// Close waits for deletions under way, or leaves them to the next start, and closes the journal. The log store and
// the producer store must still be open.
func (c *Catalog) Close() error {
	c.live.Lock()
	c.closing.Store(true)
	c.live.Unlock()
	c.purging.Wait()
	return c.committer.close()
}

// newID returns a random UUID, version 4, that Kafka does not reserve and whose text does not begin with a dash.
func newID() (id [16]byte) {
	for {
		rand.Read(id[:])
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		if formatID(id)[0] != '-' {
			return id
		}
	}
}

// formatID is Kafka's text of a UUID.
func formatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func parseID(s string) (id [16]byte, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	copy(id[:], b)
	return id, id != [16]byte{}
}
