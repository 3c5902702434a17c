package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/disk"
	"ottla/internal/pidstore"
	"ottla/internal/wire"
)

// A flight is a produce request that the broker has taken and may not have answered.
type flight struct {
	w     *world
	reply wire.Reply
}

// launch gives a request to the broker as a connection does: appends are made in the
// order of the launches, answers are waited for by land.
func (w *world) launch(topic string, acks int16, records []byte) flight {
	w.t.Helper()
	req := produceRequest(topic, acks, records)
	req.SetVersion(9)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return flight{w, w.b.handler().Handle(ctx, &wire.Request{
		Key: req.Key(), Version: 9, Body: req, ClientID: "sim", Session: &wire.Session{ID: 1}, Received: time.Now(),
	})}
}

// answered says whether the answer is there.
func (f flight) answered() bool {
	p, ok := f.reply.(wire.Poller)
	return ok && p.Done()
}

// outcome is what the broker said of a batch.
type outcome struct {
	code                  int16
	offset, logAppendTime int64
}

func (f flight) land() (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := f.reply.Wait(ctx)
	if err != nil || resp == nil {
		return outcome{}, err
	}
	r := kmsg.NewPtrProduceResponse()
	r.SetVersion(9)
	if err := r.ReadFrom(resp.AppendTo(nil)); err != nil {
		return outcome{}, err
	}
	p := r.Topics[0].Partitions[0]
	return outcome{p.ErrorCode, p.BaseOffset, p.LogAppendTime}, nil
}

// mustLand fails unless the request ended with the code.
func (f flight) mustLand(code int16) outcome {
	f.w.t.Helper()
	out, err := f.land()
	if err != nil {
		f.w.t.Fatalf("produce: %v", err)
	}
	if out.code != code {
		f.w.t.Fatalf("got %+v, want code %d", out, code)
	}
	return out
}

// A gate holds back the fsyncs of logs.
type gate struct {
	mu struct {
		sync.Mutex
		open chan struct{} // closed by release; nil: not held
	}
	reached chan struct{} // a sync waits at the gate
}

func newGate() *gate { return &gate{reached: make(chan struct{}, 1)} }

// hold makes every fsync of a log wait from now on.
func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.open = make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.open != nil {
		close(g.mu.open)
		g.mu.open = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.mu.open
	g.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case g.reached <- struct{}{}:
	default:
	}
	<-open
}

type gatedFS struct {
	disk.FS
	g *gate
}

type gatedFile struct {
	disk.File
	g *gate
}

func (g *gate) wrap(fs disk.FS) disk.FS { return gatedFS{fs, g} }

func (f gatedFS) SyncFS(dir string) error {
	f.g.pass()
	return f.FS.SyncFS(dir)
}

func (f gatedFile) Sync() error {
	f.g.pass()
	return f.File.Sync()
}

func (f gatedFS) file(name string, file disk.File, err error) (disk.File, error) {
	if err != nil || !strings.Contains(name, "-0/") && !strings.Contains(name, "/journal-") {
		return file, err
	}
	return gatedFile{file, f.g}, nil
}

func (f gatedFS) Create(name string) (disk.File, error) {
	file, err := f.FS.Create(name)
	return f.file(name, file, err)
}

func (f gatedFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	file, err := f.FS.OpenReadWrite(name, create)
	return f.file(name, file, err)
}

func (f gatedFS) Open(name string) (disk.File, error) {
	file, err := f.FS.Open(name)
	return f.file(name, file, err)
}

// newGatedWorld is a world whose fsyncs of logs can be held back.
func newGatedWorld(t testing.TB, settings map[string]string) (*world, *gate) {
	g := newGate()
	w := newWrappedWorld(t, settings, g.wrap)
	t.Cleanup(g.release) // a test that failed must not hang the stop of its broker
	return w, g
}

// crashHeld crashes a broker whose fsyncs are held: what waits for one is not durable.
func (w *world) crashHeld(g *gate, survivor func(*disk.Mem) *disk.Mem) {
	w.t.Helper()
	left := survivor(w.mem)
	g.release()
	w.crash(left)
}

func killed(m *disk.Mem) *disk.Mem    { return m.KillClone() }
func powerLost(m *disk.Mem) *disk.Mem { return m.CrashClone(0, 1) }

// learnTail cuts the model of a topic that does not fsync to what a power loss left.
func (w *world) learnTail(topic string) (lost int) {
	w.t.Helper()
	m := w.models[topic]
	m.end = w.latest(topic)
	for pid, batches := range m.batches {
		kept := slices.DeleteFunc(slices.Clone(batches), func(b modelBatch) bool { return b.offset >= m.end })
		lost += len(batches) - len(kept)
		m.batches[pid] = kept
	}
	return lost
}

// idle lets the broker's clock pass, as sweeps see it, and has it forget what it may.
func (w *world) idle(d time.Duration) {
	w.t.Helper()
	if err := w.b.loadAll(); err != nil {
		w.t.Fatal(err)
	}
	start := time.Unix(2e9, 0)
	for passed := time.Duration(0); passed <= d+2*pidstore.SweepInterval; passed += 2 * pidstore.SweepInterval {
		w.b.pids.Sweep(start.Add(passed))
	}
}

// flush makes the cold store durable, the broker age included.
func (w *world) flush() {
	w.t.Helper()
	w.create("flush")
	w.post("flush", w.init(), 0, 0, 1)
	w.settle()
}

// retainAll has retention delete everything there is.
func (w *world) retainAll(topic string) {
	w.t.Helper()
	p, err := w.b.catalog.Partition(topic, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := p.Retain(context.Background(), time.Now().Add(8*24*time.Hour)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) forgotten() int64 { return w.b.pids.Stats().Forgotten }

// stopped runs fn on the disk of a broker that was stopped cleanly.
func (w *world) stopped(fn func(fs disk.FS) error) {
	w.t.Helper()
	w.b.stop(w.t)
	w.b = nil
	if err := fn(w.mem); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// copyTree replaces a directory by a copy of it from another disk.
func copyTree(from, to disk.FS, dir string) error {
	if err := to.RemoveAll(dir); err != nil {
		return err
	}
	if err := to.MkdirAll(dir); err != nil {
		return err
	}
	names, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, copyFile(from, to, dir+"/"+name))
	}
	return err
}

func copyFile(from, to disk.FS, name string) error {
	info, err := from.Stat(name)
	switch {
	case err != nil:
		return err
	case info.Dir:
		return copyTree(from, to, name)
	}
	data, err := disk.ReadFile(from, name, 1<<30)
	if err != nil {
		return err
	}
	return disk.WriteFileAtomic(to, name, data)
}

// runWays runs cases in the five ways in worlds that open makes.
func runWays(t *testing.T, open func(t *testing.T) *world, cases []producerCase) {
	t.Helper()
	for _, c := range cases {
		for i, way := range ways {
			t.Run(c.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				w := open(t)
				pid := c.setup(w)
				way.disturb(w)
				probe := c.probe
				if i == len(ways)-1 && c.probeLost != nil {
					probe = c.probeLost
				}
				probe(w, pid)
				w.checkLogs(w.models)
			})
		}
	}
}
