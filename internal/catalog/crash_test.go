package catalog

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

const testDir = "data"

func openTest(fs disk.FS) (*Catalog, error) {
	return Open(Options{FS: fs, Dir: testDir, NodeID: 1, Metrics: metrics.New().Partitions, Static: []StaticConfig{
		{Name: "num.partitions", Value: "3", Default: "1", Explicit: true, Type: TypeInt},
		{Name: "max.connections", Value: "10", Default: "10", Type: TypeInt, Dynamic: true},
	}})
}

// model is the history as it was acknowledged, kept without any of the code under test.
type model struct {
	topics  map[string]int // name -> partitions
	configs map[string]string
	groups  map[string]string // consumer.session.timeout.ms
	broker  string            // max.connections of node 1
	run     int32
	pids    [][2]int64
}

func newModel() *model {
	return &model{topics: map[string]int{}, configs: map[string]string{}, groups: map[string]string{}}
}

func (m *model) clone() *model {
	return &model{maps.Clone(m.topics), maps.Clone(m.configs), maps.Clone(m.groups), m.broker, m.run, slices.Clone(m.pids)}
}

// of reads the same facts from a catalog.
func modelOf(c *Catalog) *model {
	m := newModel()
	for _, t := range c.Topics() {
		m.topics[t.Name] = t.PartitionCount()
		if v := t.Overrides()["retention.ms"]; v != "" {
			m.configs[t.Name] = v
		}
	}
	for _, r := range c.ConfigResources(ResourceGroup) {
		m.groups[r.Name] = c.GroupOverrides(r.Name)["consumer.session.timeout.ms"]
	}
	m.broker = c.brokers.Load().own["max.connections"]
	m.run = c.Run()
	return m
}

func (m *model) equal(o *model) bool {
	return maps.Equal(m.topics, o.topics) && maps.Equal(m.configs, o.configs) && maps.Equal(m.groups, o.groups) && m.broker == o.broker && m.run == o.run
}

// step is one operation on the catalog and what it means.
type step struct {
	name string
	do   func(c *Catalog, m *model) error // changes m as if it succeeded
}

func text(s string) *string { return &s }

func createStep(name string, partitions int32, retention string) step {
	return step{"create " + name, func(c *Catalog, m *model) error {
		m.topics[name] = int(partitions)
		spec := TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1}
		if retention != "" {
			m.configs[name] = retention
			spec.Configs = map[string]*string{"retention.ms": &retention}
		}
		_, err := c.CreateTopic(spec, false)
		return err
	}}
}

func deleteStep(name string) step {
	return step{"delete " + name, func(c *Catalog, m *model) error {
		delete(m.topics, name)
		delete(m.configs, name)
		return c.DeleteTopic(name)
	}}
}

func alterStep(typ ResourceType, resource, key, value string) step {
	return step{"alter " + resource, func(c *Catalog, m *model) error {
		switch typ {
		case ResourceTopic:
			m.configs[resource] = value
		case ResourceGroup:
			m.groups[resource] = value
		default:
			m.broker = value
		}
		return c.IncrementalAlterConfigs([]ResourceChange{{typ, resource, []ConfigChange{{key, OpSet, &value}}}}, false)[0]
	}}
}

func forgetGroupStep(name string) step {
	return step{"forget " + name, func(c *Catalog, m *model) error {
		delete(m.groups, name)
		return c.AlterConfigs([]ResourceChange{{ResourceGroup, name, nil}}, false)[0]
	}}
}

func growStep(name string, count int32) step {
	return step{"grow " + name, func(c *Catalog, m *model) error {
		m.topics[name] = int(count)
		return c.CreatePartitions(name, count, nil, false)
	}}
}

var (
	pidStep = step{"reserve ids", func(c *Catalog, m *model) error {
		start, end, err := c.ReserveProducerIDs(0, 1000, 7)
		if err == nil {
			m.pids = append(m.pids, [2]int64{start, end})
		}
		return err
	}}
	runStep     = step{"begin run", func(c *Catalog, m *model) error { m.run++; c.fresh = false; return c.BeginRun(false) }}
	compactStep = step{"compact", func(c *Catalog, m *model) error { return c.Compact() }}
)

func script() []step {
	return []step{
		createStep("a", 1, ""), pidStep, createStep("b", 3, "1000"), compactStep, growStep("a", 4), runStep,
		alterStep(ResourceTopic, "b", "retention.ms", "2000"), deleteStep("a"), pidStep, compactStep, pidStep,
		alterStep(ResourceGroup, "g", "consumer.session.timeout.ms", "50000"), alterStep(ResourceGroup, "h", "consumer.session.timeout.ms", "46000"),
		alterStep(ResourceBroker, "1", "max.connections", "20"), createStep("c", 2, "5"), forgetGroupStep("h"), compactStep,
		alterStep(ResourceGroup, "g", "consumer.session.timeout.ms", "51000"), deleteStep("b"), pidStep,
	}
}

