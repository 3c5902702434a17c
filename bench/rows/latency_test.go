package rows

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"ottla/bench/null"
)

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, test := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{nil, 0.5, 0},
		{hundred[:1], 0.999, 1},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.999, 100},
		{hundred, 1, 100},
	} {
		if got := quantile(test.of, test.q); got != test.want {
			t.Errorf("quantile %v of %d: %v, want %v", test.q, len(test.of), got, test.want)
		}
	}
}

func fakeBroker(t *testing.T, topic string, partitions int32) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

// TestOpenLoad: each record has its latency, also when a topic has records of an earlier load.
func TestOpenLoad(t *testing.T) {
	o := openLoad{addr: fakeBroker(t, "load", 3), topic: "load", partitions: 3, rate: 500, warm: 100 * time.Millisecond, measured: 200 * time.Millisecond, consume: true}
	for range 2 {
		got, err := o.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.acked) != 100 || len(got.consumed) != 100 || len(got.late) != 100 {
			t.Fatalf("%d acknowledged, %d consumed, %d sent, want 100", len(got.acked), len(got.consumed), len(got.late))
		}
		if got.acked[0] <= 0 || got.consumed[0] <= 0 {
			t.Errorf("latencies from %v and %v", got.acked[0], got.consumed[0])
		}
	}
}

// nullServer is a server in this process.
func nullServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- null.Serve(ctx, l, 3) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOpenLoadOfNothingStored(t *testing.T) {
	o := openLoad{addr: nullServer(t), topic: "load", partitions: 3, rate: 500, measured: 100 * time.Millisecond}
	got, err := o.run(t.Context())
	if err != nil || len(got.acked) != 50 {
		t.Errorf("%d acknowledged, %v", len(got.acked), err)
	}
}

// TestOpenLoadFails: no server, no numbers.
func TestOpenLoadFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	o := openLoad{addr: "127.0.0.1:1", topic: "load", partitions: 1, rate: 100, measured: 10 * time.Millisecond}
	if got, err := o.run(ctx); err == nil {
		t.Errorf("%+v", got)
	}
}

func TestConnections(t *testing.T) {
	open, err := connections(t.Context(), nullServer(t), 5)
	if err != nil || len(open) != 5 {
		t.Errorf("%d open, %v", len(open), err)
	}
	for _, c := range open {
		c.Close()
	}
}

func TestTouchAndReadable(t *testing.T) {
	addr := fakeBroker(t, "many", 20)
	if err := touchPartitions(t.Context(), addr, "many", 20); err != nil {
		t.Error(err)
	}
	if err := readable(t.Context(), addr, "many", 20); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := readable(ctx, addr, "many", 21); err == nil {
		t.Error("21 partitions of 20 are readable")
	}
}
