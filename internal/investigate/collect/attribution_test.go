package collect

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/investigate/evidence"
)

// answerTransactions names a transactional id for each producer id from from on.
func answerTransactions(c *kfake.Cluster, from int64) *[]int64 {
	asked := new([]int64)
	c.ControlKey(int16(kmsg.ListTransactions), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := kreq.(*kmsg.ListTransactionsRequest)
		*asked = req.ProducerIDFilters
		resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
		for _, pid := range append(req.ProducerIDFilters, 99_999) { // the last was not asked for
			if pid >= from {
				s := kmsg.NewListTransactionsResponseTransactionState()
				s.TransactionalID, s.ProducerID, s.TransactionState = fmt.Sprintf("example-etl-%d", pid), pid, "CompleteCommit"
				resp.TransactionStates = append(resp.TransactionStates, s)
			}
		}
		return resp, nil, true
	})
	return asked
}

func TestTransactionsOfSeenProducers(t *testing.T) {
	for _, show := range []bool{false, true} {
		c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "leak"))
		write(t, c, "leak", 0, leak(100, 50, time.Now().UnixMilli()-60_000, 1000)...)
		asked := answerTransactions(c, 140)
		o := quick(c)
		o.ShowIDs = show
		scan := mustScan(t, o)
		wantState(t, scan, evidence.SourceTransactions, evidence.Seen)
		got := scan.Transactions
		if len(*asked) != 50 || got == nil || got.Seen != 50 || got.Listed != 10 || len(got.Known) != 10 {
			t.Fatalf("asked %v, got %+v", *asked, got)
		}
		if !reflect.DeepEqual(got.Prefixes, map[string]int64{"example-etl-": 10}) || !reflect.DeepEqual(got.States, map[string]int64{"CompleteCommit": 10}) {
			t.Errorf("%v %v", got.Prefixes, got.States)
		}
		first := got.Known[0]
		if shown := first.ID == "example-etl-140"; shown != show || first.PID != 140 || !strings.HasPrefix(first.ID, "example-etl-") {
			t.Errorf("%+v", first)
		}
	}
}

// Brokers answer who may not describe transactional ids with an empty list. That is no evidence that there are none.
func TestTransactionsThatMayNotBeSeen(t *testing.T) {
	for code, want := range map[int16]evidence.State{kerr.TransactionalIDAuthorizationFailed.Code: evidence.Denied, kerr.TransactionalIDNotFound.Code: evidence.Seen} {
		c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "leak"))
		write(t, c, "leak", 0, leak(100, 50, time.Now().UnixMilli()-60_000, 1000)...)
		answerTransactions(c, 1_000_000)
		c.ControlKey(int16(kmsg.DescribeTransactions), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := kreq.ResponseKind().(*kmsg.DescribeTransactionsResponse)
			state := kmsg.NewDescribeTransactionsResponseTransactionState()
			state.TransactionalID, state.ErrorCode = kreq.(*kmsg.DescribeTransactionsRequest).TransactionalIDs[0], code
			resp.TransactionStates = append(resp.TransactionStates, state)
			return resp, nil, true
		})
		scan := mustScan(t, quick(c))
		line := wantState(t, scan, evidence.SourceTransactions, want)
		if denied := want == evidence.Denied; (scan.Transactions == nil) != denied || (line.Permission == permissionTransactions) != denied {
			t.Errorf("%+v, %+v", line, scan.Transactions)
		}
	}
}

func TestMaskedIDs(t *testing.T) {
	for id, prefix := range map[string]string{
		"example-etl-17": "example-etl-#", "550e8400-e29b-41d4-a716-446655440000": "#", "example-etl-jane": "example-etl-#", "jane": "jane#", "janedoe": "jane#", "": "#",
		"x\xffy-7": "x#", strings.Repeat("long", 20): "long#",
	} {
		got := maskedID(id)
		if at := strings.IndexByte(got, '#'); at < 0 || len(got) != at+9 || !strings.HasPrefix(got, prefix) {
			t.Errorf("%q: %q, want %q and a hash", id, got, prefix)
		}
		if got != maskedID(id) || got == maskedID(id+"1") {
			t.Errorf("%q: the same id must look the same, and another must not", id)
		}
	}
}