// runScript returns the history as acknowledged and, where a step failed, as it would be had it succeeded.
func runScript(fs disk.FS, steps []step, stop func(error) bool) (acked, maybe *model, err error) {
	acked = newModel()
	maybe = acked
	c, err := openTest(fs)
	if err != nil {
		return acked, acked, err
	}
	for _, s := range steps {
		next := acked.clone()
		if err = s.do(c, next); err == nil {
			acked, maybe = next, next
			continue
		}
		maybe = next
		if stop(err) {
			return acked, maybe, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return acked, maybe, c.Close()
}

func checkAfterCrash(t *testing.T, where string, fs disk.FS, acked, maybe *model) {
	t.Helper()
	c, err := openTest(fs)
	if err != nil {
		t.Fatalf("%s: open after the crash: %v", where, err)
	}
	got := modelOf(c)
	if !got.equal(acked) && !got.equal(maybe) {
		t.Fatalf("%s: got %+v\nacknowledged %+v\nor %+v", where, got, acked, maybe)
	}
	checkNumbers(t, where, c)
	start, end, err := c.ReserveProducerIDs(0, 1000, 9)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for _, r := range acked.pids {
		if start < r[1] && r[0] < end {
			t.Fatalf("%s: ids [%d, %d) reserved twice, before as %v", where, start, end, r)
		}
	}
	if _, err := c.CreateTopic(TopicSpec{Name: "after", Partitions: 2, ReplicationFactor: 1}, false); err != nil {
		t.Fatalf("%s: create after the crash: %v", where, err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	again, err := openTest(fs)
	if err != nil {
		t.Fatalf("%s: open again: %v", where, err)
	}
	if _, found := again.Topic("after"); !found {
		t.Fatalf("%s: the topic made after the crash is gone", where)
	}
}

// checkNumbers looks at the staged state: no internal number may be there twice, or be free to be given out again.
func checkNumbers(t *testing.T, where string, c *Catalog) {
	t.Helper()
	s := c.committer.write.staged
	seen := map[uint64]bool{}
	for _, all := range []map[[16]byte]*topicState{s.topics, s.deleting} {
		for _, topic := range all {
			for _, r := range topic.ranges {
				for i := range uint64(r.count) {
					if seen[r.first+i] || r.first+i >= s.nextNum {
						t.Fatalf("%s: internal number %d of %s is not unique below %d", where, r.first+i, topic.name, s.nextNum)
					}
					seen[r.first+i] = true
				}
			}
		}
	}
}

// TestCrashAtEveryOperation crashes at operation 0, 1, 2 ... until a run is untouched. Whatever the disk kept: every
// acknowledged step is there, the one under way as a whole or not at all.
func TestCrashAtEveryOperation(t *testing.T) {
	crashed := func(err error) bool { return errors.Is(err, disk.ErrCrashed) || errors.Is(err, ErrBroken) }
	for k := int64(0); ; k++ {
		mem := disk.NewMem()
		faults := disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})
		acked, maybe, err := runScript(disk.NewFaulty(mem, faults), script(), crashed)
		if !faults.Crashed() {
			if err != nil {
				t.Fatal(err)
			}
			if k < 40 {
				t.Fatalf("the script has only %d operations: the loop is broken", k)
			}
			break
		}
		for seed, keep := range []float64{0, 0.2, 0.5, 0.8, 1} {
			where := fmt.Sprintf("power loss at operation %d, seed %d", k, seed)
			checkAfterCrash(t, where, mem.CrashClone(keep, int64(seed)), acked, maybe)
		}
		checkAfterCrash(t, fmt.Sprintf("kill at operation %d", k), mem.KillClone(), acked, maybe)
	}
}

// TestCrashDuringRecovery crashes a second time while the first crash is being recovered from.
func TestCrashDuringRecovery(t *testing.T) {
	crashed := func(err error) bool { return errors.Is(err, disk.ErrCrashed) || errors.Is(err, ErrBroken) }
	for k := int64(5); k < 60; k += 3 {
		mem := disk.NewMem()
		acked, maybe, _ := runScript(disk.NewFaulty(mem, disk.NewFaults(disk.Fault{At: k, Kind: disk.FaultCrash})), script(), crashed)
		for j := int64(0); j < 6; j++ {
			first := mem.CrashClone(0.5, k)
			if c, err := openTest(disk.NewFaulty(first, disk.NewFaults(disk.Fault{At: j, Kind: disk.FaultCrash}))); err == nil {
				_ = c.Close()
			}
			checkAfterCrash(t, fmt.Sprintf("operation %d, again at %d", k, j), first.CrashClone(0.5, j), acked, maybe)
		}
	}
}

// TestErrorAtEveryOperation injects one error at each operation in turn: the step fails, or not, but never both; the
// catalog goes on, or is offline after a failed fsync; the next start agrees with what was acknowledged.
func TestErrorAtEveryOperation(t *testing.T) {
	for _, kind := range []disk.FaultKind{disk.FaultError, disk.FaultNoSpace, disk.FaultShortWrite} {
		for k := int64(0); ; k++ {
			mem := disk.NewMem()
			faults := disk.NewFaults(disk.Fault{At: k, Kind: kind})
			fs := disk.NewFaulty(mem, faults)
			c, err := openTest(fs)
			if err != nil {
				if c, err = openTest(fs); err != nil {
					t.Fatalf("open after an error at %d: %v", k, err)
				}
			}
			acked, unclear := newModel(), []*model{}
			for _, s := range script() {
				next := acked.clone()
				if s.do(c, next) == nil {
					acked = next
				} else {
					unclear = append(unclear, next)
				}
				if got := modelOf(c); !got.equal(acked) {
					t.Fatalf("error at %d, kind %d: after %s the catalog shows %+v, acknowledged %+v", k, kind, s.name, got, acked)
				}
			}
			_ = c.Close()
			again, err := openTest(mem)
			if err != nil {
				t.Fatalf("error at %d: %v", k, err)
			}
			// What failed by fsync may be there after all; everything later failed with it.
			if got := modelOf(again); !got.equal(acked) && (len(unclear) == 0 || !got.equal(unclear[0])) {
				t.Fatalf("error at %d, kind %d: after the restart %+v, acknowledged %+v", k, kind, got, acked)
			}
			checkNumbers(t, "restart", again)
			if faults.Fired() == 0 {
				break
			}
		}
	}
}

// TestFailedWriteIsForgotten: a full disk refuses a topic and the next one, when there is space again, is made.
func TestFailedWriteIsForgotten(t *testing.T) {
	mem := disk.NewMem()
	faults := disk.NewFaults()
	c, err := openTest(disk.NewFaulty(mem, faults))
	if err != nil {
		t.Fatal(err)
	}
	faults.Add(disk.Fault{Kind: disk.FaultShortWrite, Ops: disk.OpWrite})
	faults.Add(disk.Fault{Kind: disk.FaultError, Ops: disk.OpTruncate}) // not even the cut works
	if _, err := c.CreateTopic(TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: 1}, false); err == nil {
		t.Fatal("a topic was made on a full disk")
	}
	if _, found := c.Topic("x"); found {
		t.Fatal("a topic that could not be written is visible")
	}
	for _, name := range []string{"x", "y"} {
		if _, err := c.CreateTopic(TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}, false); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openTest(mem.CrashClone(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.Topics()); n != 2 {
		t.Fatalf("got %d topics, want 2", n)
	}
}

// TestCanary breaks the order "durable first" on purpose: a catalog that answers before the fsync must be caught by
// the same check that the loop above makes.
func TestCanary(t *testing.T) {
	caught := false
	for seed := range int64(20) {
		mem := disk.NewMem()
		c, err := openTest(mem)
		if err != nil {
			t.Fatal(err)
		}
		j := c.committer.write.journal
		x := change{kind: kindTopicCreated, name: "lost", id: newID(), num: 1, count: 1}
		b := appendFrame(nil, j.revision+1, flagAppend, x.encode(nil))
		if _, err := j.f.WriteAt(b, j.size); err != nil { // written, "acknowledged", never synced
			t.Fatal(err)
		}
		acked := newModel()
		acked.topics["lost"] = 1
		again, err := openTest(mem.CrashClone(0.5, seed))
		if err != nil {
			t.Fatal(err)
		}
		caught = caught || !modelOf(again).equal(acked)
	}
	if !caught {
		t.Fatal("a lost acknowledgement was not noticed: the machinery sleeps")
	}
}

func TestModelReadsEverything(t *testing.T) {
	mem := disk.NewMem()
	acked, _, err := runScript(mem, script(), func(error) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	want := &model{topics: map[string]int{"c": 2}, configs: map[string]string{"c": "5"}, groups: map[string]string{"g": "51000"}, broker: "20", run: 1, pids: acked.pids}
	if !reflect.DeepEqual(acked, want) || len(acked.pids) != 4 {
		t.Fatalf("got %+v", acked)
	}
	v, err := Inspect(mem, testDir)
	if err != nil || len(v.Topics) != 1 || len(v.Deleting) != 2 || v.NextNum != 10 || len(v.Groups) != 1 || v.Groups["g"]["consumer.session.timeout.ms"] != "51000" {
		t.Fatalf("got %+v, %v", v, err)
	}
	var dump strings.Builder
	if err := Dump(mem, testDir+"/"+JournalName, &dump); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"identity cluster=" + v.ClusterID, "topic-created topic=c", `retention.ms="5"`, "broker-config", "topic-deleted", `group-config group="g" consumer.session.timeout.ms="51000"`} {
		if !strings.Contains(dump.String(), want) {
			t.Errorf("the dump lacks %q:\n%s", want, dump.String())
		}
	}
}
