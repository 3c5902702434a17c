package rows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/bench/bed"
	"ottla/bench/results"
)

const (
	idleConnections = 1000
	idleSettle      = 5 * time.Second  // after a start or a load, before it is called idle
	idleFor         = 10 * time.Second // at Plan.Scale 1
	idleLeast       = 2 * time.Second
	// answerMax bounds an answer to ApiVersions or Metadata, in bytes, and answerWithin how long it may take.
	answerMax    = 1 << 20
	answerWithin = 30 * time.Second
)

// Footprint measures what a broker costs that has nothing to do.
func Footprint() Section {
	return Section{
		Section: results.Section{
			Name: "footprint", Title: "A broker that has nothing to do", Row: "state",
			About: "Start: from the start of the process to its first answer to ApiVersions and Metadata, with an empty data directory. CPU is that of 10 s, begun 5 s after the start or the last " +
				"connection, as a share of one core. The idle connections have asked for ApiVersions and Metadata and stay open; memory a connection is the resident memory they added. " +
				"Kafka has a heap of 1 GiB, of which it has touched a part.",
			Metrics: []results.Metric{
				metric("start", "start", "s", results.Lower),
				metric("rss", "resident memory", "MiB", results.Lower),
				metric("cpu", "CPU, idle", "% of a core", results.Lower),
				metric("connection", "memory a connection", "KiB", results.Lower),
			},
		},
		Measure: measureFootprint,
	}
}

func measureFootprint(ctx context.Context, b *bed.Bed, p Plan, record func(results.Sample)) error {
	t := &stormTable{"footprint", b, p, record}
	for round := 1; round <= max(p.Rounds, 1); round++ {
		for _, kind := range inTurn(round, results.Kafka, results.Ottla) {
			if err := t.footprint(ctx, kind, round); err != nil {
				t.fail("empty", kind, round, 0, err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *stormTable) footprint(ctx context.Context, kind results.Broker, round int) error {
	k, err := t.bed.Start(ctx, kind, bed.Options{})
	if err != nil {
		return err
	}
	defer remove(k)
	empty, err := t.idle(ctx, k)
	if err != nil {
		return err
	}
	empty["start"] = k.ReadyAfter.Seconds()
	t.record(results.Sample{Section: t.section, Row: "empty", Broker: kind, Round: round, Values: empty})

	row := rounded(idleConnections) + " idle connections"
	before, err := k.RSS()
	if err != nil {
		return err
	}
	open, err := connections(ctx, k.Addr, idleConnections)
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	if err != nil {
		t.fail(row, kind, round, 0, err)
		return nil
	}
	values, err := t.idle(ctx, k)
	if err != nil {
		return err
	}
	values["connection"] = (values["rss"]*mebibyte - float64(before)) / 1024 / idleConnections
	t.record(results.Sample{Section: t.section, Row: row, Broker: kind, Round: round, Values: values})
	return nil
}

// idle waits until a broker has settled and reads its memory and what it uses of the processor.
func (t *stormTable) idle(ctx context.Context, k *bed.Broker) (map[string]float64, error) {
	if err := pause(ctx, idleSettle); err != nil {
		return nil, err
	}
	rss, err := k.RSS()
	if err != nil {
		return nil, err
	}
	before, err := k.CPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := pause(ctx, max(time.Duration(float64(idleFor)*t.plan.Scale), idleLeast)); err != nil {
		return nil, err
	}
	after, err := k.CPU()
	if err != nil {
		return nil, err
	}
	cpu := 100 * (after - before).Seconds() / time.Since(began).Seconds()
	return map[string]float64{"rss": float64(rss) / mebibyte, "cpu": cpu}, nil
}

// pause lets a time pass in which something is measured.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connections opens n connections, each of which gets answers to ApiVersions and Metadata. They are returned also with
// an error.
func connections(ctx context.Context, addr string, n int) (open []net.Conn, err error) {
	var dialer net.Dialer
	for i := range n {
		c, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return open, fmt.Errorf("connection %d: %w", i, err)
		}
		open = append(open, c)
		versions, metadata := kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrMetadataRequest()
		versions.SetVersion(3)
		metadata.SetVersion(9)
		if err := errors.Join(asked(c, versions), asked(c, metadata)); err != nil {
			return open, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return open, nil
}

// asked sends a request and reads an answer, of which only the length is looked at.
func asked(c net.Conn, req kmsg.Request) error {
	if err := c.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("idle")).AppendRequest(nil, req, 1)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > answerMax {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}
