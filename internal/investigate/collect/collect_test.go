package collect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"

	"ottla/internal/investigate/evidence"
)

func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(4), kfake.SeedTopics(8, "payments", "audit")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// quick are options for a scan of a cluster in this process.
func quick(c *kfake.Cluster) Options {
	return Options{Bootstrap: c.ListenAddrs(), Tool: "ottla v1.2.3", Timeout: 10 * time.Second, Interval: 10 * time.Millisecond}
}

func mustScan(t testing.TB, o Options) *evidence.Scan {
	t.Helper()
	scan, err := Scan(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(scan.Sources) != len(sources) {
		t.Fatalf("%d lines in the ledger for %d sources", len(scan.Sources), len(sources))
	}
	for _, line := range scan.Sources {
		if line.State != evidence.Seen && line.Why == "" {
			t.Errorf("%s is %s, and the ledger does not say why", line.Name, line.State)
		}
		if line.State == evidence.Denied && line.Permission == "" {
			t.Errorf("%s is denied, and the ledger does not say what would allow it", line.Name)
		}
	}
	return scan
}

// churn writes records with so many idempotent producers, one each.
func churn(t testing.TB, c *kfake.Cluster, topic string, producers int, opts ...kgo.Opt) {
	t.Helper()
	for range producers {
		client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		err = client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr()
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func wantState(t *testing.T, scan *evidence.Scan, name string, want ...evidence.State) *evidence.Source {
	t.Helper()
	line := scan.Source(name)
	if line == nil {
		t.Fatalf("no line for %s", name)
	}
	if !slices.Contains(want, line.State) {
		t.Errorf("%s is %s (%s), want %v", name, line.State, line.Why, want)
	}
	return line
}

func TestScanSeesAFakeCluster(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 5)
	scan := mustScan(t, quick(c))
	for _, name := range []string{evidence.SourceAPIVersions, evidence.SourceMetadata, evidence.SourceConfigs, evidence.SourceOffsets, evidence.SourceCounter} {
		wantState(t, scan, name, evidence.Seen)
	}
	if scan.Cluster.Vendor != evidence.VendorKfake || scan.Cluster.IDs != evidence.IDsRandom {
		t.Errorf("vendor %s (%s), ids %s (%s)", scan.Cluster.Vendor, scan.Cluster.VendorWhy, scan.Cluster.IDs, scan.Cluster.IDsWhy)
	}
	if len(scan.Brokers) != 4 || len(scan.Topics) != 2 || len(scan.Partitions) != 16 {
		t.Fatalf("%d brokers, %d topics, %d partitions", len(scan.Brokers), len(scan.Topics), len(scan.Partitions))
	}
	var records, bound int64
	for i := range scan.Partitions {
		p := &scan.Partitions[i]
		if p.Start < 0 || p.End < 0 || p.Since < 0 {
			t.Errorf("offsets of %s-%d are not known: %+v", p.Topic, p.Index, p)
		}
		records += p.End - p.Start
		bound += p.Bound()
	}
	if records != 5 || bound != 5 {
		t.Errorf("%d records, bound %d, want 5", records, bound)
	}
	for i := range scan.Topics {
		topic := &scan.Topics[i]
		if topic.Configs["retention.ms"].Value == "" {
			t.Errorf("%s has no retention.ms", topic.Name)
		}
		if (topic.FirstTime > 0) != (topic.Name == "payments") {
			t.Errorf("first record of %s at %d", topic.Name, topic.FirstTime)
		}
	}
	var calibration, later int
	for _, p := range scan.Counter {
		if p.Calibration {
			calibration++
		} else {
			later++
		}
	}
	if calibration != 2*calibrationProbes+1 || later != 2+4 {
		t.Errorf("%d probes of calibration, %d others", calibration, later)
	}
}

// rights are all that a scan can use; each is left out in turn.
var rights = []struct {
	name     string
	resource kmsg.ACLResourceType
	on       string
	op       kmsg.ACLOperation
	source   string // that lacks it
	state    evidence.State
}{
	{"DESCRIBE on Topic", kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationDescribe, evidence.SourceMetadata, evidence.Partly},
	{"DESCRIBE_CONFIGS on Topic", kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationDescribeConfigs, evidence.SourceConfigs, evidence.Partly},
	{"DESCRIBE_CONFIGS on Cluster", kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribeConfigs, evidence.SourceConfigs, evidence.Partly},
	{"IDEMPOTENT_WRITE on Cluster", kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationIdempotentWrite, evidence.SourceCounter, evidence.Denied},
	{"READ on Topic", kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationRead, evidence.SourceTails, evidence.Denied},
	{"DESCRIBE on Cluster", kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribe, evidence.SourceACLs, evidence.Denied},
}

// TestEachPermissionDeniedInTurn gives a principal everything but one right. The scan must go on, and the ledger must name
// the right that is missing.
func TestEachPermissionDeniedInTurn(t *testing.T) {
	for i, missing := range rights {
		t.Run(missing.name, func(t *testing.T) {
			var acls []kfake.ACL
			for j, r := range rights {
				if i == j || missing.op == kmsg.ACLOperationDescribe && missing.resource == kmsg.ACLResourceTypeTopic && r.resource == kmsg.ACLResourceTypeTopic && r.op == kmsg.ACLOperationRead {
					continue // READ implies DESCRIBE
				}
				acls = append(acls, kfake.ACL{Resource: r.resource, Name: r.on, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: r.op, Allow: true})
			}
			c := fake(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"), kfake.User("PLAIN", "doctor", "secret", acls...))
			churn(t, c, "payments", 60, as("admin"))
			o := quick(c)
			o.Client = []kgo.Opt{as("doctor")}
			scan := mustScan(t, o)
			line := wantState(t, scan, missing.source, missing.state)
			if operation, _, _ := strings.Cut(missing.name, " "); !strings.Contains(line.Permission, operation) {
				t.Errorf("%s wants %q (%s): what is missing is %s", line.Name, line.Permission, line.Why, missing.name)
			}
		})
	}
}

func as(user string) kgo.Opt {
	return kgo.SASL(saslplain.Auth{User: user, Pass: "secret"}.AsMechanism())
}

func TestWrongPasswordIsAConnectionFailure(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.User("PLAIN", "doctor", "secret"))
	o := quick(c)
	o.Client = []kgo.Opt{kgo.SASL(saslplain.Auth{User: "doctor", Pass: "wr0ng-pass"}.AsMechanism())}
	_, err := Scan(context.Background(), o)
	var connect *ErrConnect
	if !errors.As(err, &connect) || strings.Contains(err.Error(), "wr0ng-pass") {
		t.Errorf("got %v", err)
	}
}

// hole is connected to, by the system, and never says a word: nobody accepts.
func hole(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// instead dials another address for some.
func instead(of map[string]string) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		if other := of[address]; other != "" {
			address = other
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	})
}

func TestHalfOfTheBrokersAreSilent(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 5)
	addrs, nobody := c.ListenAddrs(), hole(t)
	o := quick(c)
	o.Timeout = 300 * time.Millisecond
	o.Bootstrap = addrs // the first two are dead
	o.Client = []kgo.Opt{instead(map[string]string{addrs[0]: nobody, addrs[1]: nobody})}
	scan := mustScan(t, o)
	answered := 0
	for i := range scan.Brokers {
		b := &scan.Brokers[i]
		if b.Answered {
			answered++
		} else if b.Error == "" {
			t.Errorf("broker %d did not answer, and nothing says why", b.ID)
		}
	}
	if answered != 2 {
		t.Errorf("%d brokers answered", answered)
	}
	for _, name := range []string{evidence.SourceAPIVersions, evidence.SourceOffsets} {
		wantState(t, scan, name, evidence.Partly)
	}
	wantState(t, scan, evidence.SourceMetadata, evidence.Seen)
	alive := map[int32]bool{}
	for i := range scan.Brokers {
		alive[scan.Brokers[i].ID] = scan.Brokers[i].Answered
	}
	for i := range scan.Partitions {
		if p := &scan.Partitions[i]; (p.End >= 0) != alive[p.Leader] {
			t.Errorf("end of %s-%d on broker %d, answering %v: %d", p.Topic, p.Index, p.Leader, alive[p.Leader], p.End)
		}
	}
	if scan.Budget.Requests > 200 {
		t.Errorf("%d requests: silent brokers are asked again and again", scan.Budget.Requests)
	}
}

