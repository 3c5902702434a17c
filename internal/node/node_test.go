package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/config"
	"ottla/internal/disk"
)

// testConfig listens on free ports of the loopback interface.
func testConfig(t *testing.T, set ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Input{Set: append([]string{
		"listeners=127.0.0.1:0", "http.listener=127.0.0.1:0", "log.dirs=data", "producer.state.memory.bytes=2097152",
		"log.free.disk.min.bytes=0",
	}, set...)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t *testing.T, fsys disk.FS, set ...string) *Node {
	t.Helper()
	n, err := Start(t.Context(), Options{Config: testConfig(t, set...), FS: fsys, Killable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill) // does nothing to a node that was stopped
	return n
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func client(t *testing.T, n *Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(n.Addr())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func createTopic(t *testing.T, n *Node, name string, partitions int32) {
	t.Helper()
	r, err := kadm.NewClient(client(t, n)).CreateTopic(t.Context(), partitions, -1, nil, name)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, n *Node, topic, value string) int64 {
	t.Helper()
	c := client(t, n, kgo.DefaultProduceTopic(topic))
	r, err := c.ProduceSync(t.Context(), kgo.StringRecord(value)).First()
	if err != nil {
		t.Fatal(err)
	}
	return r.Offset
}

func get(t *testing.T, n *Node, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + n.HTTPAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func exists(t *testing.T, fsys disk.FS, name string) bool {
	t.Helper()
	_, err := fsys.Stat(filepath.Join("data", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestStopIsCleanAndIdentityPersists(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem)
	id := n.ClusterID()
	createTopic(t, n, "a", 2)
	if offset := produce(t, n, "a", "one"); offset != 0 {
		t.Errorf("first offset is %d", offset)
	}
	if exists(t, mem, cleanName) {
		t.Error("marked as clean while running")
	}
	stop(t, n)
	if !exists(t, mem, cleanName) {
		t.Error("a clean stop left no marker")
	}

	n = start(t, mem)
	if n.ClusterID() != id {
		t.Errorf("cluster id changed from %s to %s", id, n.ClusterID())
	}
	if !n.directory.clean || n.catalog.Run() != 0 {
		t.Errorf("after a clean stop: clean=%t, run=%d", n.directory.clean, n.catalog.Run())
	}
	stop(t, n)
}

// TestKill: what was acknowledged is there after kill -9, the run number tells that it happened, and the stop after the recovery
// is clean.
func TestKill(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem)
	createTopic(t, n, "a", 1)
	produce(t, n, "a", "one")
	killed := mem.KillClone()
	n.Kill()

	n = start(t, killed)
	if n.directory.clean || n.catalog.Run() != 1 {
		t.Errorf("after a kill: clean=%t, run=%d, want false, 1", n.directory.clean, n.catalog.Run())
	}
	c := client(t, n, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"a": {0: kgo.NewOffset().AtStart()}}))
	fetches := c.PollRecords(t.Context(), 1)
	if records := fetches.Records(); len(records) != 1 || string(records[0].Value) != "one" {
		t.Fatalf("got %v, errors %v", records, fetches.Errors())
	}
	<-n.recovered.over
	stop(t, n)
	if !exists(t, killed, cleanName) {
		t.Error("everything was recovered, but the stop was not marked as clean")
	}
}

// TestFailedRecoveryIsNotClean: a partition that could not be recovered keeps the directory unclean.
func TestFailedRecoveryIsNotClean(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem)
	createTopic(t, n, "a", 1)
	produce(t, n, "a", "one")
	killed := mem.KillClone()
	n.Kill()
	if err := killed.MkdirAll(filepath.Join("data", "a-0")); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFileAtomic(killed, filepath.Join("data", "a-0", "partition.metadata"), []byte("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n")); err != nil {
		t.Fatal(err)
	}
	n = start(t, killed)
	<-n.recovered.over
	stop(t, n)
	if exists(t, killed, cleanName) {
		t.Error("marked as clean, though a partition was not recovered")
	}
}

func TestDirectoryInUse(t *testing.T) {
	mem := disk.NewMem()
	start(t, mem)
	_, err := Start(t.Context(), Options{Config: testConfig(t), FS: mem})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "data") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("got %v, want an error that names the directory and the way out", err)
	}
}

// TestPortInUse: a start that fails must not make a clean directory unclean, and must say which address.
func TestPortInUse(t *testing.T) {
	mem := disk.NewMem()
	stop(t, start(t, mem))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, key := range []string{"listeners", "http.listener"} {
		_, err := Start(t.Context(), Options{Config: testConfig(t, key+"="+taken.Addr().String()), FS: mem})
		if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%s: got %v, want an error that names %s", key, err, taken.Addr())
		}
		if !exists(t, mem, cleanName) {
			t.Errorf("%s: the failed start took the clean marker away", key)
		}
	}
}

