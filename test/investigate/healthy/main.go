// Command healthy is the load of a cluster that nothing is wrong with, but that looks ill to a careless eye: long-lived
// idempotent producers, transactional ones of both protocol versions, a deployment that restarts its pods one after another,
// a producer that writes to a hundred partitions, a mirror, and a client of the time before idempotence.
//
// It prints "ready" when all of them have written and the restart is under way, and goes on until it is asked to end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fanOut is how many partitions one producer writes to, a record in each.
const fanOut = 100

// topics and their partitions.
var topics = map[string]int32{
	"shop.orders": 6, "shop.payments": 3, "shop.settlements": 3, "shop.inventory": 3, "shop.metrics": fanOut, "shop.legacy": 1, "mirror.shop.orders": 6,
}

type settings struct {
	bootstrap    string
	duration     time.Duration
	pods         int
	rolloutAfter time.Duration
	rolloutEvery time.Duration
	transactions bool
}

func main() {
	var s settings
	flag.StringVar(&s.bootstrap, "bootstrap", "127.0.0.1:9092", "`HOST:PORT` of a broker")
	flag.DurationVar(&s.duration, "duration", 5*time.Minute, "when to end")
	flag.IntVar(&s.pods, "pods", 40, "pods of the deployment that is restarted")
	flag.DurationVar(&s.rolloutAfter, "rollout-after", 15*time.Second, "when the rolling restart begins")
	flag.DurationVar(&s.rolloutEvery, "rollout-every", 500*time.Millisecond, "from one pod's restart to the next")
	flag.BoolVar(&s.transactions, "transactions", true, "also transactional producers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "healthy:", err)
		os.Exit(1)
	}
}

// cluster runs the parts of the load and counts what they have written.
type cluster struct {
	settings
	parts sync.WaitGroup
	mu    struct {
		sync.Mutex
		acknowledged map[string]int64 // records, by part
		failed       map[string]error // what a part has not got over
	}
}

func run(ctx context.Context, s settings) error {
	c := &cluster{settings: s}
	c.mu.acknowledged, c.mu.failed = map[string]int64{}, map[string]error{}
	if err := c.makeTopics(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	rollout := make(chan struct{})
	parts := []string{"rollout", "mirror", "fan-out", "legacy"}
	for i := range 6 {
		name := fmt.Sprintf("orders-%d", i)
		parts = append(parts, name)
		c.parts.Go(func() { c.steady(ctx, name, "shop.orders", 20*time.Millisecond) })
	}
	c.parts.Go(func() { c.steady(ctx, "legacy", "shop.legacy", 50*time.Millisecond, kgo.DisableIdempotentWrite()) })
	c.parts.Go(func() { c.fanOut(ctx) })
	c.parts.Go(func() { c.mirror(ctx) })
	c.parts.Go(func() { c.deployment(ctx, rollout) })
	if s.transactions {
		parts = append(parts, "transactions-v1", "transactions-v2")
		c.parts.Go(func() { c.transactions(ctx, "transactions-v1", "shop.payments", kgo.MaxVersions(firstTransactions())) })
		c.parts.Go(func() { c.transactions(ctx, "transactions-v2", "shop.settlements") })
	}
	c.parts.Go(func() { c.announce(ctx, parts, rollout) })
	c.parts.Wait()
	return c.report(parts)
}

func (c *cluster) makeTopics(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		answer, err := admin.CreateTopic(ctx, topics[name], 1, nil, name)
		if err = errors.Join(err, answer.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("making topic %s: %w", name, err)
		}
	}
	return nil
}

// announce says when everything runs.
func (c *cluster) announce(ctx context.Context, parts []string, rollout <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(c.silent(parts)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	select {
	case <-rollout:
		fmt.Println("ready")
	case <-ctx.Done():
	}
}

func (c *cluster) silent(parts []string) (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range parts {
		if c.mu.acknowledged[name] == 0 {
			out = append(out, name)
		}
	}
	return out
}

// report prints what each part has written; a part that failed or wrote nothing is an error.
func (c *cluster) report(parts []string) error {
	silent := c.silent(parts)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.mu.acknowledged)) {
		fmt.Printf("%s: %d records\n", name, c.mu.acknowledged[name])
	}
	var errs []error
	for name, err := range c.mu.failed {
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	if len(silent) > 0 {
		errs = append(errs, fmt.Errorf("nothing was written by %s", strings.Join(silent, ", ")))
	}
	return errors.Join(errs...)
}

// wrote counts one record of a part, or keeps the first error that is not the end of the run. An answer of the broker that refuses
// something stays; a lost connection is forgotten when the part writes again: brokers are restarted.
func (c *cluster) wrote(ctx context.Context, part string, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var refusal *kerr.Error
	switch {
	case err != nil && c.mu.failed[part] == nil:
		c.mu.failed[part] = err
	case err == nil:
		c.mu.acknowledged[part]++
		if !errors.As(c.mu.failed[part], &refusal) {
			delete(c.mu.failed, part)
		}
	}
}

// closeMax is how long the last records of a client may take.
const closeMax = 10 * time.Second

// client makes one more client; its closing waits for what is still on its way.
func (c *cluster) client(part string, more ...kgo.Opt) (*kgo.Client, func(), error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap), kgo.ClientID(part), kgo.ProducerLinger(0), kgo.UnknownTopicRetries(-1)}, more...)...)
	if err != nil {
		return nil, nil, err
	}
	return client, func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeMax)
		defer cancel()
		_ = client.Flush(ctx)
		client.Close()
	}, nil
}
