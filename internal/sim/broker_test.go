package sim

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"ottla/internal/broker"
	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
	"ottla/internal/wire"
)

// testBroker is a broker without its network, composed as internal/node composes it.
type testBroker struct {
	fs      disk.FS
	clean   bool
	damaged error // why the cold store was moved aside
	lock    io.Closer
	catalog *catalog.Catalog
	cold    *coldstate.Store
	ids     *pidstore.IDs
	pids    *pidstore.Store
	logs    *seglog.Store
	m       *metrics.Metrics
	broker  *broker.Broker
	fatal   struct {
		sync.Mutex
		err   error
		parts []func(error)
	}
}

func coldDir(dir string) string { return filepath.Join(dir, "producers") }

var cleanMarker = filepath.Join(dataDir, ".ottla-clean")

func startBroker(fsys disk.FS, settings map[string]string) (*testBroker, error) {
	b := &testBroker{fs: fsys, m: metrics.New()}
	if err := b.open(settings); err != nil {
		b.abandon()
		return nil, err
	}
	return b, nil
}

func (b *testBroker) open(settings map[string]string) (err error) {
	if err := b.fs.MkdirAll(dataDir); err != nil {
		return err
	}
	if b.lock, err = b.fs.Lock(filepath.Join(dataDir, ".lock")); err != nil {
		return err
	}
	if err := b.takeMarker(); err != nil {
		return err
	}
	if b.catalog, err = catalog.Open(catalog.Options{FS: b.fs, Dir: dataDir, NodeID: 1, Metrics: b.m.Partitions}); err != nil {
		return err
	}
	if err = b.catalog.BeginRun(b.clean); err != nil {
		return err
	}
	budget := int64(32 << 20)
	if v, set := settings["producer.state.memory.bytes"]; set {
		if budget, err = strconv.ParseInt(v, 10, 64); err != nil {
			return err
		}
	}
	shares := pidstore.Split(budget)
	co := coldstate.Options{FS: b.fs, Dir: coldDir(dataDir), MemoryBytes: shares.ColdBytes, Metrics: b.m.Cold, Logger: quiet, OnFatal: b.offline}
	if b.cold, err = coldstate.Open(co); errors.Is(err, coldstate.ErrCorrupt) {
		b.damaged = err
		if _, err = coldstate.MoveAside(b.fs, coldDir(dataDir)); err != nil {
			return err
		}
		b.cold, err = coldstate.Open(co)
	}
	if err != nil {
		return err
	}
	if b.ids, err = pidstore.NewIDs(b.catalog, b.m.Producers); err != nil {
		return err
	}
	b.catalog.SetIssued(b.ids.Issued)
	expiration := int64(86_400_000)
	if v, set := settings["producer.id.expiration.ms"]; set {
		if expiration, err = strconv.ParseInt(v, 10, 64); err != nil {
			return err
		}
	}
	if b.pids, err = pidstore.Open(pidstore.Options{
		Cold: b.cold, MemoryBytes: shares.HotBytes + shares.OverlayBytes, ExpirationMillis: expiration, IDs: b.ids,
		SyncLog: b.syncLog, Metrics: b.m.Producers, Logger: quiet,
	}); err != nil {
		return err
	}
	b.tellOffline(b.pids.SetOffline)
	journal := int64(16 << 10)
	if v, set := settings["log.journal.bytes"]; set {
		if journal, err = strconv.ParseInt(v, 10, 64); err != nil {
			return err
		}
	}
	if b.logs, err = seglog.OpenStore(seglog.Options{FS: b.fs, Dir: dataDir, FreeBytesMin: -1, JournalBytes: journal, Metrics: b.m.Log, Logger: quiet}); err != nil {
		return err
	}
	b.tellOffline(b.logs.SetOffline)
	if err := b.catalog.Attach(b.logs, b.pids, !b.clean); err != nil {
		return err
	}
	b.broker = broker.New(broker.Options{
		Catalog: b.catalog, Producers: b.pids, IDs: b.ids, NodeID: 1, ClusterID: b.catalog.ClusterID(),
		Advertised: func(string) (string, int32) { return "127.0.0.1", 9092 }, DataDir: dataDir, Metrics: b.m, Logger: quiet,
	})
	return nil
}

