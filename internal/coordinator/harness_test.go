package coordinator

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/group"
	"ottla/internal/metrics"
	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

// blocks issues producer ids from memory; groups need none.
type blocks struct{ end int64 }

func (b *blocks) ReserveProducerIDs(atLeast, count int64, _ uint32) (start, end int64, err error) {
	start = max(b.end, atLeast, 1000)
	b.end = start + count
	return start, b.end, nil
}

func (b *blocks) IssueMarks() []pidstore.IssueMark { return nil }

// fakeTopics is a cluster with topics t0, t1 ... of four partitions.
type fakeTopics struct{}

func topicID(name string) (id [16]byte) { copy(id[:], name); return id }

func (fakeTopics) Topic(name string) (group.TopicInfo, bool) {
	return group.TopicInfo{Name: name, ID: topicID(name), Partitions: 4}, len(name) == 2 && name[0] == 't'
}

func (f fakeTopics) TopicByID(id [16]byte) (group.TopicInfo, bool) { return f.Topic(string(id[:2])) }

func (fakeTopics) Names(fn func(string) bool) {
	for _, name := range []string{"t0", "t1", "t2"} {
		if !fn(name) {
			return
		}
	}
}

func (fakeTopics) Revision() uint64 { return 1 }

// changedTopics is fakeTopics of which some were deleted, or made again with another id.
type changedTopics struct {
	fakeTopics
	mu struct {
		sync.Mutex
		ids map[string][16]byte // zero: deleted
	}
}

