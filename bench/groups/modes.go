package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/measure"
)

// each runs fn for 0 to n-1 at the same time and returns the first error.
func each(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = fn(i) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others are its echo
		}
	}
	return nil
}

// gatherBeat is how often members beat while others still join: a member that does not is left behind by the rebalance.
const gatherBeat = 200 * time.Millisecond

// gather makes members and has them join; the share of member i is group i % groups.
func gather(o options) ([]*member, error) {
	members := make([]*member, o.members)
	all := make(chan struct{})
	var joined atomic.Int64
	err := each(o.members, func(i int) error {
		m, err := newMember(o, fmt.Sprintf("%s-%d", o.prefix, i%o.groups))
		if err != nil {
			return err
		}
		members[i] = m
		if o.protocol == "consumer" {
			_, err = m.consumerBeat()
		} else {
			err = m.join()
		}
		if err != nil {
			return err
		}
		if joined.Add(1) == int64(o.members) {
			close(all)
		}
		for {
			select {
			case <-all:
				return nil
			case <-time.After(gatherBeat):
			}
			if err := m.beat(); err != nil {
				return err
			}
		}
	})
	return members, err
}

func heartbeat(ctx context.Context, o options, w io.Writer) error {
	begun := time.Now()
	members, err := gather(o)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d members in %d groups joined in %.2f s\n", o.members, o.groups, time.Since(begun).Seconds())
	beating := func(ctx context.Context, latency []measure.Histogram) (int64, error) {
		var beats atomic.Int64
		err := each(len(members), func(i int) error {
			// Spread over the interval, as members that started at different times are.
			timer := time.NewTimer(o.interval * time.Duration(i) / time.Duration(len(members)))
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-timer.C:
				}
				timer.Reset(o.interval)
				begun := time.Now()
				if err := members[i].beat(); err != nil {
					return err
				}
				latency[i%len(latency)].Record(time.Since(begun))
				beats.Add(1)
			}
		})
		return beats.Load(), err
	}
	// The first rounds end the rebalances that the joins left behind.
	settle, cancel := context.WithTimeout(ctx, 3*o.interval)
	_, err = beating(settle, make([]measure.Histogram, len(members)))
	cancel()
	if err != nil {
		return err
	}
	during, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	latency := make([]measure.Histogram, len(members))
	err = measured(o, w, "heartbeat", func() (int64, error) { return beating(during, latency) })
	printLatency(w, "latency", latency)
	return err
}

// printLatency prints what all counted together.
func printLatency(w io.Writer, what string, counted []measure.Histogram) {
	var all measure.Histogram
	for i := range counted {
		all.Add(&counted[i])
	}
	fmt.Fprintf(w, "%s: p50 %s  p99 %s  max %s\n", what, all.Quantile(0.5), all.Quantile(0.99), all.Max)
}

// rebalance measures one group: from the first join until every partition has an owner, and again when one more joins.
func rebalance(ctx context.Context, o options, w io.Writer) error {
	o.groups = 1
	begun := time.Now()
	members, err := gather(o)
	if err != nil {
		return err
	}
	if err := settleGroup(ctx, o, members); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d members: all %d partitions assigned %.2f s after the first join\n", len(members), o.partitions, time.Since(begun).Seconds())
	one, err := newMember(o, members[0].group)
	if err != nil {
		return err
	}
	begun = time.Now()
	joined := make(chan error, 1)
	go func() {
		if o.protocol == "consumer" {
			_, err := one.consumerBeat()
			joined <- err
			return
		}
		joined <- one.join()
	}()
	if o.protocol == "consumer" {
		if err := <-joined; err != nil {
			return err
		}
		members = append(members, one)
		err = settleGroup(ctx, o, members)
	} else {
		// Members learn of the rebalance by their heartbeats.
		err = each(len(members), func(i int) error {
			before := members[i].generation
			for members[i].generation == before {
				if err := members[i].beat(); err != nil {
					return err
				}
			}
			return nil
		})
		err = errors.Join(err, <-joined)
		members = append(members, one)
	}
	if err != nil {
		return err
	}
	owned := 0
	for _, m := range members {
		owned += m.assigned
	}
	fmt.Fprintf(w, "one more member: %d partitions assigned %.2f s after it joined\n", owned, time.Since(begun).Seconds())
	return each(len(members), func(i int) error { return members[i].leave() })
}

// settleGroup has all members beat until every partition has exactly one owner.
func settleGroup(ctx context.Context, o options, members []*member) error {
	for ctx.Err() == nil {
		owned, epoch, same := 0, members[0].generation, true
		for _, m := range members {
			owned += m.assigned
			same = same && m.generation == epoch && len(m.owned) == 0
		}
		if owned == o.partitions && same {
			return nil
		}
		if err := each(len(members), func(i int) error { return members[i].beat() }); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// commitRequest commits offsets of a group without members.
func commitRequest(o options, group string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = 8
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = o.topic
	for p := range o.partitions {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset = int32(p), offset
		t.Partitions = append(t.Partitions, one)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func committed(r kmsg.Response) error {
	for _, t := range r.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			if err := failed("OffsetCommit", p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

func commit(_ context.Context, o options, w io.Writer) error {
	requests := max(o.n/int64(o.partitions), 1)
	latency := make([]measure.Histogram, o.connections)
	err := measured(o, w, "committed offset", func() (int64, error) {
		var next atomic.Int64
		return requests * int64(o.partitions), each(o.connections, func(lane int) error {
			c, err := dial(o.addr)
			if err != nil {
				return err
			}
			defer c.close()
			var begun []time.Time
			for {
				for len(c.expected) < o.pipeline {
					i := next.Add(1) - 1
					if i >= requests {
						break
					}
					c.send(commitRequest(o, fmt.Sprintf("%s-%d", o.prefix, i%int64(o.groups)), i/int64(o.groups)))
					begun = append(begun, time.Now())
				}
				if len(c.expected) == 0 {
					return nil
				}
				r, err := c.receive()
				if err == nil {
					err = committed(r)
				}
				if err != nil {
					return err
				}
				latency[lane].Record(time.Since(begun[0]))
				begun = begun[1:]
			}
		})
	})
	printLatency(w, "latency of a request", latency)
	return err
}

// storm uses each group once. Start the broker with group.initial.rebalance.delay.ms=0, else that is what is measured.
func storm(_ context.Context, o options, w io.Writer) error {
	return measured(o, w, "single-use group", func() (int64, error) {
		var next atomic.Int64
		return o.n, each(o.connections, func(int) error {
			c, err := dial(o.addr)
			if err != nil {
				return err
			}
			defer c.close()
			for {
				i := next.Add(1) - 1
				if i >= o.n {
					return nil
				}
				m := &member{o: o, conn: c, group: fmt.Sprintf("%s-once-%d", o.prefix, i)}
				if o.protocol == "consumer" {
					_, err = m.consumerBeat()
				} else {
					err = m.join()
				}
				if err == nil {
					err = m.commit(i)
				}
				if err == nil {
					err = m.leave()
				}
				if err != nil {
					return fmt.Errorf("group %s: %w", m.group, err)
				}
			}
		})
	})
}

// commit commits as the member that it is.
func (m *member) commit(offset int64) error {
	req := commitRequest(m.o, m.group, offset)
	req.Version = 9
	req.MemberID, req.Generation = m.id, m.generation
	r, err := m.conn.ask(req)
	if err != nil {
		return err
	}
	return committed(r)
}
