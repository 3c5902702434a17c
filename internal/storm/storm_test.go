package storm

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"ottla/internal/config"
	"ottla/internal/disk"
	"ottla/internal/node"
)

func startNode(t *testing.T, fs disk.FS) *node.Node {
	t.Helper()
	c, err := config.Load(config.Input{Set: []string{"listeners=127.0.0.1:0", "http.listener=off", "log.dirs=data", "log.free.disk.min.bytes=0"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Config: c, FS: fs, Killable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

// small are options for a test's storm.
func small(addrs ...string) Options {
	o := Defaults()
	o.Bootstrap, o.MaxProducers, o.Connections, o.Pipeline = addrs, 60, 3, 8
	return o
}

func mustRun(t *testing.T, o Options) Summary {
	t.Helper()
	s, err := Run(t.Context(), o, nil)
	if err != nil {
		t.Fatalf("%v\n%+v", err, s)
	}
	return s
}

// topicsOf lists the topics that a cluster still has.
func topicsOf(t *testing.T, addrs []string, opts ...kgo.Opt) []string {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addrs...))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return topics.Names()
}

// TestEveryMode runs every mode against clusters of several versions and sizes; what was acknowledged is in the log, and nothing is left.
func TestEveryMode(t *testing.T) {
	for _, cluster := range []struct {
		name     string
		versions *kversion.Versions
		brokers  int
	}{{"2.3", kversion.V2_3_0(), 1}, {"2.8", kversion.V2_8_0(), 3}, {"4.0", kversion.V4_0_0(), 3}} {
		t.Run(cluster.name, func(t *testing.T) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(cluster.brokers), kfake.MaxVersions(cluster.versions))
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			for _, mode := range Modes() {
				o := small(fake.ListenAddrs()...)
				o.Mode, o.Partitions, o.Batches = mode, 7, 2
				checkLoad(t, o, mustRun(t, o))
			}
			if left := topicsOf(t, fake.ListenAddrs()); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func checkLoad(t *testing.T, o Options, s Summary) {
	t.Helper()
	l := s.Loads[0]
	producers, perPush := o.MaxProducers, int64(1)
	switch o.Mode {
	case Control:
		producers = 1
	case Wide:
		perPush = int64(o.Partitions)
	}
	entries := producers * perPush
	if o.Mode == Control && l.Entries >= 1 && l.Entries <= int64(o.Partitions) {
		entries = l.Entries // the brokers' lanes take the pushes as they can
	}
	if l.Pushes != o.MaxProducers || l.Producers != producers || l.Entries != entries || l.Batches != o.MaxProducers*perPush*int64(o.Batches) || len(l.Errors) > 0 || l.Latency.Count != l.Pushes {
		t.Errorf("%s: %+v", o.Mode, l)
	}
	if s.Ended != EndedProducers || len(s.Left) > 0 || len(s.Notes) > 0 || len(s.Series) < 2 || l.Bytes == 0 {
		t.Errorf("%s: %+v", o.Mode, s)
	}
}

// TestRecordsAreThere: what the storm counts as written is what consumers find, once.
func TestRecordsAreThere(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	for _, mode := range Modes() {
		o := small(fake.ListenAddrs()...)
		o.Mode, o.Partitions, o.Keep, o.Topic = mode, 5, true, TopicPrefix+string(mode)
		s := mustRun(t, o)
		client, err := kgo.NewClient(kgo.SeedBrokers(o.Bootstrap...))
		if err != nil {
			t.Fatal(err)
		}
		ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), o.Topic)
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
		written := int64(0)
		ends.Each(func(l kadm.ListedOffset) { written += l.Offset })
		if mode == TxnChurn {
			written /= 2 // each with its marker
		}
		if written != s.Loads[0].Batches || len(s.Left) != 1 || s.Left[0] != o.Topic {
			t.Errorf("%s: %d records, %+v", mode, written, s)
		}
	}
}

func TestVersionsAreNegotiated(t *testing.T) {
	for _, c := range []struct {
		versions      *kversion.Versions
		init, produce int16
	}{{kversion.V1_0_0(), 0, 5}, {kversion.V2_3_0(), 1, 7}, {kversion.V2_6_0(), 3, 8}, {kversion.V4_0_0(), initVersionMax, produceVersionMax}} {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(c.versions))
		if err != nil {
			t.Fatal(err)
		}
		l := mustRun(t, small(fake.ListenAddrs()...)).Loads[0]
		if l.InitProducerIDVersion != c.init || l.ProduceVersion != c.produce {
			t.Errorf("%s: InitProducerId %d, Produce %d", c.versions.VersionGuess(), l.InitProducerIDVersion, l.ProduceVersion)
		}
		fake.Close()
	}
}

// TestTLSAndSASL: the data takes the same secured way as the control.
func TestTLSAndSASL(t *testing.T) {
	for _, c := range []struct {
		name      string
		mechanism sasl.Mechanism
	}{{"PLAIN", plain.Auth{User: "alice", Pass: "secret"}.AsMechanism()}, {"SCRAM-SHA-256", scram.Auth{User: "alice", Pass: "secret"}.AsSha256Mechanism()}} {
		t.Run(c.name, func(t *testing.T) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.EnableSASL(), kfake.Superuser(c.name, "alice", "secret"), kfake.TLS(serverTLS(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			o := small(fake.ListenAddrs()...)
			o.SASL = []sasl.Mechanism{c.mechanism}
			dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
			o.Dial = dialer.DialContext
			for _, mode := range []Mode{Fast, Faithful} {
				o.Mode = mode
				if s := mustRun(t, o); s.Loads[0].Pushes != o.MaxProducers {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// TestStormAndRetry: every sampled batch is recognised, also after kill -9; and it would be noticed if one were not.
func TestStormAndRetry(t *testing.T) {
	mem := disk.NewMem()
	n := startNode(t, mem)
	file := filepath.Join(t.TempDir(), "sample")
	o := small(n.Addr())
	o.MaxProducers, o.Partitions, o.Batches, o.Ahead, o.Probe, o.Rate = 600, 2, 5, -48*time.Hour, time.Millisecond, 2000
	o.RetrySample, o.SampleOut, o.Keep, o.RequireExact = 100, file, true, true
	s := mustRun(t, o)
	if s.Loads[0].Batches != 3000 || s.Probe == nil || s.Retry == nil || s.Retry.Exact != 500 || s.Retry.Producers != 100 {
		t.Fatalf("%+v", s)
	}
	killed := mem.KillClone()
	n.Kill()
	n = startNode(t, killed)
	retry := small(n.Addr())
	retry.Retry, retry.RetryRounds, retry.RequireExact = file, 2, true
	if s := mustRun(t, retry); s.Retry.Exact != 1000 || s.Ended != EndedRetried {
		t.Errorf("%+v", s)
	}

	// A wrong memory must be noticed: say that the first producer's first offset was another one, and that the second had another epoch.
	saved, err := readSampleFile(file)
	if err != nil {
		t.Fatal(err)
	}
	saved.sample[0].Offsets[0] += 987654
	saved.sample[1].Epoch = 7
	saved.sample[1].Offsets = saved.sample[1].Offsets[:1]
	if err := saved.write(file); err != nil {
		t.Fatal(err)
	}
	s, err = Run(t.Context(), retry, nil)
	if !errors.Is(err, ErrNotExact) || s.Retry.Duplicated == 0 || s.Retry.AllExact() {
		t.Errorf("%v\n%+v", err, s.Retry)
	}
	retry.RequireExact = false
	if s = mustRun(t, retry); s.Retry.AllExact() {
		t.Errorf("%+v", s.Retry)
	}
	saved.sample, retry.RequireExact = nil, true
	if err := saved.write(file); err != nil {
		t.Fatal(err)
	}
	if _, err = Run(t.Context(), retry, nil); !errors.Is(err, ErrNotExact) {
		t.Errorf("an empty sample: %v", err)
	}
}

// TestRetryInEveryMode: what is sampled is recognised, whatever wrote it.
func TestRetryInEveryMode(t *testing.T) {
	n := startNode(t, disk.NewMem())
	for _, mode := range []Mode{Fast, Faithful, Wide, FutureTimestamps} {
		o := small(n.Addr())
		o.Mode, o.Partitions, o.Batches, o.RetrySample, o.RequireExact = mode, 3, 2, 20, true
		if s := mustRun(t, o); s.Retry.Exact != 40 {
			t.Errorf("%s: %+v", mode, s.Retry)
		}
	}
	if left := topicsOf(t, []string{n.Addr()}); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestABDrawsBothCurves(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	o.AB, o.MaxProducers, o.Rate, o.Partitions = true, 30, 1000, 3
	s := mustRun(t, o)
	if len(s.Loads) != 2 || s.Loads[0].Mode != Control || s.Loads[1].Mode != Faithful || s.Loads[0].Producers != 1 || s.Loads[1].Producers != 30 || s.Loads[0].Topic == s.Loads[1].Topic {
		t.Errorf("%+v", s.Loads)
	}
	names := map[string]float64{}
	for _, c := range s.Series {
		names[c.Name] = c.Points[len(c.Points)-1][1]
	}
	if names["control entries"] > 3 || names["faithful entries"] != 30 {
		t.Errorf("%v", names)
	}
	if left := topicsOf(t, []string{n.Addr()}); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestDescribedProducers: the brokers' own count is there where they can be asked for it, and a note where not.
func TestDescribedProducers(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V2_3_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	n := startNode(t, disk.NewMem())
	for _, c := range []struct {
		addr  string
		knows bool
	}{{n.Addr(), true}, {fake.ListenAddrs()[0], false}} {
		o := small(c.addr)
		o.AB, o.Rate, o.MaxProducers, o.MaxDuration = true, 40, 1000, 1500*time.Millisecond
		s := mustRun(t, o)
		found := false
		for _, series := range s.Series {
			found = found || series.Name == "faithful producers known to the broker" && series.Points[0][1] > 0
		}
		if noted := strings.Contains(strings.Join(s.Notes, ""), "DescribeProducers"); found != c.knows || noted == c.knows {
			t.Errorf("%s: found %v, notes %v", c.addr, found, s.Notes)
		}
	}
}

// TestNoTransactions: a broker without them is refused in words, and nothing is left of the attempt.
func TestNoTransactions(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(withoutTransactions()))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	o := small(fake.ListenAddrs()...)
	o.Mode = TxnChurn
	if _, err := Run(t.Context(), o, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no transactions") {
		t.Error(err)
	}
	if left := topicsOf(t, o.Bootstrap); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func withoutTransactions() *kversion.Versions {
	v := kversion.V3_0_0()
	v.SetMaxKeyVersion(24, -1)
	v.SetMaxKeyVersion(26, -1)
	return v
}

func TestCapsEndTheStorm(t *testing.T) {
	n := startNode(t, disk.NewMem())
	for _, c := range []struct {
		ended string
		set   func(*Options)
	}{
		{EndedSeconds, func(o *Options) { o.MaxDuration = 50 * time.Millisecond }},
		{EndedBytes, func(o *Options) { o.MaxBytes = 100_000 }},
		{EndedSeconds, func(o *Options) { o.MaxDuration, o.Rate = 50*time.Millisecond, 0.001 }},
		{EndedSeconds, func(o *Options) {
			o.MaxDuration, o.MaxProducers, o.Probe = 50*time.Millisecond, 0, time.Millisecond
		}},
	} {
		for _, mode := range []Mode{Fast, Faithful, Control} {
			o := small(n.Addr())
			o.Mode, o.MaxProducers = mode, 1<<40
			c.set(&o)
			s := mustRun(t, o)
			if s.Ended != c.ended {
				t.Errorf("%s: ended by %q, want %q", mode, s.Ended, c.ended)
			}
			if l := s.Loads[0]; c.ended == EndedBytes && (l.Bytes < o.MaxBytes || l.Bytes > o.MaxBytes+l.Bytes/l.Pushes) {
				t.Errorf("%s: %d bytes in %d pushes", mode, l.Bytes, l.Pushes)
			}
		}
	}
}

// TestBytesAreCapped: however many pushes are in flight, and however large, the cap is passed by one at most.
func TestBytesAreCapped(t *testing.T) {
	n := startNode(t, disk.NewMem())
	for _, mode := range []Mode{Fast, Faithful, Wide, Control} {
		o := small(n.Addr())
		o.Mode, o.MaxProducers, o.Connections, o.Pipeline, o.RecordBytes, o.Partitions, o.MaxBytes = mode, 1<<40, 8, 64, 50_000, 3, 500_000
		l := mustRun(t, o).Loads[0]
		if l.Bytes < o.MaxBytes || l.Bytes > o.MaxBytes+l.Bytes/l.Pushes {
			t.Errorf("%s: %d bytes in %d pushes", mode, l.Bytes, l.Pushes)
		}
	}
}

// TestSlowestRate: a rate whose second turn is beyond the calendar is no licence to go at full speed.
func TestSlowestRate(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	o.Rate, o.MaxDuration = 1e-12, 50*time.Millisecond
	if s := mustRun(t, o); s.Loads[0].Pushes != 1 || s.Ended != EndedSeconds {
		t.Errorf("%+v", s)
	}
}

// TestConnectionsAreCapped: however many are left open, never more than the cap.
func TestConnectionsAreCapped(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	o.Mode, o.NoClose, o.MaxConnections = Faithful, true, 20
	var open, most atomic.Int64
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		now := open.Add(1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		return &countedConn{Conn: conn, open: &open}, nil
	}
	if s := mustRun(t, o); s.Loads[0].Pushes != 60 || len(s.Loads[0].Errors) > 0 {
		t.Errorf("%+v", s)
	}
	const control = 5 // the client's own
	if most.Load() > 20+control || most.Load() < 10 {
		t.Errorf("%d connections at once", most.Load())
	}
	if open.Load() != 0 {
		t.Errorf("%d connections are still open", open.Load())
	}
}

type countedConn struct {
	net.Conn
	open *atomic.Int64
	once atomic.Bool
}

func (c *countedConn) Close() error {
	if c.once.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// TestInterrupt: the topics are deleted also when the storm is broken off.
func TestInterrupt(t *testing.T) {
	n := startNode(t, disk.NewMem())
	for _, mode := range []Mode{Fast, Faithful, Wide, Control} {
		o := small(n.Addr())
		o.Mode, o.MaxProducers, o.Rate = mode, 1<<40, 200
		ctx, cancel := context.WithCancel(t.Context())
		s, err := Run(ctx, o, func(p Progress) {
			if p.Phase == PhaseStorm {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) || s.Ended != EndedInterrupted {
			t.Errorf("%s: %v %q", mode, err, s.Ended)
		}
	}
	if left := topicsOf(t, []string{n.Addr()}); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestLoopbackOnly(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:9092": true, "127.8.8.8:1": true, "[::1]:9092": true, "[::ffff:127.0.0.1]:1": true,
		"192.0.2.1:9092": false, "[2001:db8::1]:9092": false, "[fe80::1%eth0]:9092": false, "0.0.0.0:9092": false, "[::]:9092": false, "localhost:9092": false,
	} {
		if err := LoopbackOnly("tcp", address, nil); errors.Is(err, ErrRefused) == allowed || (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestGuardRails(t *testing.T) {
	n := startNode(t, disk.NewMem())
	o := small(n.Addr())
	id := mustRun(t, o).ClusterID
	refused := func(what string, o Options) {
		t.Helper()
		if _, err := Run(t.Context(), o, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wrong := o
	wrong.ClusterID = "another"
	refused("another cluster", wrong)
	right := o
	right.ClusterID = id
	mustRun(t, right)

	far := o
	far.Bootstrap = []string{"192.0.2.1:9092"}
	refused("not on loopback", far)
	behind := o
	behind.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, n.Addr())
		return &farConn{conn}, err
	}
	if _, err := Run(t.Context(), behind, nil); err == nil {
		t.Error("a connection that is not on loopback was used")
	}

	kept := o
	kept.Topic, kept.Keep = TopicPrefix+"kept", true
	mustRun(t, kept)
	refused("a topic that exists", kept)
	kept.ReuseTopic, kept.Keep = true, false
	mustRun(t, kept)
	if left := topicsOf(t, o.Bootstrap); len(left) != 1 || left[0] != kept.Topic {
		t.Errorf("a topic that the storm did not make: %v", left)
	}
	kept.Partitions = 5
	if _, err := Run(t.Context(), kept, nil); !errors.Is(err, errPartitions) {
		t.Error(err)
	}
}

// TestForeignTopicIsKept: nothing that goes wrong while a topic is made gets another one of that name deleted.
func TestForeignTopicIsKept(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, TopicPrefix+"foreign"))
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		breakOff := func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			m, metadata := r.(*kmsg.MetadataRequest)
			if metadata && len(m.Topics) == 0 {
				return nil, nil, false // who the brokers are
			}
			cancel()
			return nil, errors.New("broken off"), true
		}
		fake.ControlKey(int16(kmsg.CreateTopics), breakOff)
		if reuse {
			fake.ControlKey(int16(kmsg.Metadata), breakOff)
		}
		o := small(fake.ListenAddrs()...)
		o.Topic, o.ReuseTopic = TopicPrefix+"foreign", reuse
		if _, err := Run(ctx, o, nil); err == nil {
			t.Error("it did not fail")
		}
		if fake.TopicInfo(o.Topic) == nil {
			t.Errorf("reuse %t: the topic is gone", reuse)
		}
	}
}

type farConn struct{ net.Conn }

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9092} }

// TestAdvertisedElsewhere: a cluster whose brokers say that they are elsewhere is not this machine's, whatever was dialled.
func TestAdvertisedElsewhere(t *testing.T) {
	c, err := config.Load(config.Input{Set: []string{"listeners=127.0.0.1:0", "advertised.listeners=192.0.2.7:9092", "http.listener=off", "log.dirs=data", "log.free.disk.min.bytes=0"}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Config: c, FS: disk.NewMem(), Killable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	if _, err := Run(t.Context(), small(n.Addr()), nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "192.0.2.7") {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Run(t.Context(), small(addr), nil)
	if err == nil || s.Error == "" || s.Ended != EndedFailed {
		t.Errorf("%v %+v", err, s)
	}
}

// TestSummaryIsJSON: what is documented is there, also in a summary without anything.
func TestSummaryIsJSON(t *testing.T) {
	s, err := Run(t.Context(), Options{}, nil)
	if err == nil {
		t.Fatal("no options at all were accepted")
	}
	b, err := json.Marshal(s)
	if err != nil || !bytes.Contains(b, []byte(`"schema":1`)) || !bytes.Contains(b, []byte(`"loads":[]`)) || !bytes.Contains(b, []byte(`"series":[]`)) {
		t.Errorf("%v %s", err, b)
	}
}

func TestSampleFileIsChecked(t *testing.T) {
	const header = `{"schema":1,"topic":"ottla-storm-a","partitions":1,"record_bytes":1,"acks":-1,"producers":1}` + "\n"
	for _, content := range []string{"", "no json\n", header, header + `{"pid":1,"partition":1,"offsets":[5]}`, header + `{"pid":1,"offsets":[]}`, header + `{"pid":-1,"offsets":[1]}`,
		header + `{"pid":1,"offsets":[1,2,3,4,5,6]}`, header + `{"pid":1,"offsets":["x"]}`, header + strings.Repeat(`{"pid":1,"offsets":[1]}`+"\n", 2),
		strings.Replace(header, `"schema":1`, `"schema":2`, 1) + `{"pid":1,"offsets":[5]}`, strings.Replace(header, "ottla-storm-", "", 1) + `{"pid":1,"offsets":[5]}`,
		strings.Replace(header, `"record_bytes":1`, `"record_bytes":1000000000`, 1) + `{"pid":1,"offsets":[5]}`, header + strings.Repeat(" ", sampleLineMax+1)} {
		if _, err := readSample(strings.NewReader(content)); err == nil {
			t.Errorf("%.200q was accepted", content)
		}
	}
	if s, err := readSample(strings.NewReader(header + `{"pid":1,"offsets":[5]}`)); err != nil || len(s.sample) != 1 {
		t.Error(err)
	}
	if _, err := readSampleFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzSample(f *testing.F) {
	f.Add([]byte(`{"schema":1,"topic":"ottla-storm-a","partitions":1,"record_bytes":1,"acks":-1,"producers":1}` + "\n" + `{"pid":1,"offsets":[5]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := readSample(bytes.NewReader(content))
		if err != nil {
			return
		}
		for _, p := range s.sample {
			if int(p.Partition) >= s.Partitions || len(p.Offsets) > BatchesMax {
				t.Errorf("%+v", p)
			}
		}
	})
}

// TestReservoir: each of what is offered has the same chance.
func TestReservoir(t *testing.T) {
	const offered, size, rounds = 100, 10, 2000
	counts := make([]int, offered)
	for range rounds {
		r := reservoir{size: size}
		for i := range offered {
			r.offer(func() sampled { return sampled{PID: int64(i)} })
		}
		if len(r.kept) != size {
			t.Fatalf("%d kept", len(r.kept))
		}
		for _, p := range r.kept {
			counts[p.PID]++
		}
	}
	for i, n := range counts { // 200 expected, standard deviation 13.4
		if n < 120 || n > 280 {
			t.Errorf("%d was kept %d times of %d", i, n, rounds)
		}
	}
}

func TestSeriesIsBounded(t *testing.T) {
	var s Series
	for i := range 100_000 {
		s.add(float64(i), 0)
	}
	if len(s.Points) > seriesPointsMax || s.Points[0][0] != 0 || s.Points[len(s.Points)-1][0] != 99_999 {
		t.Errorf("%d points, from %v to %v", len(s.Points), s.Points[0], s.Points[len(s.Points)-1])
	}
}

// TestReceiveInPieces: an answer that arrives bit by bit, across a deadline, is read whole.
func TestReceiveInPieces(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	l := newLane(client, 16, nil)
	l.expect(3)
	if _, _, err := l.receive(time.Now().Add(time.Millisecond)); !errors.Is(err, errNotYet) {
		t.Fatal(err)
	}
	go func() {
		for _, b := range append([]byte{0, 0, 0, 40}, bytes.Repeat([]byte{7}, 40)...) {
			_, _ = server.Write([]byte{b})
		}
		_, _ = server.Write([]byte{0x7f, 0xff, 0xff, 0xff})
	}()
	body, slot, err := l.receive(time.Time{})
	if err != nil || slot != 3 || len(body) != 40 {
		t.Errorf("%d bytes for %d: %v", len(body), slot, err)
	}
	l.expect(4)
	if _, _, err := l.receive(time.Time{}); !errors.Is(err, errAnswer) {
		t.Errorf("an answer of 2 GiB: %v", err)
	}
	_ = server.Close()
	l = newLane(client, 16, nil)
	if _, _, err := l.receive(time.Time{}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
