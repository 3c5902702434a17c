package main

import (
	"context"
	"fmt"
	"io"
	"ottla/internal/measure"
	"time"
)

// probeResult is what one well-behaved producer saw.
type probeResult struct {
	latency measure.Histogram
	err     error
}

// startProbe runs a producer that keeps its id and writes one batch at a time, on a connection of its own, until ctx ends.
func startProbe(ctx context.Context, o options) <-chan probeResult {
	out := make(chan probeResult, 1)
	go func() {
		var r probeResult
		r.err = r.run(ctx, o)
		out <- r
	}()
	return out
}

func (r *probeResult) run(ctx context.Context, o options) error {
	templates, err := newTemplates(o.topic, o.partitions, o.recordBytes, -1)
	if err != nil {
		return err
	}
	l, err := dialLane(o.addr)
	if err != nil {
		return err
	}
	defer l.close()
	pid, epoch, err := l.producerID(ctx)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	id := batchID{pid: pid, epoch: epoch}
	ticker := time.NewTicker(o.probe)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		begun := time.Now()
		id.timeMillis = begun.UnixMilli()
		l.out = templates[0].append(l.out, l.expect(0), id)
		body, _, err := l.receive()
		if err != nil {
			return err
		}
		_, code, _, err := parseProduce(body, len(o.topic))
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("probe: Produce was answered with error %s", codeName(code))
		}
		r.latency.Record(time.Since(begun))
		id.sequence++
	}
}

func (r *probeResult) print(w io.Writer) {
	fmt.Fprintf(w, "steady producer: %d batches, p50 %s  p99 %s  max %s\n", r.latency.Count, r.latency.Quantile(0.50), r.latency.Quantile(0.99), r.latency.Max)
}
