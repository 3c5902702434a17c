package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"ottla/internal/measure"
	"strings"
	"sync"
	"time"
)

// sampledProducer is what is needed to send a producer's batches again, and what must be answered.
type sampledProducer struct {
	pid        int64
	epoch      int16
	partition  int
	timeMillis int64
	offsets    []int64 // of its batches, whose sequences are 0, 1, 2 ...
}

type sample struct{ producers []sampledProducer }

// sampleHeader is the first line of a sample file; each further line is a producer.
type sampleHeader struct {
	Topic       string `json:"topic"`
	Partitions  int    `json:"partitions"`
	RecordBytes int    `json:"record_bytes"`
	Acks        int    `json:"acks"`
	Producers   int    `json:"producers"`
}

func (s *sample) write(o options) (err error) {
	f, err := os.Create(o.sampleFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	if err := json.NewEncoder(w).Encode(sampleHeader{o.topic, o.partitions, o.recordBytes, o.acks, len(s.producers)}); err != nil {
		return err
	}
	for _, p := range s.producers {
		fmt.Fprintf(w, "%d %d %d %d %s\n", p.pid, p.epoch, p.partition, p.timeMillis, strings.Trim(fmt.Sprint(p.offsets), "[]"))
	}
	return w.Flush()
}

func readSample(name string) (sampleHeader, sample, error) {
	var (
		header sampleHeader
		s      sample
	)
	f, err := os.Open(name)
	if err != nil {
		return header, s, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if !lines.Scan() {
		return header, s, fmt.Errorf("%s is empty", name)
	}
	if err := json.Unmarshal(lines.Bytes(), &header); err != nil {
		return header, s, fmt.Errorf("%s: %w", name, err)
	}
	for lines.Scan() {
		p, err := parseProducer(lines.Text(), header.Partitions)
		if err != nil {
			return header, s, fmt.Errorf("%s: %q: %w", name, lines.Text(), err)
		}
		s.producers = append(s.producers, p)
	}
	if len(s.producers) != header.Producers {
		return header, s, fmt.Errorf("%s has %d producers, its first line says %d", name, len(s.producers), header.Producers)
	}
	return header, s, lines.Err()
}

func parseProducer(line string, partitions int) (sampledProducer, error) {
	var p sampledProducer
	r := strings.NewReader(line)
	if _, err := fmt.Fscan(r, &p.pid, &p.epoch, &p.partition, &p.timeMillis); err != nil {
		return p, err
	}
	for {
		var offset int64
		if _, err := fmt.Fscan(r, &offset); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return p, err
		}
		p.offsets = append(p.offsets, offset)
	}
	if p.partition < 0 || p.partition >= partitions || len(p.offsets) == 0 || len(p.offsets) > batchesMax {
		return p, errors.New("out of range")
	}
	return p, nil
}

// retryResult counts how retries were answered.
type retryResult struct {
	right   int64
	moved   int64           // error 0, another offset: stored a second time, or remembered wrongly
	refused map[int16]int64 // by error code
	latency measure.Histogram
}

// retrySample sends every batch of the sample again. Each must be answered with error 0 and its first offset.
func retrySample(ctx context.Context, o options, stdout io.Writer) error {
	header, s, err := readSample(o.sampleFile)
	if err != nil {
		return err
	}
	templates, err := newTemplates(header.Topic, header.Partitions, header.RecordBytes, header.Acks)
	if err != nil {
		return err
	}
	started := time.Now()
	total := retryResult{refused: map[int16]int64{}}
	var (
		mu    sync.Mutex
		lanes sync.WaitGroup
		errs  = make([]error, o.connections)
	)
	for i := range o.connections {
		lanes.Go(func() {
			share := s.producers[len(s.producers)*i/o.connections : len(s.producers)*(i+1)/o.connections]
			result, err := retryShare(ctx, o, header.Topic, templates, share)
			mu.Lock()
			defer mu.Unlock()
			total.add(result)
			errs[i] = err
		})
	}
	lanes.Wait()
	return errors.Join(firstError(errs), total.print(stdout, len(s.producers), time.Since(started)))
}

func (t *retryResult) add(r retryResult) {
	t.right += r.right
	t.moved += r.moved
	t.latency.Add(&r.latency)
	for code, n := range r.refused {
		t.refused[code] += n
	}
}

func (t *retryResult) print(w io.Writer, producers int, elapsed time.Duration) error {
	fmt.Fprintf(w, "retried %d producers in %.2f s: %d batches answered with error 0 and their original offset\n", producers, elapsed.Seconds(), t.right)
	fmt.Fprintf(w, "latency of a retry: p50 %s  p99 %s  max %s\n", t.latency.Quantile(0.50), t.latency.Quantile(0.99), t.latency.Max)
	bad := t.moved
	if t.moved > 0 {
		fmt.Fprintf(w, "WRONG: %d batches answered with error 0 and another offset\n", t.moved)
	}
	for code, n := range t.refused {
		fmt.Fprintf(w, "WRONG: %d batches answered with error %s\n", n, codeName(code))
		bad += n
	}
	if bad > 0 {
		return fmt.Errorf("%d retries were not recognised", bad)
	}
	return nil
}

// retryJob is a batch on its way and the offset it must be answered with.
type retryJob struct {
	sent time.Time
	want int64
}

func retryShare(ctx context.Context, o options, topic string, templates []template, share []sampledProducer) (retryResult, error) {
	r := retryResult{refused: map[int16]int64{}}
	l, err := dialLane(o.addr)
	if err != nil {
		return r, err
	}
	defer l.close()
	jobs := make([]retryJob, 0, o.pipeline*batchesMax)
	answers := func(atMost int) error {
		for len(l.slots)-l.head > atMost {
			body, slot, err := l.receive()
			if err != nil {
				return err
			}
			correlation, code, offset, err := parseProduce(body, len(topic))
			if err == nil {
				err = l.matches(correlation)
			}
			if err != nil {
				return err
			}
			r.count(code, offset, jobs[slot])
		}
		return nil
	}
	next := 0
	for range o.retries {
		for _, p := range share {
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			for sequence, offset := range p.offsets {
				if len(jobs) < cap(jobs) {
					jobs = append(jobs, retryJob{})
				} else if err := answers(len(jobs) - 1); err != nil {
					return r, err
				}
				slot := next % cap(jobs)
				next++
				jobs[slot] = retryJob{time.Now(), offset}
				l.out = templates[p.partition].append(l.out, l.expect(int32(slot)), batchID{p.pid, p.epoch, int32(sequence), p.timeMillis})
			}
		}
	}
	return r, answers(0)
}

func (r *retryResult) count(code int16, offset int64, job retryJob) {
	r.latency.Record(time.Since(job.sent))
	switch {
	case code != 0:
		r.refused[code]++
	case offset != job.want:
		r.moved++
	default:
		r.right++
	}
}