func (c *changedTopics) set(name string, id [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.ids == nil {
		c.mu.ids = map[string][16]byte{}
	}
	c.mu.ids[name] = id
}

func (c *changedTopics) Topic(name string) (group.TopicInfo, bool) {
	info, found := c.fakeTopics.Topic(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, changed := c.mu.ids[name]; changed {
		info.ID, found = id, found && id != [16]byte{}
	}
	return info, found
}

// deleteTopicNamed deletes a topic of the cluster as the broker does: first it is gone, then the coordinator is told.
func (w *world) deleteTopicNamed(name string, id [16]byte) {
	w.names.set(name, [16]byte{})
	w.c.TopicDeleted(name, id)
}

// world is a coordinator on real stores and a disk in memory.
type world struct {
	fs    disk.FS
	o     worldOptions
	m     *metrics.Metrics
	ids   *pidstore.IDs
	logs  *seglog.Store
	cold  *coldstate.Store // of producers
	pids  *pidstore.Store
	store *coldstate.Store       // of groups
	parts []*partition.Partition // written under topic
	topic *sync.RWMutex
	names *changedTopics // the cluster's topics
	c     *Coordinator
}

type worldOptions struct {
	partitions int
	unclean    bool
	limits     Limits
	retention  time.Duration
	check      time.Duration
	maxBytes   int32
	memory     int64
	noTopic    bool // at first
	dir        string
	compact    bool // small segments, and tombstones that may go at once
	config     *group.Config
	configOf   func(id string) *group.Config // nil: config, of every group
	lazy       bool                          // the log is not fsynced before a commit is acknowledged
}

const (
	worldDir    = "/d"
	storeDir    = worldDir + "/groups"
	retention   = time.Hour
	checkAfter  = 10 * time.Minute
	initialWait = 3 * time.Second
)

func groupConfig() *group.Config {
	return &group.Config{
		InitialRebalanceDelay: initialWait, SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, MembersMax: 1000,
		MetadataBytesMax: 1 << 20, ConsumerSessionTimeout: 45 * time.Second, ConsumerHeartbeatInterval: 5 * time.Second,
		ConsumerMembersMax: 1000, ConsumerAssignors: []string{"uniform", "range"}, MigrationPolicy: "bidirectional",
	}
}

// openWorld opens what is on the disk; what could be opened is closed with an error too.
func openWorld(fs disk.FS, o worldOptions) (w *world, err error) {
	w = &world{fs: fs, o: o, m: metrics.New(), topic: new(sync.RWMutex), names: new(changedTopics)}
	defer func() {
		if err != nil {
			_ = w.closeStores()
		}
	}()
	if w.o.partitions == 0 {
		w.o.partitions = 3
	}
	if w.o.retention == 0 {
		w.o.retention, w.o.check = retention, checkAfter
	}
	if w.o.maxBytes == 0 {
		w.o.maxBytes = 1 << 20
	}
	if w.o.memory == 0 {
		w.o.memory = coldstate.MemoryBytesMin
	}
	if w.o.dir == "" {
		w.o.dir = worldDir
	}
	if w.o.config == nil {
		w.o.config = config
	}
	if w.o.configOf == nil {
		w.o.configOf = always(w.o.config)
	}
	if w.logs, err = seglog.OpenStore(seglog.Options{FS: fs, Dir: w.o.dir, FreeBytesMin: -1, JournalBytes: 16 << 10, Metrics: w.m.Log}); err != nil {
		return w, err
	}
	shares := pidstore.Split(1 << 20)
	if w.cold, err = openCold(fs, filepath.Join(w.o.dir, "producers"), shares.ColdBytes, w.m.Cold); err != nil {
		return w, err
	}
	if w.ids, err = pidstore.NewIDs(&blocks{}, w.m.Producers); err != nil {
		return w, err
	}
	if w.pids, err = pidstore.Open(pidstore.Options{
		Cold: w.cold, MemoryBytes: shares.HotBytes + shares.OverlayBytes, ExpirationMillis: 86_400_000, IDs: w.ids,
		SyncLog: func(uint64) {}, Metrics: w.m.Producers,
	}); err != nil {
		return w, err
	}
	if w.store, err = openCold(fs, filepath.Join(w.o.dir, "groups"), w.o.memory, w.m.Groups.Cold); err != nil {
		return w, err
	}
	if !w.o.noTopic {
		w.newPartitions(1)
	}
	w.c = New(Options{
		Store: w.store, Partition: func(i int32) (*partition.Partition, error) {
			w.topic.RLock()
			defer w.topic.RUnlock()
			if int(i) >= len(w.parts) {
				return nil, ErrNoTopic
			}
			return w.parts[i], nil
		},
		Partitions:  w.count,
		EnsureTopic: func() error { w.newPartitions(20); return nil },
		Topics:      func() group.Topics { return w.names },
		Config:      w.o.configOf,
		Limits:      w.o.limits,
		Offsets:     OffsetsConfig{RetentionMillis: w.o.retention.Milliseconds(), RetentionCheckMillis: w.o.check.Milliseconds(), MetadataBytesMax: 4096},
		Metrics:     w.m.Groups,
	})
	w.c.Start()
	return w, nil
}

var config = groupConfig()

// always gives all groups one configuration.
func always(c *group.Config) func(string) *group.Config {
	return func(string) *group.Config { return c }
}

// openCold opens a cold store; a damaged one makes way for a new one, as the node does it.
func openCold(fs disk.FS, dir string, memory int64, m *metrics.Cold) (*coldstate.Store, error) {
	o := coldstate.Options{FS: fs, Dir: dir, MemoryBytes: memory, Metrics: m}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	s, err := coldstate.Open(o)
	if !errors.Is(err, coldstate.ErrCorrupt) {
		return s, err
	}
	if _, err := coldstate.MoveAside(fs, dir); err != nil {
		return nil, err
	}
	if err := fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	return coldstate.Open(o)
}

func (w *world) newPartitions(firstNum uint64) {
	config := seglog.DefaultConfig()
	config.RetentionMillis, config.SegmentBytes = -1, 1<<20
	if w.o.compact {
		config.SegmentBytes, config.Compact, config.DeleteRetentionMillis = 2000, true, 0
	}
	if w.o.lazy {
		config.FlushMessages = 1 << 40
	}
	w.topic.Lock()
	defer w.topic.Unlock()
	w.parts = nil
	for i := range w.o.partitions {
		w.parts = append(w.parts, partition.New(partition.Options{
			Topic: Topic, Index: int32(i), TopicID: topicID(Topic), Num: firstNum + uint64(i), Logs: w.logs, Producers: w.pids,
			Settings: &partition.Settings{Log: config, Rules: batch.Rules{
				MaxBytes: w.o.maxBytes, TimestampBeforeMax: -1, TimestampAfterMax: -1, CompressionType: "producer", DecompressedBytesMax: 1 << 20,
			}},
			Unclean: w.o.unclean, HoldTombstones: true, Metrics: w.m.Partitions,
		}))
	}
}

// count is how many partitions __consumer_offsets has.
func (w *world) count() int32 {
	w.topic.RLock()
	defer w.topic.RUnlock()
	return int32(len(w.parts))
}

// deleteTopic deletes __consumer_offsets.
func (w *world) deleteTopic(t *testing.T) {
	t.Helper()
	w.topic.Lock()
	defer w.topic.Unlock()
	for _, p := range w.parts {
		if err := p.Delete(); err != nil {
			t.Fatal(err)
		}
	}
	w.parts = nil
}

func (w *world) close() error {
	w.c.Close()
	return w.closeStores()
}

func (w *world) closeStores() error {
	var errs []error
	if w.logs != nil {
		errs = append(errs, w.logs.Close())
	}
	if w.pids != nil {
		errs = append(errs, w.pids.Close())
	}
	if w.ids != nil {
		w.ids.Close()
	}
	for _, s := range []*coldstate.Store{w.cold, w.store} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// inWorld runs fn in a bubble of its own with an open coordinator, all loaded.
func inWorld(t *testing.T, o worldOptions, fn func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := mustOpen(t, disk.NewMem(), o)
		fn(t, w)
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
	})
}

func mustOpen(t *testing.T, fs disk.FS, o worldOptions) *world {
	t.Helper()
	w, err := openWorld(fs, o)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return w
}

// reopened stops the coordinator cleanly and opens it again.
func (w *world) reopened(t *testing.T) *world {
	t.Helper()
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	return mustOpen(t, w.fs, w.o)
}

// commit is an OffsetCommit of one partition.
type commit struct {
	group, member string
	generation    int32
	version       int16
	topic         string
	partition     int32
	offset        int64
	metadata      string
	retention     int64
	id            [16]byte
}

func simple(group, topic string, partition int32, offset int64) commit {
	return commit{group: group, generation: -1, version: 9, topic: topic, partition: partition, offset: offset, retention: -1}
}

func (w *world) startCommit(m commit) (*Future, *kmsg.OffsetCommitResponse) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.RetentionTimeMillis = m.version, m.group, m.member, m.generation, m.retention
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = m.partition, m.offset, 7, &m.metadata
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = m.topic, []kmsg.OffsetCommitRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	rt := kmsg.NewOffsetCommitResponseTopic()
	rt.Topic, rt.Partitions = m.topic, []kmsg.OffsetCommitResponseTopicPartition{{Partition: m.partition}}
	resp.Topics = append(resp.Topics, rt)
	return w.c.CommitOffsets(Commit{Request: req, Response: resp, Partitions: []CommitPartition{{
		Topic: m.topic, TopicID: m.id, Request: &req.Topics[0].Partitions[0], Code: &resp.Topics[0].Partitions[0].ErrorCode,
	}}}, group.Client{}), resp
}