func TestNobodyAnswers(t *testing.T) {
	c := fake(t)
	addrs, nobody := c.ListenAddrs(), hole(t)
	closed := "127.0.0.1:1"
	all := map[string]string{}
	for _, a := range addrs {
		all[a] = nobody
	}
	for name, o := range map[string]Options{
		"refused": {Bootstrap: []string{closed}},
		"silent":  {Bootstrap: []string{nobody}},
		"advertised addresses are silent": {
			Bootstrap: []string{"bootstrap.example.com:9092"},
			Client: []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "bootstrap.example.com:9092" {
					return net.Dial(network, addrs[0])
				}
				return net.Dial(network, nobody)
			})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o.Timeout = 300 * time.Millisecond
			for what, run := range map[string]func() error{
				"scan": func() error { _, err := Scan(context.Background(), o); return err },
				"plan": func() error { _, err := PlanFor(context.Background(), o); return err },
			} {
				var connect *ErrConnect
				if err := run(); !errors.As(err, &connect) {
					t.Errorf("%s: got %v", what, err)
				}
			}
		})
	}
}

// TestEachAPIMissingInTurn: a cluster that does not have an API costs its source, and nothing else.
func TestEachAPIMissingInTurn(t *testing.T) {
	for key, source := range map[kmsg.Key]string{
		kmsg.DescribeConfigs: evidence.SourceConfigs, kmsg.ListOffsets: evidence.SourceOffsets, kmsg.InitProducerID: evidence.SourceCounter,
		kmsg.DescribeACLs: evidence.SourceACLs, kmsg.DescribeProducers: evidence.SourceSets, kmsg.ListTransactions: evidence.SourceTransactions,
		kmsg.Fetch: evidence.SourceTails,
	} {
		t.Run(key.Name(), func(t *testing.T) {
			all := kversion.Stable()
			some := &kversion.Versions{}
			all.EachMaxKeyVersion(func(k, v int16) {
				if k != int16(key) {
					some.SetMaxKeyVersion(k, v)
				}
			})
			c := fake(t, kfake.MaxVersions(some))
			if key != kmsg.InitProducerID {
				churn(t, c, "payments", 3)
			}
			scan := mustScan(t, quick(c))
			wantState(t, scan, source, evidence.Unsupported, evidence.Skipped)
			wantState(t, scan, evidence.SourceMetadata, evidence.Seen)
		})
	}
}

