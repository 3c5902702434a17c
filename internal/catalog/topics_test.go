package catalog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ottla/internal/batch"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
)

// TestCreateRefusals compares kinds and messages with what Apache Kafka 4.3.1 answered.
func TestCreateRefusals(t *testing.T) {
	c := mustOpen(t)
	for _, name := range []string{"t1", "a.b"} {
		if _, err := c.CreateTopic(TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
	}
	plain := func(name string, partitions int32, rf int16) TopicSpec {
		return TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: rf}
	}
	manual := func(brokers ...[]int32) TopicSpec {
		s := plain("m", -1, -1)
		for i, b := range brokers {
			s.Assignments = append(s.Assignments, Assignment{int32(i), b})
		}
		return s
	}
	mixed := func(partitions int32, rf int16) TopicSpec {
		s := manual([]int32{1})
		s.Partitions, s.ReplicationFactor = partitions, rf
		return s
	}
	gap := manual([]int32{1}, []int32{1})
	gap.Assignments[1].Partition = 2
	twice := manual([]int32{1}, []int32{1})
	twice.Assignments[1].Partition = 0
	null := plain("n", 1, 1)
	null.Configs = map[string]*string{"retention.ms": nil}
	long := strings.Repeat("x", 250)
	for _, x := range []struct {
		spec    TopicSpec
		kind    error
		message string
	}{
		{plain("", 1, 1), ErrInvalidTopicName, "Topic name is invalid: the empty string is not allowed"},
		{plain(".", 1, 1), ErrInvalidTopicName, "Topic name is invalid: '.' is not allowed"},
		{plain("..", 1, 1), ErrInvalidTopicName, "Topic name is invalid: '..' is not allowed"},
		{plain("a b", 1, 1), ErrInvalidTopicName, "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{plain("ä", 1, 1), ErrInvalidTopicName, "Topic name is invalid: 'ä' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{plain(long, 1, 1), ErrInvalidTopicName, "Topic name is invalid: the length of '" + long + "' is longer than the max allowed length 249"},
		{plain(long[:249], 1, 1), nil, ""},
		{plain("__cluster_metadata", 1, 1), ErrInvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."},
		{plain("__consumer_offsets", 1, 1), nil, ""},
		{plain("a_b", 1, 1), ErrInvalidTopicName, "Topic 'a_b' collides with existing topic: a.b"},
		{plain("t1", 1, 1), ErrTopicExists, "Topic 't1' already exists."},
		{plain("p", 0, 1), ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{plain("p", 10_000, 1), nil, ""},
		{plain("p", 10_001, 1), ErrPolicyViolation, "Excessively large number of partitions per request."},
		{plain("p", 1, -1), nil, ""},
		{plain("p", 0, -2), ErrInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		{plain("p", 1, 2), ErrInvalidReplicationFactor, "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered."},
		{manual([]int32{1}, []int32{1}), nil, ""},
		{gap, ErrInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"},
		{twice, ErrInvalidReplicaAssignment, "Found multiple manual partition assignments for partition 0"},
		{manual([]int32{}), ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{manual([]int32{7}), ErrInvalidReplicaAssignment, "The manual partition assignment includes broker 7, but no such broker is registered."},
		{manual([]int32{1, 1}), ErrInvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{mixed(1, -1), ErrInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."},
		{mixed(-1, 1), ErrInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."},
		{null, ErrInvalidConfig, "Null value not supported for topic configs: retention.ms"},
	} {
		_, err := c.CreateTopic(x.spec, true)
		if (x.kind == nil) != (err == nil) || x.kind != nil && (!errors.Is(err, x.kind) || err.Error() != x.message) {
			t.Errorf("%+v: got %v\nwant %v %q", x.spec, err, x.kind, x.message)
		}
	}
	if n := len(c.Topics()); n != 2 {
		t.Errorf("validating made topics: %d", n)
	}
}

func TestCreateTopicsTogether(t *testing.T) {
	c := mustOpen(t)
	spec := func(name string, n int32) TopicSpec {
		return TopicSpec{Name: name, Partitions: n, ReplicationFactor: 1}
	}
	out := c.CreateTopics([]TopicSpec{spec("x.y", 2), spec("x_y", 1), spec("", 1), spec("z", -1)}, false)
	if out[0].Err != nil || !errors.Is(out[1].Err, ErrInvalidTopicName) || !errors.Is(out[2].Err, ErrInvalidTopicName) || out[3].Err != nil {
		t.Fatalf("got %+v", out)
	}
	if out[3].Partitions != 3 || out[3].Topic.PartitionCount() != 3 || entry(t, out[3].Config, "segment.bytes").Value != "1073741824" {
		t.Fatalf("num.partitions is not in force: %+v", out[3])
	}
	for _, o := range c.CreateTopics([]TopicSpec{spec("p", 6000), spec("q", 6000)}, true) {
		if !errors.Is(o.Err, ErrPolicyViolation) {
			t.Errorf("got %v", o.Err)
		}
	}
	if t1, t2 := out[0].Topic, out[3].Topic; t1.ID == t2.ID || t1.ID[6]>>4 != 4 {
		t.Errorf("ids %x, %x", t1.ID, t2.ID)
	}
}

func TestPartitionLimit(t *testing.T) {
	c := mustOpen(t)
	for i := range PartitionsMax / PartitionsPerRequestMax {
		if _, err := c.CreateTopic(TopicSpec{Name: fmt.Sprint("t", i), Partitions: PartitionsPerRequestMax, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateTopic(TopicSpec{Name: "more", Partitions: 1, ReplicationFactor: 1}, false); !errors.Is(err, ErrPolicyViolation) {
		t.Errorf("got %v", err)
	}
	if err := c.CreatePartitions("t0", PartitionsPerRequestMax+1, nil, false); !errors.Is(err, ErrPolicyViolation) {
		t.Errorf("got %v", err)
	}
}

func TestCreatePartitionsRefusals(t *testing.T) {
	c := mustOpen(t)
	if _, err := c.CreateTopic(TopicSpec{Name: "t1", Partitions: 3, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	to := func(brokers ...[]int32) []Assignment {
		out := []Assignment{}
		for _, b := range brokers {
			out = append(out, Assignment{Brokers: b})
		}
		return out
	}
	for _, x := range []struct {
		name    string
		count   int32
		assign  []Assignment
		kind    error
		message string
	}{
		{"t1", 3, nil, ErrInvalidPartitions, "Topic already has 3 partition(s)."},
		{"t1", 2, nil, ErrInvalidPartitions, "The topic t1 currently has 3 partition(s); 2 would not be an increase."},
		{"t1", -1, nil, ErrInvalidPartitions, "The topic t1 currently has 3 partition(s); -1 would not be an increase."},
		{"nope", 3, nil, ErrUnknownTopic, ErrUnknownTopic.Error()},
		{"t1", 5, nil, nil, ""},
		{"t1", 20_000, nil, ErrPolicyViolation, "Excessively large number of partitions per request."},
		{"t1", 5, to([]int32{1}), ErrInvalidReplicaAssignment, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		{"t1", 4, to([]int32{1}), nil, ""},
		{"t1", 4, to([]int32{9}), ErrInvalidReplicaAssignment, "The manual partition assignment includes broker 9, but no such broker is registered."},
		{"t1", 4, to([]int32{}), ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{"t1", 4, to([]int32{1, 1}), ErrInvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
	} {
		err := c.CreatePartitions(x.name, x.count, x.assign, true)
		if (x.kind == nil) != (err == nil) || x.kind != nil && (!errors.Is(err, x.kind) || err.Error() != x.message) {
			t.Errorf("%s to %d, %v: got %v\nwant %v %q", x.name, x.count, x.assign, err, x.kind, x.message)
		}
	}
}

// node is a catalog with the stores that its partitions live in.
type node struct {
	t    *testing.T
	c    *Catalog
	logs *seglog.Store
	cold *coldstate.Store
	pids *pidstore.Store
}

func startNode(t *testing.T, fs disk.FS) *node {
	t.Helper()
	n, m := &node{t: t}, metrics.New()
	var err error
	if n.c, err = openTest(fs); err != nil {
		t.Fatal(err)
	}
	if err = fs.MkdirAll(testDir + "/cold"); err != nil {
		t.Fatal(err)
	}
	n.cold, err = coldstate.Open(coldstate.Options{FS: fs, Dir: testDir + "/cold", MemoryBytes: 4 << 20, Metrics: m.Cold})
	if err != nil {
		t.Fatal(err)
	}
	n.logs, err = seglog.OpenStore(seglog.Options{FS: fs, Dir: testDir, FreeBytesMin: -1, JournalBytes: 64 << 10, Metrics: m.Log})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pidstore.NewIDs(n.c, m.Producers)
	if err != nil {
		t.Fatal(err)
	}
	n.pids, err = pidstore.Open(pidstore.Options{Cold: n.cold, MemoryBytes: 4 << 20, ExpirationMillis: 86_400_000, IDs: ids,
		SyncLog: func(uint64) {}, Metrics: m.Producers})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.c.Attach(n.logs, n.pids, true); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) stop() {
	n.t.Helper()
	for _, f := range []func() error{n.c.Close, n.logs.Close, n.pids.Close, n.cold.Close} {
		if err := f(); err != nil {
			n.t.Error(err)
		}
	}
}

func (n *node) create(name string, partitions int32) *Topic {
	n.t.Helper()
	topic, err := n.c.CreateTopic(TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1}, false)
	if err != nil {
		n.t.Fatal(err)
	}
	return topic
}

func (n *node) append(p *partition.Partition) int64 {
	n.t.Helper()
	h := batch.Header{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, RecordCount: 1}
	now := time.Now()
	h.BaseTimestamp, h.MaxTimestamp = now.UnixMilli(), now.UnixMilli()
	raw, err := batch.Build(nil, h, batch.CodecNone, []batch.Record{{Timestamp: now.UnixMilli(), Value: []byte("v")}})
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := batch.Parse(raw)
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := p.Append(context.Background(), b, partition.AcksAll, now)
	if err != nil {
		n.t.Fatal(err)
	}
	<-out.Ticket.Done()
	if err := out.Ticket.Err(); err != nil {
		n.t.Fatal(err)
	}
	return out.BaseOffset
}

// TestRecreatedTopic is case 27 from the catalog's side: a topic of the same name has a new id, new internal numbers,
// an empty log, and nothing of the old one is left on the disk.
func TestRecreatedTopic(t *testing.T) {
	mem := disk.NewMem()
	n := startNode(t, mem)
	seen := map[uint64]bool{}
	var last [16]byte
	for range 5 {
		topic := n.create("orders", 2)
		if topic.ID == last {
			t.Fatal("the topic id repeats")
		}
		last = topic.ID
		for _, p := range topic.Partitions {
			if seen[p.Num()] {
				t.Fatalf("internal number %d repeats", p.Num())
			}
			seen[p.Num()] = true
			if offset := n.append(p); offset != 0 {
				t.Fatalf("a new topic starts at offset %d", offset)
			}
		}
		if err := n.c.DeleteTopic("orders"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.c.Partition("orders", 0); !errors.Is(err, ErrUnknownTopic) {
			t.Fatalf("got %v", err)
		}
	}
	if err := n.c.awaitDeletion("orders"); err != nil {
		t.Fatal(err)
	}
	n.stop()
	v, err := Inspect(mem, testDir)
	if err != nil || len(v.Topics) != 0 || len(v.Deleting) != 0 {
		t.Fatalf("got %+v, %v", v, err)
	}
	names, err := mem.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, _, ok := parsePartitionDir(name); ok {
			t.Errorf("%s is left", name)
		}
	}
}

// TestDeletionSurvivesCrash crashes at every operation of creating, filling, deleting and recreating a topic: after
// the next start there are no directories but those of the topics that are there.
func TestDeletionSurvivesCrash(t *testing.T) {
	for k := int64(0); k < 200; k += 7 {
		mem := disk.NewMem()
		n := startNode(t, mem)
		n.append(n.create("a", 2).Partitions[0])
		n.append(n.create("b", 1).Partitions[0])
		n.stop()

		faults := disk.NewFaults()
		n = startNode(t, disk.NewFaulty(mem, faults))
		faults.Add(disk.Fault{At: k, Kind: disk.FaultCrash})
		deleted := n.c.DeleteTopic("a") == nil
		_, err := n.c.CreateTopic(TopicSpec{Name: "a", Partitions: 3, ReplicationFactor: 1}, false)
		recreated := err == nil
		for _, f := range []func() error{n.c.Close, n.logs.Close, n.pids.Close, n.cold.Close} {
			_ = f()
		}
		crashed := faults.Crashed()
		for seed := range int64(3) {
			after := mem.CrashClone(0.5, seed)
			n := startNode(t, after)
			topic, found := n.c.Topic("a")
			switch {
			case recreated && (!found || len(topic.Partitions) != 3):
				t.Fatalf("operation %d: the new topic is gone", k)
			case deleted && found && len(topic.Partitions) != 3:
				t.Fatalf("operation %d: the old topic is back", k)
			}
			if err := n.c.awaitDeletion("a"); err != nil {
				t.Fatalf("operation %d: %v", k, err)
			}
			if found && len(topic.Partitions) == 3 {
				for _, p := range topic.Partitions {
					if offset := n.append(p); offset != 0 {
						t.Fatalf("operation %d: the new topic has offset %d of the old one", k, offset)
					}
				}
			}
			b, _ := n.c.Topic("b")
			if offset := n.append(b.Partitions[0]); offset != 1 {
				t.Fatalf("operation %d: another topic lost its data: offset %d", k, offset)
			}
			n.stop()
			checkDirectories(t, k, after)
		}
		if !crashed {
			if k < 14 {
				t.Fatalf("the script has only %d operations: the loop is broken", k)
			}
			return
		}
	}
}

func checkDirectories(t *testing.T, k int64, fs disk.FS) {
	t.Helper()
	v, err := Inspect(fs, testDir)
	if err != nil {
		t.Fatal(err)
	}
	owned := map[string]bool{}
	for _, topic := range v.Topics {
		for _, p := range topic.Partitions {
			owned[p.Dir] = true
		}
	}
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, _, ok := parsePartitionDir(name); ok && !owned[name] || strings.HasSuffix(name, strayDirSuffix) {
			t.Fatalf("operation %d: orphan %s", k, name)
		}
	}
}

// TestStrayDirectories: what the catalog does not know it does not remove, and a new topic does not find it.
func TestStrayDirectories(t *testing.T) {
	mem := disk.NewMem()
	n := startNode(t, mem)
	n.append(n.create("orders", 1).Partitions[0])
	backup := mem.KillClone()
	n.append(n.create("later", 1).Partitions[0])
	if err := n.c.CreatePartitions("orders", 2, nil, false); err != nil {
		t.Fatal(err)
	}
	orders, _ := n.c.Topic("orders")
	n.append(orders.Partitions[1])
	n.stop()

	old, err := disk.ReadFile(backup, filepath.Join(testDir, JournalName), journalBytesMax)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFileAtomic(mem, filepath.Join(testDir, JournalName), old); err != nil {
		t.Fatal(err)
	}
	n = startNode(t, mem)
	defer n.stop()
	names, err := mem.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	strays := 0
	for _, name := range names {
		if strings.HasSuffix(name, strayDirSuffix) {
			strays++
			files, err := mem.List(filepath.Join(testDir, name))
			if err != nil || len(files) == 0 {
				t.Errorf("%s is empty: %v", name, err)
			}
		}
	}
	if strays != 2 {
		t.Errorf("got %d strays, want 2 of %v", strays, names)
	}
	if offset := n.append(n.create("later", 1).Partitions[0]); offset != 0 {
		t.Errorf("the new topic has offset %d", offset)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	for name, foreign := range map[string]bool{
		"__cluster_metadata-0": true, "go.mod": true, "producers": true, // the last: our own, whose catalog was lost
		"lost+found": false, ".lock": false, "meta.properties": false, "bootstrap.checkpoint": false, JournalName + ".tmp": false,
	} {
		mem := disk.NewMem()
		if err := errors.Join(mem.MkdirAll(testDir), disk.WriteFileAtomic(mem, filepath.Join(testDir, name), nil)); err != nil {
			t.Fatal(err)
		}
		c, err := openTest(mem)
		if !foreign {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if err := c.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, ErrForeignDirectory) {
			t.Errorf("%s: got %v", name, err)
		}
		if names, err := mem.List(testDir); err != nil || len(names) != 1 {
			t.Errorf("%s: something was written into the directory: %v, %v", name, names, err)
		}
	}
}

func TestIdentity(t *testing.T) {
	mem := disk.NewMem()
	c, err := openTest(mem)
	if err != nil {
		t.Fatal(err)
	}
	id := c.ClusterID()
	if len(id) != 22 {
		t.Fatalf("cluster id %q", id)
	}
	meta, err := disk.ReadFile(mem, filepath.Join(testDir, metaPropertiesName), 4096)
	if err != nil || !strings.Contains(string(meta), "\ncluster.id="+id+"\n") || !strings.Contains(string(meta), "version=1") {
		t.Fatalf("got %s, %v", meta, err)
	}
	if err := mem.Remove(filepath.Join(testDir, metaPropertiesName)); err != nil {
		t.Fatal(err)
	}
	if c, err = openTest(mem.CrashClone(0, 1)); err != nil || c.ClusterID() != id {
		t.Fatalf("got %q, want %q: %v", c.ClusterID(), id, err)
	}

	formatted := disk.NewMem()
	if err := errors.Join(formatted.MkdirAll(testDir), disk.WriteFileAtomic(formatted, filepath.Join(testDir, metaPropertiesName),
		[]byte("#\nversion=1\ncluster.id=CWt2OssGR2m_LDcvCgNVMA\nnode.id=1\n"))); err != nil {
		t.Fatal(err)
	}
	if c, err = openTest(formatted); err != nil || c.ClusterID() != "CWt2OssGR2m_LDcvCgNVMA" {
		t.Fatalf("a directory that was formatted has its id replaced: %v, %v", c.ClusterID(), err)
	}
}

func TestRun(t *testing.T) {
	mem := disk.NewMem()
	for i, x := range []struct {
		clean bool
		want  int32
	}{{false, 0}, {true, 0}, {false, 1}, {false, 2}, {true, 2}} {
		c, err := openTest(mem)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.BeginRun(x.clean); err != nil || c.Run() != x.want {
			t.Fatalf("start %d: run %d, want %d, %v", i, c.Run(), x.want, err)
		}
		mem = mem.CrashClone(0, int64(i))
	}
}

// holdFS lets the fsyncs of files wait, to see what gathers behind them.
type holdFS struct {
	disk.FS
	hold  chan struct{} // receives once for every fsync, before it
	syncs chan struct{}
}

type holdFile struct {
	disk.File
	fs *holdFS
}

func (h *holdFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	f, err := h.FS.OpenReadWrite(name, create)
	return &holdFile{f, h}, err
}

func (f *holdFile) Sync() error {
	f.fs.syncs <- struct{}{}
	<-f.fs.hold
	return f.File.Sync()
}

// TestGroupCommit: what arrives during an fsync shares the next one.
func TestGroupCommit(t *testing.T) {
	mem := disk.NewMem()
	if c, err := openTest(mem); err != nil || c.Close() != nil {
		t.Fatal(err)
	}
	h := &holdFS{FS: mem, hold: make(chan struct{}, 1000), syncs: make(chan struct{}, 1000)}
	h.hold <- struct{}{} // the one of Open
	c, err := openTest(h)
	if err != nil {
		t.Fatal(err)
	}
	<-h.syncs
	var all sync.WaitGroup
	create := func(i int) {
		all.Go(func() {
			if _, err := c.CreateTopic(TopicSpec{Name: fmt.Sprint("t", i), Partitions: 1, ReplicationFactor: 1}, false); err != nil {
				t.Error(err)
			}
		})
	}
	create(0)
	<-h.syncs // the first one is waiting for its fsync
	for i := range 100 {
		create(i + 1)
	}
	for queued := 0; queued < 100; runtime.Gosched() {
		c.committer.queue.Lock()
		queued = len(c.committer.queue.pending)
		c.committer.queue.Unlock()
	}
	if len(c.Topics()) != 0 {
		t.Error("a topic is visible before it is durable")
	}
	close(h.hold)
	all.Wait()
	if n := len(h.syncs); n != 1 || len(c.Topics()) != 101 {
		t.Errorf("100 topics took %d fsyncs", n)
	}
}

func TestKnownPartitions(t *testing.T) {
	c := mustOpen(t)
	for _, name := range []string{"a", "b", "c"} {
		if _, err := c.CreateTopic(TopicSpec{Name: name, Partitions: 3, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(c.DeleteTopic("b"), c.committer.propose(func(x *tx) error {
		for id := range x.deleting {
			x.add(change{kind: kindTopicPurged, id: id})
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	known := c.KnownPartitions()
	for num := range uint64(12) {
		if want := num >= 1 && num <= 9 && (num < 4 || num > 6); known(num) != want {
			t.Errorf("number %d: got %v", num, known(num))
		}
	}
}

func TestParsePartitionDir(t *testing.T) {
	for name, want := range map[string]string{
		"a-0": "a 0", "a-b-12": "a-b 12", "a": "", "-1": "", "a-01": "", "a-x": "", "a-": "", "a--1": "a- 1",
		"a-0.0123456789abcdef-delete": "", "a-0.ff-stray": "", "a-99999999999": "", "a b-0": "", "producers": "",
	} {
		got := ""
		if topic, index, ok := parsePartitionDir(name); ok {
			got = fmt.Sprint(topic, " ", index)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// TestManyDeletions: a thousand topics deleted in one step are all gone in the end, and a close in between leaves the
// rest to the next start.
func TestManyDeletions(t *testing.T) {
	mem := disk.NewMem()
	n := startNode(t, mem)
	specs := make([]TopicSpec, 1000)
	for i := range specs {
		specs[i] = TopicSpec{Name: fmt.Sprint("t", i), Partitions: 1, ReplicationFactor: 1}
	}
	var ids [][16]byte
	for _, out := range n.c.CreateTopics(specs, false) {
		ids = append(ids, out.ID)
	}
	n.append(n.c.Topics()[7].Partitions[0])
	for i, err := range n.c.DeleteTopics(append(ids, [16]byte{1})) {
		if (err != nil) != (i == len(ids)) {
			t.Fatalf("topic %d: %v", i, err)
		}
	}
	n.stop()
	n = startNode(t, mem)
	for _, s := range specs {
		if err := n.c.awaitDeletion(s.Name); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()
	if v, err := Inspect(mem, testDir); err != nil || len(v.Topics)+len(v.Deleting) != 0 {
		t.Fatalf("got %d topics, %d deletions, %v", len(v.Topics), len(v.Deleting), err)
	}
}