func TestACLsOfSuspects(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "leak", "other"))
	write(t, c, "leak", 0, leak(100, 50, time.Now().UnixMilli()-60_000, 1000)...)
	rule := func(principal string, op kmsg.ACLOperation, permission kmsg.ACLPermissionType) kmsg.DescribeACLsResponseResourceACL {
		a := kmsg.NewDescribeACLsResponseResourceACL()
		a.Principal, a.Host, a.Operation, a.PermissionType = principal, "*", op, permission
		return a
	}
	var asked []string
	c.ControlKey(int16(kmsg.DescribeACLs), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := kreq.(*kmsg.DescribeACLsRequest)
		asked = append(asked, fmt.Sprint(*req.ResourceName, " ", req.ResourcePatternType))
		resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
		for name, pattern := range map[string]kmsg.ACLResourcePatternType{"leak": kmsg.ACLResourcePatternTypeLiteral, "le": kmsg.ACLResourcePatternTypePrefixed} {
			r := kmsg.NewDescribeACLsResponseResource()
			r.ResourceType, r.ResourceName, r.ResourcePatternType = kmsg.ACLResourceTypeTopic, name, pattern
			r.ACLs = append(r.ACLs, rule("User:writer-"+name, kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeAllow),
				rule("User:reader", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow), rule("User:banned", kmsg.ACLOperationWrite, kmsg.ACLPermissionTypeDeny))
			resp.Resources = append(resp.Resources, r)
		}
		return resp, nil, true
	})
	scan := mustScan(t, quick(c))
	wantState(t, scan, evidence.SourceACLs, evidence.Seen)
	want := &evidence.ACLsSeen{Topics: []string{"leak"}, ACLs: []evidence.ACL{
		{Principal: "User:writer-le", Host: "*", Operation: "WRITE", Permission: "ALLOW", Resource: "topic:le", Pattern: "prefixed"},
		{Principal: "User:writer-leak", Host: "*", Operation: "WRITE", Permission: "ALLOW", Resource: "topic:leak", Pattern: "literal"},
	}}
	if !reflect.DeepEqual(scan.ACLs, want) || !slices.Equal(asked, []string{"leak MATCH"}) {
		t.Errorf("asked %v\ngot  %+v\nwant %+v", asked, scan.ACLs, want)
	}
}

func TestNoAuthorizer(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "leak"))
	write(t, c, "leak", 0, leak(100, 50, time.Now().UnixMilli()-60_000, 1000)...)
	c.ControlKey(int16(kmsg.DescribeACLs), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.DescribeACLsResponse)
		resp.ErrorCode = kerr.SecurityDisabled.Code
		return resp, nil, true
	})
	scan := mustScan(t, quick(c))
	wantState(t, scan, evidence.SourceACLs, evidence.Seen)
	if scan.ACLs == nil || !scan.ACLs.NoAuthorizer {
		t.Errorf("%+v", scan.ACLs)
	}
}