// TestBrokersThatLieAboutVersions: they offer versions that they do not have and close the connection when asked for one.
func TestBrokersThatLieAboutVersions(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 3)
	c.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		kversion.Tip().EachMaxKeyVersion(func(k, v int16) {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: v + 3})
		})
		return resp, nil, true
	})
	for _, key := range []kmsg.Key{kmsg.ListOffsets, kmsg.Fetch} {
		c.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			return nil, io.EOF, true
		})
	}
	scan := mustScan(t, quick(c))
	wantState(t, scan, evidence.SourceOffsets, evidence.Failed)
	wantState(t, scan, evidence.SourceCounter, evidence.Seen)
	wantState(t, scan, evidence.SourceConfigs, evidence.Seen)
}

// TestAnswersThatMakeNoSense: every API answers as if nothing had been asked, or with an error, or by closing the connection.
func TestAnswersThatMakeNoSense(t *testing.T) {
	keys := []kmsg.Key{kmsg.DescribeConfigs, kmsg.ListOffsets, kmsg.InitProducerID, kmsg.DescribeACLs, kmsg.DescribeProducers, kmsg.ListTransactions, kmsg.Fetch}
	for name, answer := range map[string]func(kmsg.Request) (kmsg.Response, error, bool){
		"empty":  func(req kmsg.Request) (kmsg.Response, error, bool) { return req.ResponseKind(), nil, true },
		"closed": func(kmsg.Request) (kmsg.Response, error, bool) { return nil, io.EOF, true },
	} {
		t.Run(name, func(t *testing.T) {
			c := fake(t)
			churn(t, c, "payments", 3)
			for _, key := range keys {
				c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					return answer(req)
				})
			}
			scan := mustScan(t, quick(c))
			wantState(t, scan, evidence.SourceOffsets, evidence.Failed)
			wantState(t, scan, evidence.SourceConfigs, evidence.Failed)
		})
	}
	t.Run("errors", func(t *testing.T) {
		c := fake(t)
		churn(t, c, "payments", 3)
		for _, key := range keys {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: -1})
		}
		scan := mustScan(t, quick(c))
		wantState(t, scan, evidence.SourceOffsets, evidence.Failed)
		wantState(t, scan, evidence.SourceConfigs, evidence.Failed)
		wantState(t, scan, evidence.SourceCounter, evidence.Failed)
	})
}