func (w *world) commit(m commit) int16 {
	f, resp := w.startCommit(m)
	if _, err := f.Wait(context.Background()); err != nil {
		panic(err)
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

func mustCommit(t *testing.T, w *world, m commit) {
	t.Helper()
	if code := w.commit(m); code != 0 {
		t.Fatalf("commit of %+v: code %d", m, code)
	}
}

// plenty is all the memory for answers there can be.
func plenty(int64) bool { return true }

// fetch returns the committed offset, -1 if there is none.
func (w *world) fetch(id, topic string, partition int32) (int64, int16) {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = id
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = topic, []int32{partition}
	req.Topics = append(req.Topics, t)
	g, err := w.c.FetchOffsets(context.Background(), &req, false, plenty)
	if err != nil {
		panic(err)
	}
	if g.ErrorCode != 0 {
		return -2, g.ErrorCode
	}
	return g.Topics[0].Partitions[0].Offset, 0
}

func wantOffset(t *testing.T, w *world, id, topic string, partition int32, want int64) {
	t.Helper()
	if got, code := w.fetch(id, topic, partition); got != want || code != 0 {
		t.Errorf("group %s, %s-%d: offset %d code %d, want %d", id, topic, partition, got, code, want)
	}
}

// ask sends a request and waits for the answer.
func ask[R kmsg.Response](w *world, id string, req kmsg.Request) R {
	r, err := w.c.Group(req, id, group.Client{ID: "client", Host: "/127.0.0.1"}).Wait(context.Background())
	if err != nil {
		panic(err)
	}
	return r.(R)
}

func joinRequest(id, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 9, id, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = "range"
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{"t0"}
	p.Metadata = meta.AppendTo(nil)
	req.Protocols = append(req.Protocols, p)
	return req
}

// join makes one member, alone in its group, and returns its id and generation.
func (w *world) join(id string) (member string, generation int32, code int16) {
	r := ask[*kmsg.JoinGroupResponse](w, id, joinRequest(id, ""))
	if r.ErrorCode != 79 { // MEMBER_ID_REQUIRED
		return "", 0, r.ErrorCode
	}
	r = ask[*kmsg.JoinGroupResponse](w, id, joinRequest(id, r.MemberID))
	if r.ErrorCode != 0 {
		return "", 0, r.ErrorCode
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.MemberID, sync.Generation = 5, id, r.MemberID, r.Generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = r.MemberID, []byte("assignment")
	sync.GroupAssignment = append(sync.GroupAssignment, a)
	s := ask[*kmsg.SyncGroupResponse](w, id, sync)
	return r.MemberID, r.Generation, s.ErrorCode
}

func mustJoin(t *testing.T, w *world, id string) (member string, generation int32) {
	t.Helper()
	member, generation, code := w.join(id)
	if code != 0 {
		t.Fatalf("join of %s: code %d", id, code)
	}
	return member, generation
}

func (w *world) heartbeat(id, member string, generation int32) int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, id, member, generation
	return ask[*kmsg.HeartbeatResponse](w, id, req).ErrorCode
}

func (w *world) leave(id, member string) int16 {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, id
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	req.Members = append(req.Members, m)
	r := ask[*kmsg.LeaveGroupResponse](w, id, req)
	if r.ErrorCode != 0 || len(r.Members) == 0 {
		return r.ErrorCode
	}
	return r.Members[0].ErrorCode
}

// listed returns state and type of all groups.
func (w *world) listed(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := w.c.List(t.Context(), nil, nil, func(l group.Listing) error {
		if _, twice := out[l.ID]; twice {
			t.Errorf("group %s is listed twice", l.ID)
		}
		out[l.ID] = l.State + " " + l.Type
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantNothingLive checks that no group is in memory and nothing is pending.
func wantNothingLive(t *testing.T, w *world) {
	t.Helper()
	synctest.Wait()
	u := &w.c.usage
	if live, members, parked, bytes := u.live.Load(), u.members.Load(), u.parked.Load(), u.pendingBytes.Load(); live+members+parked+bytes != 0 ||
		u.memberBytes.Load() != 0 {
		t.Errorf("in memory: %d groups, %d members with %d bytes, %d calls, %d bytes", live, members, u.memberBytes.Load(), parked, bytes)
	}
}

// slowDisk takes a second to make a log durable.
type slowDisk struct{ disk.FS }

type slowFile struct{ disk.File }

func slowLog(f disk.File, name string, err error) (disk.File, error) {
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return slowFile{f}, nil
}

func (d slowDisk) OpenReadWrite(name string, create bool) (disk.File, error) {
	f, err := d.FS.OpenReadWrite(name, create)
	return slowLog(f, name, err)
}

func (d slowDisk) Create(name string) (disk.File, error) {
	f, err := d.FS.Create(name)
	return slowLog(f, name, err)
}

func (f slowFile) Sync() error {
	<-time.After(time.Second)
	return f.File.Sync()
}

func newMem() *disk.Mem { return disk.NewMem() }