func TestFingerprints(t *testing.T) {
	headers := []batch.RecordHeader{{Key: "x-example-app", Value: []byte("orders\x1b[31m")}, {Key: "trace", Value: nil}}
	records := func(codec int8, value []byte, h []batch.RecordHeader) []byte {
		b, err := batch.Build(nil, batch.Header{BaseOffset: 40, ProducerID: 12}, codec, []batch.Record{
			{Offset: 40, Key: []byte("550e8400-e29b-41d4-a716-446655440000"), Value: value, Headers: h}, {Offset: 41, Key: []byte("17"), Value: value, Headers: h}, {Offset: 42, Key: []byte("-4"), Value: value},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for codec := batch.CodecNone; codec <= batch.CodecZstd; codec++ {
		before := build(t, made{offset: 38, pid: -1, epoch: -1, sequence: -1}, made{offset: 39, pid: 5, sequence: 3})
		got, err := fingerprintOf(append(before, records(codec, []byte{0, 0, 0, 1, 1, 9, 9}, headers)...), true)
		want := &evidence.Fingerprint{
			Offset: 40, PID: 12, Records: 3, Codec: batch.CodecName(codec), KeyShape: "integer", ValueShape: "schema", SchemaID: 257,
			HeaderKeys: map[string]int64{"x-example-app": 2, "trace": 2}, Samples: map[string]string{"x-example-app": "orders?[31m", "trace": ""},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", batch.CodecName(codec), err, got, want)
		}
		if got, err := fingerprintOf(before, false); err != nil || got.PID != 5 || got.Samples != nil {
			t.Errorf("without a newborn producer: %+v, %v", got, err)
		}
		if codec != batch.CodecNone {
			bomb := records(codec, make([]byte, fingerprintUnfolded), nil)
			if _, err := fingerprintOf(bomb, false); !errors.Is(err, batch.ErrTooLarge) {
				t.Errorf("%s: a bomb gives %v", batch.CodecName(codec), err)
			}
		}
		damaged := records(codec, []byte("v"), headers)
		damaged[len(damaged)-3] ^= 1
		if _, err := fingerprintOf(damaged, false); !errors.Is(err, batch.ErrCorrupt) {
			t.Errorf("%s: damaged bytes give %v", batch.CodecName(codec), err)
		}
	}
	if _, err := fingerprintOf(nil, false); err == nil {
		t.Error("nothing has a fingerprint")
	}
}

func TestShapes(t *testing.T) {
	for in, want := range map[string]string{
		"": "empty", "550e8400-e29b-41d4-a716-446655440000": "uuid", "17": "integer", "-": "text", `{"a":1}`: "json", `{"a":`: "text", "[]": "json", "héllo wörld\n": "text",
		"\x00\x00\x00\x01\x02\x10": "schema", "\x00\x00\x00\x00\x00\x00\x01\x02": "binary", "\xff\xfe": "binary", "\x00\x00\x00\x00\x00\x09": "binary", "a\x07": "binary",
	} {
		if got := shape([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := shape(nil); got != "null" {
		t.Errorf("nil: %s", got)
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add(build(f, made{offset: 4, pid: 1, ms: 5, codec: batch.CodecGzip}))
	f.Add(build(f, made{offset: 4, pid: 1, ms: 5, codec: batch.CodecZstd}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fp, err := fingerprintOf(b, true)
		if err == nil && (len(fp.HeaderKeys) > evidence.FingerprintKeysMax || fp.KeyShape == "" && fp.Records > 0) {
			t.Errorf("%+v", fp)
		}
	})
}

func TestMetricsEndpoints(t *testing.T) {
	c := fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "example" || password != "secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, `jvm_memory_bytes_max{area="heap",} 1.0E9`)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/other", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "other_metric 1") })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `jvm_memory_bytes_used{area="heap",} 5`)
		for junk := []byte(strings.Repeat("x", 1<<20) + "\n"); ; {
			if _, err := w.Write(junk); err != nil {
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	o := quick(c)
	o.Only = []string{evidence.SourceMetrics}
	o.MetricsURLs = []string{
		strings.Replace(server.URL, "http://", "http://example:secret@", 1) + "/metrics?token=secret", server.URL + "/metrics", server.URL + "/loop", server.URL + "/other", server.URL + "/endless", "::", "ftp://x/y",
	}
	scan := mustScan(t, o)
	line := wantState(t, scan, evidence.SourceMetrics, evidence.Partly)
	if text := fmt.Sprint(line, scan.Metrics); strings.Contains(text, "secret") {
		t.Errorf("a password is shown: %s", text)
	}
	if len(scan.Metrics) != 2 || scan.Metrics[0].Values[evidence.MetricHeapMax] != 1e9 || scan.Metrics[1].Values[evidence.MetricHeapUsed] != 5 || scan.Metrics[0].Broker != 0 {
		t.Errorf("%+v", scan.Metrics)
	}
	if len(line.Errors) != 5 || line.Bytes > metricsBodyMax+1<<20 {
		t.Errorf("%d bytes, errors %q", line.Bytes, line.Errors)
	}
}