// TestGarbage: what answers is no broker at all.
func TestGarbage(t *testing.T) {
	for name, answer := range map[string]string{
		"http": "HTTP/1.1 400 Bad Request\r\n\r\n", "zeros": strings.Repeat("\x00", 4096), "huge": "\x7f\xff\xff\xff" + strings.Repeat("x", 4096), "nothing": "",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(answer))
					conn.Close()
				}
			}()
			_, err = Scan(context.Background(), Options{Bootstrap: []string{l.Addr().String()}, Timeout: time.Second})
			var connect *ErrConnect
			if !errors.As(err, &connect) || !strings.Contains(err.Error(), "KRaft controller's, a TLS or an HTTP port?") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestBudgetsHold: a scan stops asking when its budget is used up, and says so.
func TestBudgetsHold(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 5)
	const own = 4 * 5 // what the client says on each of its connections, and its first look at the brokers
	for _, requests := range []int64{1, 5, 12, 20, 40} {
		o := quick(c)
		o.RequestsMax = requests
		scan := mustScan(t, o)
		if scan.Budget.Requests > requests+own {
			t.Errorf("%d requests, allowed %d", scan.Budget.Requests, requests)
		}
		if !scan.Budget.Exhausted {
			t.Errorf("with %d requests the budget is not exhausted", requests)
		}
	}
	full := mustScan(t, quick(c)).Budget.Bytes
	for _, share := range []int64{8, 4, 2} {
		o := quick(c)
		o.BytesMax = full / share
		scan := mustScan(t, o)
		if scan.Budget.Bytes > o.BytesMax+own*apiVersionsBytes || !scan.Budget.Exhausted {
			t.Errorf("%d bytes, allowed %d, exhausted %v", scan.Budget.Bytes, o.BytesMax, scan.Budget.Exhausted)
		}
	}
}

// TestTimeMax: a scan of a cluster that falls silent behind its metadata ends when its time is over.
func TestTimeMax(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 3)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	for _, key := range []kmsg.Key{kmsg.DescribeConfigs, kmsg.ListOffsets, kmsg.InitProducerID, kmsg.Fetch} {
		c.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			c.SleepControl(func() { <-done })
			return nil, nil, false
		})
	}
	o := quick(c)
	o.TimeMax = 500 * time.Millisecond
	o.Timeout = time.Minute
	scan := mustScan(t, o)
	wantState(t, scan, evidence.SourceMetadata, evidence.Seen)
	line := wantState(t, scan, evidence.SourceConfigs, evidence.Failed, evidence.Partly)
	if !strings.Contains(line.Why, errTimeMax.Error()) {
		t.Errorf("configs: %s", line.Why)
	}
	wantState(t, scan, evidence.SourceCounter, evidence.Skipped)
}

// TestInterruptedAtTheStart: the first broker answers once and then no more. Who interrupts then is not kept waiting.
func TestInterruptedAtTheStart(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1))
	ctx, cancel := context.WithCancel(context.Background())
	done, asked := make(chan struct{}), 0
	t.Cleanup(func() { close(done) })
	c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if asked++; asked > 1 {
			cancel()
			c.SleepControl(func() { <-done })
		}
		return nil, nil, false
	})
	var connect *ErrConnect
	if _, err := Scan(ctx, quick(c)); !errors.As(err, &connect) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyAndSkip(t *testing.T) {
	c := fake(t)
	o := quick(c)
	o.Only = []string{evidence.SourceCounter}
	scan := mustScan(t, o)
	wantState(t, scan, evidence.SourceOffsets, evidence.Skipped)
	wantState(t, scan, evidence.SourceCounter, evidence.Seen)
	o.Only, o.Skip = nil, []string{evidence.SourceCounter}
	scan = mustScan(t, o)
	wantState(t, scan, evidence.SourceOffsets, evidence.Seen)
	wantState(t, scan, evidence.SourceCounter, evidence.Skipped)
	o.Skip = []string{"tea-leaves"}
	if _, err := Scan(context.Background(), o); err == nil {
		t.Error("a source that does not exist was skipped")
	}
	o.Skip, o.Topics = nil, []string{"audit", "no-such-topic"}
	scan = mustScan(t, o)
	if len(scan.Topics) != 1 || scan.Topics[0].Name != "audit" {
		t.Errorf("topics: %+v", scan.Topics)
	}
	wantState(t, scan, evidence.SourceMetadata, evidence.Partly)
}

