package collect

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// attributed reads log files and prints what was counted, a line for each client, without the seconds.
func attributed(t *testing.T, c *logCounter, files ...string) string {
	t.Helper()
	for _, f := range files {
		if _, err := c.readFile(context.Background(), f); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	out, _ := c.attributions()
	for _, a := range out {
		if a.Seconds <= 0 {
			t.Errorf("%+v: over no time", a)
		}
		fmt.Fprintf(&b, "%s|%s|%s|%s|%s inits %d matched %d produces %d\n", a.ClientID, a.Principal, a.Address, a.Software, a.Topic, a.Inits, a.Matched, a.Produces)
	}
	return b.String()
}

// The files are from real brokers of these versions, with a client that makes a producer for each record. Where no topic is named it
// wrote to two, and where one is named it is because the ids or the names of topics say so.
func TestLogsOfReleases(t *testing.T) {
	for _, test := range []struct {
		file, want string
		pids       []int64
	}{
		{"request-2.3.1.log", "example-orders-*|User:ANONYMOUS|127.0.0.1|| inits 3 matched 2 produces 2\n", []int64{0, 1}},
		{"request-2.8.2.log", "example-orders-*|User:ANONYMOUS|127.0.0.1|example-app 1.2| inits 3 matched 2 produces 2\n", []int64{401, 402}},
		{"request-4.3.1.log", "example-orders-*|User:ANONYMOUS|127.0.0.1|example-app 1.2|orders inits 3 matched 2 produces 2\n", []int64{401, 402}},
		{"authorizer-2.3.1.log", "|User:ANONYMOUS|127.0.0.1||orders inits 3 matched 0 produces 2\n", nil},
		{"authorizer-2.8.2.log", "|User:ANONYMOUS|127.0.0.1||churn inits 3 matched 0 produces 2\n", nil},
		{"authorizer-4.3.1.log", "|User:ANONYMOUS|127.0.0.1||churn inits 3 matched 0 produces 2\n", nil},
	} {
		topics := map[int64]string{}
		for _, pid := range test.pids {
			topics[pid] = "orders"
		}
		c := newLogCounter(topics)
		got := attributed(t, c, filepath.Join("testdata", "logs", test.file))
		if got != test.want {
			t.Errorf("%s:\n%swant\n%s", test.file, got, test.want)
		}
	}
}

func TestLogLines(t *testing.T) {
	for _, test := range []struct {
		line string
		want request
	}{
		{`[2026-01-31 12:00:00,123] DEBUG Completed request:RequestHeader(apiKey=INIT_PRODUCER_ID, apiVersion=3, clientId=a, correlationId=1, b, correlationId=2) -- {transactional_id=null},response:{throttle_time_ms=0,error_code=0,producer_id=7,producer_epoch=0} from connection 10.0.0.1:9092-10.0.0.7:5000-4;totalTime:5.1,securityProtocol:SASL_SSL,principal:User:CN=x,O=y,listener:L,clientInformation:ClientInformation(softwareName=apache-kafka-java, softwareVersion=2.5.0) (kafka.request.logger)`,
			request{init: true, pid: 7, clientID: "a", principal: "User:CN=x,O=y", address: "10.0.0.7", software: "apache-kafka-java 2.5.0"}},
		{`Completed request:{api_key=22,api_version=0,correlation_id=1,client_id=producer-1} -- {transactional_id=null},response:{error_code=51,producer_id=-1} from connection 10.0.0.1:9092-0:0:0:0:0:0:0:1:5000-4;totalTime:1,principal:User:a,listener:L`,
			request{init: true, pid: -1, clientID: "producer-1", principal: "User:a", address: "0:0:0:0:0:0:0:1"}},
		{`Principal = User:a is Allowed Operation = Write from host = 10.0.0.7 on resource = Topic:orders (kafka.authorizer.logger)`,
			request{pid: -1, principal: "User:a", address: "10.0.0.7", topic: "orders"}},
		{`Principal = User:a is Denied Operation = Write from host = 10.0.0.7 on resource = Topic:orders`, request{}},
		{`Principal = User:a is Allowed operation = WRITE from host = 10.0.0.7 on resource = Topic:LITERAL:o for request = AddPartitionsToTxn with resourceRefCount = 1`, request{}},
		{`Completed request:{"requestHeader":{"requestApiKey":22,"clientId":"x"`, request{}}, // cut off
		{`Completed request:{"requestHeader":{"requestApiKey":1,"clientId":"x"}}`, request{}},
		{`Completed request:`, request{}},
		{``, request{}},
	} {
		got, ok := parseLogLine([]byte(test.line))
		got.at = lineDate(nil)
		if got != test.want || ok != (test.want != request{}) {
			t.Errorf("%.60s...: %+v, %v", test.line, got, ok)
		}
	}
}

func TestFamily(t *testing.T) {
	for in, want := range map[string]string{
		"producer-17": "producer-*", "payments-v2": "payments-v2", "": "", "sarama": "sarama", "a_0": "a_*",
		"app-550e8400-e29b-41d4-a716-446655440000": "app-*", "job-5f3a9c1b77-x2x": "job-*-x2x",
	} {
		if got := family(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestLogsStayBounded(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	line := func(client string) {
		fmt.Fprintf(z, "Completed request:RequestHeader(apiKey=INIT_PRODUCER_ID, apiVersion=3, clientId=%s, correlationId=2) -- {},response:{error_code=0,producer_id=1,x} from connection a:1-b:2-3;\n", client)
	}
	const clients = 2 * logClientsMax
	for i := range clients {
		line(fmt.Sprintf("x%dx", i))
		if i%10 == 0 {
			line("leak")
		}
	}
	fmt.Fprintln(z, strings.Repeat("y", 3*logLineMax))
	line("leak")
	z.Close()
	name := filepath.Join(t.TempDir(), "request.log.gz")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newLogCounter(nil)
	lines, err := c.readFile(context.Background(), name)
	if err != nil || lines != clients+clients/10+1 || c.long != 1 {
		t.Fatalf("%d lines, %d too long, %v", lines, c.long, err)
	}
	out, left := c.attributions()
	if len(c.counts) > logClientsMax || len(out) != evidence.AttributionsMax || out[0].ClientID != "leak" || out[0].Inits != clients/10+1 {
		t.Errorf("%d counted, %d given, first %+v", len(c.counts), len(out), out[0])
	}
	if n := int64(len(out)) + left + c.forgotten; n != clients+1 {
		t.Errorf("%d clients accounted for", n)
	}
	if err := os.WriteFile(name, b.Bytes()[:b.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if lines, err := newLogCounter(nil).readFile(context.Background(), name); err == nil || lines == 0 {
		t.Errorf("of half a file %d lines, %v", lines, err)
	}
}

// endless is a line that never ends.
type endless struct {
	cancel context.CancelFunc
	reads  int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.reads++; e.reads == 3 {
		e.cancel()
	}
	if e.reads > 10 {
		return 0, errors.New("read on after the end of the scan")
	}
	return len(b), nil
}

func TestALineWithoutEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, err := newLogCounter(nil).read(ctx, "zero", bufio.NewReaderSize(&endless{cancel: cancel}, 16))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestAPipeThatSaysNothing: nobody writes to it, or somebody does and stops.
func TestAPipeThatSaysNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	if lines, err := newLogCounter(nil).readFile(t.Context(), name); lines != 0 || err != nil {
		t.Errorf("without a writer: %d lines, %v", lines, err)
	}
	w, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fmt.Fprintln(w, "hello\nthere")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errTimeMax)
	defer cancel()
	if lines, err := newLogCounter(nil).readFile(ctx, name); lines != 0 || !errors.Is(err, errTimeMax) {
		t.Errorf("with a silent one: %d lines, %v", lines, err)
	}
}

func FuzzParseLogLine(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "logs", "*"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range slices.Collect(bytes.Lines(b)) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		c := newLogCounter(nil)
		n, err := c.read(context.Background(), "x", bufio.NewReaderSize(bytes.NewReader(line), 256))
		if out, _ := c.attributions(); err != nil || n > 0 && len(out) == 0 {
			t.Errorf("%d lines, %v, %v", n, out, err)
		}
	})
}