func (b *testBroker) takeMarker() error {
	switch _, err := b.fs.Stat(cleanMarker); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	b.clean = true
	if err := b.fs.Remove(cleanMarker); err != nil {
		return err
	}
	return b.fs.SyncDir(dataDir)
}

// offline may be called while the broker is still being opened.
func (b *testBroker) offline(err error) {
	b.fatal.Lock()
	defer b.fatal.Unlock()
	b.fatal.err = err
	for _, tell := range b.fatal.parts {
		tell(err)
	}
}

func (b *testBroker) tellOffline(tell func(error)) {
	b.fatal.Lock()
	defer b.fatal.Unlock()
	b.fatal.parts = append(b.fatal.parts, tell)
	if b.fatal.err != nil {
		tell(b.fatal.err)
	}
}

func (b *testBroker) eachPartition(fn func(*partition.Partition) error) error {
	var errs []error
	for _, t := range b.catalog.Topics() {
		for _, p := range t.Partitions {
			errs = append(errs, fn(p))
		}
	}
	return errors.Join(errs...)
}

func (b *testBroker) syncLog(num uint64) {
	_ = b.eachPartition(func(p *partition.Partition) error {
		if p.Num() == num {
			p.RequestSync()
		}
		return nil
	})
}

func (b *testBroker) handler() wire.Handler { return b.broker }

func (b *testBroker) loadAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.eachPartition(func(p *partition.Partition) error { return p.Load(ctx) })
}

// retain runs one pass of retention.
func (b *testBroker) retain() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.eachPartition(func(p *partition.Partition) error {
		_, err := p.Retain(ctx, time.Now())
		return err
	})
}

// settle waits until everything durable in the logs is durable in the cold store.
func (b *testBroker) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.eachPartition(func(p *partition.Partition) error {
		s, err := p.State(ctx)
		if err != nil {
			return err
		}
		return p.Settle(s.HighWatermark)
	})
}

func (b *testBroker) hotCapacity() int { return int(b.pids.Stats().HotEntriesMax) }

func (b *testBroker) tryStop() error {
	err := b.loadAll()
	ok := err == nil
	err = errors.Join(err, b.abandonOrdered())
	if ok && err == nil {
		err = disk.WriteFileAtomic(b.fs, cleanMarker, []byte("1\n"))
	}
	return errors.Join(err, b.lock.Close())
}

// abandonOrdered closes everything in the order of a clean stop: the logs first, so
// that their last durable positions reach the producers.
func (b *testBroker) abandonOrdered() error {
	var errs []error
	errs = append(errs, b.catalog.Close(), b.logs.Close(), b.pids.Close())
	b.ids.Close()
	return errors.Join(append(errs, b.cold.Close())...)
}

func (b *testBroker) stop(t testing.TB) {
	t.Helper()
	if err := b.tryStop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
}

// kill ends the goroutines of a broker whose disk has been cloned or has crashed. What
// it writes meanwhile is not looked at.
func (b *testBroker) kill(testing.TB) { b.abandon() }

func (b *testBroker) abandon() {
	if b.logs != nil {
		b.logs.SetOffline(errors.New("killed"))
	}
	if b.pids != nil {
		b.pids.SetOffline(errors.New("killed"))
	}
	if b.catalog != nil {
		_ = b.catalog.Close()
	}
	if b.logs != nil {
		_ = b.logs.Close()
	}
	if b.pids != nil {
		_ = b.pids.Close()
	}
	if b.ids != nil {
		b.ids.Close()
	}
	if b.cold != nil {
		_ = b.cold.Close()
	}
	if b.lock != nil {
		_ = b.lock.Close()
	}
}