// TestStartFailsAtEveryOperation: whatever mutating operation of a start fails, Start returns an error or works, nothing hangs, and
// the next start on the same disk works.
func TestStartFailsAtEveryOperation(t *testing.T) {
	for at := int64(0); ; at++ {
		mem := disk.NewMem()
		n := start(t, mem)
		createTopic(t, n, "a", 1)
		stop(t, n)
		faults := disk.NewFaults(disk.Fault{At: at, Kind: disk.FaultError})
		n, err := Start(t.Context(), Options{Config: testConfig(t), FS: disk.NewFaulty(mem, faults)})
		if err == nil {
			err = n.Stop(context.Background())
		}
		if faults.Fired() == 0 {
			if err != nil {
				t.Fatalf("without a fault: %v", err)
			}
			t.Logf("%d operations", at)
			return
		}
		n = start(t, mem)
		produce(t, n, "a", "still works")
		stop(t, n)
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	mem := disk.NewMem()
	if err := mem.MkdirAll("data/orders-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Config: testConfig(t), FS: mem}); err == nil || !strings.Contains(err.Error(), "data") {
		t.Errorf("got %v, want a refusal that names the directory", err)
	}
}

func TestUnknownMarkerIsRefused(t *testing.T) {
	mem := disk.NewMem()
	if err := mem.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFileAtomic(mem, filepath.Join("data", cleanName), []byte("ottla clean stop, format 2\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Config: testConfig(t), FS: mem}); err == nil || !strings.Contains(err.Error(), cleanName) {
		t.Errorf("got %v, want a refusal that names the marker", err)
	}
}

// TestDamagedStoreIsRebuilt: a cold store that does not open is moved aside, and a retry of what only the log still knows is recognised.
func TestDamagedStoreIsRebuilt(t *testing.T) {
	mem := disk.NewMem()
	n := start(t, mem)
	createTopic(t, n, "a", 1)
	first := produceIdempotent(t, n, 0)
	stop(t, n)
	dir := filepath.Join("data", producersDir)
	names, err := mem.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST") {
			f, err := mem.Create(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("this is no manifest"), 0); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
	}

	var logged bytes.Buffer
	n, err = Start(t.Context(), Options{Config: testConfig(t), FS: mem, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if again := produceIdempotent(t, n, first.pid); again != first {
		t.Errorf("the retry was answered with %+v, the original with %+v", again, first)
	}
	stop(t, n)
	if !strings.Contains(logged.String(), "moved aside") {
		t.Errorf("the loss of the store was not said:\n%s", &logged)
	}
}

type written struct{ pid, offset int64 }

// produceIdempotent writes the first batch of a producer, a new one if pid is 0, and returns its offset.
func produceIdempotent(t *testing.T, n *Node, pid int64) written {
	t.Helper()
	c := client(t, n)
	if pid == 0 {
		request := kmsg.NewPtrInitProducerIDRequest()
		request.ProducerID, request.ProducerEpoch = -1, -1
		resp, err := request.RequestWith(t.Context(), c)
		if err != nil || resp.ErrorCode != 0 {
			t.Fatalf("InitProducerId: %v %+v", err, resp)
		}
		pid = resp.ProducerID
	}
	record := kmsg.NewRecord()
	record.Value = []byte("value")
	body := record.AppendTo(nil)[1:]
	record.Length = int32(len(body))
	b := kmsg.NewRecordBatch()
	b.Magic, b.NumRecords, b.ProducerID, b.Records = 2, 1, pid, record.AppendTo(nil)
	b.FirstTimestamp, b.MaxTimestamp = 1_700_000_000_000, 1_700_000_000_000
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	raw := b.AppendTo(nil)
	b.CRC = int32(castagnoli(raw[21:]))

	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Records = b.AppendTo(nil)
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "a", []kmsg.ProduceRequestTopicPartition{partition}
	request := kmsg.NewPtrProduceRequest()
	request.Version = 9
	request.Acks, request.TimeoutMillis, request.Topics = -1, 10_000, []kmsg.ProduceRequestTopic{topic}
	raw = kmsg.NewRequestFormatter().AppendRequest(nil, request, 1)
	p := answered(t, n, raw)
	if p.ErrorCode != 0 {
		t.Fatalf("Produce was answered with error %d", p.ErrorCode)
	}
	return written{pid, p.BaseOffset}
}

func TestHealth(t *testing.T) {
	faults := disk.NewFaults()
	n := start(t, disk.NewFaulty(disk.NewMem(), faults), "http.pprof.enable=true")
	createTopic(t, n, "a", 1)
	produce(t, n, "a", "one")
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/": "/metrics", "/debug/pprof/cmdline": "",
		"/metrics": "ottla_partitions 1\n",
	} {
		if code, body := get(t, n, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, without %q:\n%.2000s", path, code, want, body)
		}
	}
	if _, body := get(t, n, "/metrics"); !strings.Contains(body, "ottla_log_size_bytes") || strings.Contains(body, "ottla_log_size_bytes 0\n") {
		t.Error("the size of the log is not shown")
	}

	n.goOffline(errors.New("the disk is gone"))
	if code, body := get(t, n, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "the disk is gone") {
		t.Errorf("offline: /readyz says %d %s", code, body)
	}
	if code, _ := get(t, n, "/healthz"); code != http.StatusOK {
		t.Error("offline: the process is alive, /healthz must say so")
	}
}

func TestPprofIsOffByDefault(t *testing.T) {
	n := start(t, disk.NewMem())
	if code, _ := get(t, n, "/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("pprof answers %d without being asked for", code)
	}
}

func TestBannerAndWarnings(t *testing.T) {
	c, err := config.Load(config.Input{
		FileName: "server.properties",
		File:     []byte("process.roles=broker\ndefault.replication.factor=3\n"),
		Set:      []string{"listeners=a=127.0.0.1:0,b=0.0.0.0:0", "advertised.listeners=b=broker.example.org:0", "http.listener=off", "log.dirs=data"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var banner, logged bytes.Buffer
	n, err := Start(t.Context(), Options{Config: c, FS: disk.NewMem(), Logger: slog.New(slog.NewTextHandler(&logged, nil)), Banner: &banner, Version: "v0"})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, n)
	_, port, _ := net.SplitHostPort(n.Addrs()[1])
	for _, want := range []string{"ottla v0, cluster " + n.ClusterID(), n.Addrs()[0] + "  A\n", "clients are told broker.example.org:" + port,
		"32 MiB for their state: 8 MiB in use, 8 MiB not yet on disk, 16 MiB", "24h0m0s", "10000 connections"} {
		if !strings.Contains(banner.String(), want) {
			t.Errorf("the banner does not say %q:\n%s", want, &banner)
		}
	}
	if n.HTTPAddr() != "" {
		t.Error("http.listener=off, but something listens")
	}
	for _, want := range []string{"NO AUTHENTICATION", "listener=B", "process.roles", "default.replication.factor=3"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &logged)
		}
	}
	if strings.Contains(logged.String(), "listener=A") {
		t.Errorf("a warning about a loopback listener:\n%s", &logged)
	}
}

// TestConfigurationIsInForce: what DescribeConfigs tells of the broker is what it was started with.
func TestConfigurationIsInForce(t *testing.T) {
	n := start(t, disk.NewMem(), "log.retention.hours=1", "num.partitions=3")
	admin := kadm.NewClient(client(t, n))
	configs, err := admin.DescribeBrokerConfigs(t.Context(), 1)
	if err != nil || len(configs) != 1 || configs[0].Err != nil {
		t.Fatalf("%v %+v", err, configs)
	}
	shown := map[string]string{}
	for _, c := range configs[0].Configs {
		shown[c.Key] = c.MaybeValue()
	}
	for _, v := range n.config.Values() {
		if got, found := shown[v.Key.Name]; !found || got != v.Text {
			t.Errorf("%s: shown %q (%t), in force %q", v.Key.Name, got, found, v.Text)
		}
	}
	createTopic(t, n, "a", -1)
	topics, err := admin.ListTopics(t.Context(), "a")
	if err != nil || len(topics["a"].Partitions) != 3 {
		t.Errorf("%v: %d partitions, want num.partitions", err, len(topics["a"].Partitions))
	}
	resource, err := admin.DescribeTopicConfigs(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resource[0].Configs, func(c kadm.Config) bool { return c.Key == "retention.ms" })
	if i < 0 || resource[0].Configs[i].MaybeValue() != "3600000" {
		t.Errorf("retention.ms does not follow log.retention.hours: %+v", resource[0].Configs)
	}
}

// TestEveryKeyHasAnEffect: a key of the table is the default of a topic configuration, or somebody reads it.
func TestEveryKeyHasAnEffect(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"*.go", "../cli/serve.go", "../config/config.go", "../config/listener.go", "../catalog/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(b)
		}
	}
	// One broker has one replica: the key can only say so.
	alone := []string{"default.replication.factor"}
	for _, k := range config.Keys() {
		if k.Topic == "" && !slices.Contains(alone, k.Name) && !strings.Contains(source.String(), `"`+k.Name+`"`) {
			t.Errorf("nobody reads %s", k.Name)
		}
	}
}