// TestLevelZero: one probe per broker and nothing else.
func TestLevelZero(t *testing.T) {
	c := fake(t)
	var inits, others atomic.Int64
	c.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		switch req.Key() {
		case int16(kmsg.InitProducerID):
			inits.Add(1)
		case int16(kmsg.ApiVersions):
		case int16(kmsg.Metadata):
			if req.(*kmsg.MetadataRequest).Topics == nil {
				others.Add(1) // all topics
			}
		default:
			others.Add(1)
		}
		return nil, nil, false
	})
	o := quick(c)
	o.CounterOnly = true
	scan := mustScan(t, o)
	if inits.Load() != 4 || others.Load() != 0 || len(scan.Counter) != 4 {
		t.Errorf("%d probes, %d other requests, %d kept", inits.Load(), others.Load(), len(scan.Counter))
	}
}

// TestPlanIsNotExceeded: no source asks more than the plan said.
func TestPlanIsNotExceeded(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 20)
	o := quick(c)
	plan, err := PlanFor(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	scan := mustScan(t, o)
	const connects = 4 * 3 * 2 // words at the start of connections, counted with the source that opened them
	for _, step := range plan.Steps {
		line := scan.Source(step.Source)
		if line == nil || step.What == "" {
			t.Errorf("step %+v", step)
			continue
		}
		if line.Requests > step.Requests+connects || line.Bytes > step.Bytes+connects*2048 {
			t.Errorf("%s: %d requests and %d bytes, planned %d and %d", step.Source, line.Requests, line.Bytes, step.Requests, step.Bytes)
		}
	}
	if plan.Brokers != 4 || plan.Topics != 2 || plan.Partitions != 16 {
		t.Errorf("plan: %+v", plan)
	}
}

// TestInterrupted: what was seen until then is there, and the ledger says what was not.
func TestInterrupted(t *testing.T) {
	c := fake(t)
	churn(t, c, "payments", 3)
	ctx, cancel := context.WithCancel(context.Background())
	o := quick(c)
	o.Interval = time.Hour
	o.Progress = func(p Progress) {
		if p.Source == progressWaiting {
			cancel()
		}
	}
	scan, err := Scan(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{evidence.SourceCounter, evidence.SourceTails} {
		if line := wantState(t, scan, name, evidence.Partly); !strings.Contains(line.Why, "no second reading: interrupted") {
			t.Errorf("%s: %s", name, line.Why)
		}
	}
	wantState(t, scan, evidence.SourceOffsets, evidence.Seen)
	cancel()
	if _, err = Scan(ctx, quick(c)); err == nil {
		t.Error("a scan that was over before it began has no error")
	}
}

// TestTenThousandPartitions: what is kept of a large cluster stays small.
func TestTenThousandPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	opts := []kfake.Opt{kfake.NumBrokers(5)}
	for i := range 100 {
		opts = append(opts, kfake.SeedTopics(100, fmt.Sprintf("topic-%03d", i)))
	}
	c := fake(t, opts...)
	churn(t, c, "topic-042", 10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	scan := mustScan(t, quick(c))
	runtime.GC()
	runtime.ReadMemStats(&after)
	if len(scan.Partitions) != 10_016 {
		t.Errorf("%d partitions", len(scan.Partitions))
	}
	wantState(t, scan, evidence.SourceOffsets, evidence.Seen)
	t.Logf("%d requests, %d bytes, the scan holds %d KiB", scan.Budget.Requests, scan.Budget.Bytes, (int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024)
	if scan.Budget.Bytes > 32<<20 {
		t.Errorf("%d bytes were read", scan.Budget.Bytes)
	}
	runtime.KeepAlive(scan)
}

// TestTLSToAClearBroker must end.
func TestTLSToAClearBroker(t *testing.T) {
	c := fake(t)
	o := quick(c)
	o.Timeout = time.Second
	o.Client = []kgo.Opt{kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true})}
	_, err := Scan(context.Background(), o)
	var connect *ErrConnect
	if !errors.As(err, &connect) {
		t.Errorf("got %v", err)
	}
}
