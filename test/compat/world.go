package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	actPartitions = 4
	actRecords    = 1000 // before the first kill, and half as many after it
	nextRecords   = 20   // for the member that reads on at the end
	startsAtOnce  = 3    // JVMs and interpreters need a core each to start
	leaveMax      = 60 * time.Second
	// A dead member is missed after its session timeout, 45 s by default; the others may take as long to join again.
	stepMax     = 150 * time.Second
	trickleGap  = 250 * time.Millisecond
	lookGap     = 100 * time.Millisecond
	parallelMax = 24 // acts on stage at once: three processes each
)

// act is one client's turn: its topic, its group, its members.
type act struct {
	s       *suite
	d       *driver
	topic   string
	group   string
	ledger  *ledger
	members []*process
	next    int64 // the number of the next record; while records trickle, the trickle's
	failed  bool
}

// world plays all drivers at the same time, step by step: one broker is killed for all of them.
func (s *suite) world(ctx context.Context) {
	if s.broker.cmd == nil {
		s.check(ctx, "clients of the world", func(context.Context) error { return fmt.Errorf("%w: the broker is not our process", errSkip) })
		return
	}
	all, err := findDrivers(s.options.drivers, s.options.clients)
	if err != nil || len(all) == 0 {
		s.check(ctx, "clients of the world", func(context.Context) error { return fmt.Errorf("no drivers in %s: %v", s.options.drivers, err) })
		return
	}
	all = s.installAll(ctx, s.quick(ctx, all))
	for part := range slices.Chunk(all, parallelMax) {
		var acts []*act
		for _, d := range part {
			label := strings.Trim(regexp.MustCompile(`[^a-zA-Z0-9.-]+`).ReplaceAllString(d.name(), "-"), "-")
			a := &act{s: s, d: d, topic: "world-" + label, group: "group-" + label, ledger: newLedger(actPartitions)}
			if d.late != "" {
				a.ledger.late = lateMax
			}
			acts = append(acts, a)
		}
		s.play(ctx, acts)
	}
}

// play is on the main goroutine, which alone may start the broker.
func (s *suite) play(ctx context.Context, acts []*act) {
	defer func() {
		for _, a := range acts {
			a.killAll()
		}
	}()
	slots := make(chan struct{}, startsAtOnce)
	each := func(command, what string, few bool, f func(*act, context.Context) error) {
		var wg sync.WaitGroup
		for _, a := range acts {
			wg.Go(func() {
				if few {
					slots <- struct{}{}
					defer func() { <-slots }()
				}
				a.step(ctx, command, what, f)
			})
		}
		wg.Wait()
	}
	each("produce", "produces", true, func(a *act, ctx context.Context) error { return a.produce(ctx, actRecords) })
	s.killAndRestart(ctx)
	each("produce", "produces after kill -9", true, func(a *act, ctx context.Context) error { return a.produce(ctx, actRecords/2) })
	each("assign", "reads by assignment after kill -9", true, (*act).assign)
	acts = slices.DeleteFunc(acts, func(a *act) bool { return a.cannot("group") })
	each("group", "two members read all", false, (*act).firstMembers)
	trickle := s.startTrickle(ctx, acts)
	s.killAndRestart(ctx)
	each("group", "the group goes on after kill -9 of the broker", false, func(a *act, ctx context.Context) error {
		return a.allSeen(ctx, trickle)
	})
	each("group", "a member added takes part", false, func(a *act, ctx context.Context) error { return a.join(ctx, "third") })
	each("group", "a member killed with -9 is replaced", false, func(a *act, ctx context.Context) error {
		a.members[0].kill()
		return a.allSeen(ctx, trickle)
	})
	each("group", "a member restarted takes part", false, func(a *act, ctx context.Context) error { return a.join(ctx, "first again") })
	s.check(ctx, "records trickle", func(context.Context) error { return trickle.stop() })
	each("group", "all is read in the end", false, func(a *act, ctx context.Context) error { return a.allSeen(ctx, nil) })
	each("group", "members leave on SIGTERM", false, (*act).leave)
	each("group", "all that was read is committed", false, (*act).allCommitted)
	each("group", "the next member reads on from the commit", true, (*act).readOn)
	each("group", "every record seen, none again before a commit", false, (*act).verdict)
}

func (s *suite) killAndRestart(ctx context.Context) {
	s.check(ctx, "the broker is killed with -9 and restarted", func(ctx context.Context) error {
		s.broker.kill()
		return s.broker.start(ctx)
	})
}

func (a *act) cannot(command string) bool {
	reason, is := a.d.cannot[command]
	if is && !a.failed {
		ctx := about(context.Background(), a.d.subject())
		a.s.check(ctx, a.d.name()+": "+command, func(context.Context) error { return fmt.Errorf("%w: %s", errSkip, reason) })
	}
	return is
}

// areas are the commands in the report card.
var areas = map[string]string{"produce": "produces, also after kill -9 of the broker", "assign": "reads by assignment",
	"group": "reads in a group, with members added, killed and restarted, and the broker killed"}

// step is a check of one act, unless an earlier one failed or the client has no such thing.
func (a *act) step(ctx context.Context, command, what string, f func(*act, context.Context) error) {
	if _, cannot := a.d.cannot[command]; a.failed || cannot {
		return
	}
	who := a.d.subject()
	who.Area = areas[command]
	ctx = about(ctx, who)
	name := a.d.name() + ": " + what
	if !a.s.check(ctx, name, func(ctx context.Context) error { return f(a, ctx) }) {
		a.failed = true
		a.killAll()
	}
}

func (a *act) killAll() {
	for _, p := range a.members {
		if p.running() {
			p.kill()
		}
	}
}

// produce lets the driver write count records and looks at the log itself.
func (a *act) produce(ctx context.Context, count int64) error {
	if a.next == 0 {
		if err := a.s.createTopic(ctx, a.topic, actPartitions, nil); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	err := a.until(ctx, func() bool { _, err := a.s.ends(ctx, a.topic); return err == nil }, func() string { return "the topic does not come" })
	if err != nil {
		return err
	}
	p, err := a.s.start(a.d, "produce", func(string) {}, "produce", a.topic, fmt.Sprint(a.next), fmt.Sprint(a.next+count))
	if err != nil {
		return err
	}
	if err := p.end(ctx); err != nil {
		return err
	}
	a.next += count
	// By default some clients ask for no acknowledgement, or for one that comes before the record is to be seen.
	err = a.until(ctx, func() bool {
		ends, err := a.s.ends(ctx, a.topic)
		return err == nil && sum(ends) >= a.next
	}, func() string { return "what was written never came" })
	if err != nil {
		return err
	}
	log, err := a.log(ctx)
	if err != nil {
		return err
	}
	return allNumbered(log, a.next)
}

// log reads the topic with the suite's own client.
func (a *act) log(ctx context.Context) ([]record, error) {
	log, err := (&franzClient{a.s}).consume(ctx, a.topic)
	for _, r := range log {
		a.ledger.wrote(r.partition, r.offset+1)
	}
	return log, err
}

// allNumbered: the log holds the records 0 to count, each as it must be. Nothing befell the broker while they were written,
// so none may be there twice.
func allNumbered(log []record, count int64) error {
	found := make([]bool, count)
	for _, r := range log {
		var i int64
		if _, err := fmt.Sscanf(string(r.value), "v%d-", &i); err != nil || i < 0 || i >= count {
			return fmt.Errorf("%d-%d holds %.80q", r.partition, r.offset, r.value)
		}
		if string(r.key) != numberedKey(i) || string(r.value) != numberedValue(i) {
			return fmt.Errorf("record %d is %.40q %.100q at %d-%d", i, r.key, r.value, r.partition, r.offset)
		}
		for _, h := range r.headers {
			if h.key != "h" || string(h.value) != fmt.Sprint(i) {
				return fmt.Errorf("record %d has header %q=%q", i, h.key, h.value)
			}
		}
		if found[i] {
			return fmt.Errorf("record %d is there twice, again at %d-%d", i, r.partition, r.offset)
		}
		found[i] = true
	}
	if lost := slices.Index(found, false); lost >= 0 {
		return fmt.Errorf("record %d was acknowledged and is not there, %d of %d are", lost, len(log), count)
	}
	return nil
}

// assign compares what the driver reads with the log, record by record and in order within a partition.
func (a *act) assign(ctx context.Context) error {
	log, err := a.log(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	next := make([][]seen, actPartitions)
	var wrong error
	p, err := a.s.start(a.d, "assign", func(line string) {
		r, err := parseSeen(line)
		if err == nil && (r.partition < 0 || r.partition >= actPartitions) {
			err = fmt.Errorf("partition %d", r.partition)
		}
		if err != nil {
			wrong = cmpErr(wrong, err)
			return
		}
		next[r.partition] = append(next[r.partition], r)
	}, "assign", a.topic, fmt.Sprint(len(log)))
	if err != nil {
		return err
	}
	if err := errors.Join(p.end(ctx), wrong); err != nil {
		return err
	}
	for _, want := range log {
		rest := next[want.partition]
		if len(rest) == 0 {
			return fmt.Errorf("%d-%d was not read", want.partition, want.offset)
		}
		if got := rest[0]; got.offset != want.offset || got.key != string(want.key) || got.value != string(want.value) {
			return fmt.Errorf("read %d-%d %.40q %.40q, expected %d %.40q %.40q", got.partition, got.offset, got.key, got.value, want.offset, want.key, want.value)
		}
		next[want.partition] = rest[1:]
	}
	for p, rest := range next {
		if len(rest) > 0 {
			return fmt.Errorf("%d records too many of partition %d", len(rest), p)
		}
	}
	return nil
}

func sum(of []int64) (total int64) {
	for _, n := range of {
		total += n
	}
	return total
}

func (s *suite) ends(ctx context.Context, topic string) (ends []int64, err error) {
	err = s.admin(ctx, func(a *kadm.Client) error {
		listed, err := a.ListEndOffsets(ctx, topic)
		if err = errors.Join(err, listed.Error()); err != nil {
			return err
		}
		for p := range int32(actPartitions) {
			o, found := listed.Lookup(topic, p)
			if !found {
				return fmt.Errorf("no partition %d", p)
			}
			ends = append(ends, o.Offset)
		}
		return nil
	})
	return ends, err
}

// trickle writes records to the topics of all acts, one to each partition, again and again.
type trickle struct {
	cancel context.CancelFunc
	done   chan error
	mu     sync.Mutex
	acked  map[*act]int // rounds that are written
}

func (s *suite) startTrickle(ctx context.Context, acts []*act) *trickle {
	ctx, cancel := context.WithCancel(ctx)
	t := &trickle{cancel: cancel, done: make(chan error, 1), acked: map[*act]int{}}
	go func() { t.done <- s.runTrickle(ctx, acts, t) }()
	return t
}

func (s *suite) runTrickle(ctx context.Context, acts []*act, t *trickle) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // not every client has every codec by default
	if err != nil {
		return err
	}
	defer cl.Close()
	again := time.NewTicker(trickleGap)
	defer again.Stop()
	for ctx.Err() == nil {
		if err := writeRound(cl, acts, t); err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// writeRound is not interrupted: the broker may be away for a while.
func writeRound(cl *kgo.Client, acts []*act, t *trickle) error {
	ctx, cancel := context.WithTimeout(context.Background(), stepMax)
	defer cancel()
	var round []*kgo.Record
	byTopic := map[string]*act{}
	for _, a := range acts {
		if a.failed {
			continue
		}
		byTopic[a.topic] = a
		for p := range int32(actPartitions) {
			round = append(round, &kgo.Record{Topic: a.topic, Partition: p, Key: []byte(numberedKey(a.next)), Value: []byte(numberedValue(a.next))})
			a.next++
		}
	}
	if err := cl.ProduceSync(ctx, round...).FirstErr(); err != nil {
		return err
	}
	for _, r := range round {
		byTopic[r.Topic].ledger.wrote(r.Partition, r.Offset+1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range byTopic {
		t.acked[a]++
	}
	return nil
}

func (t *trickle) rounds(a *act) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acked[a]
}

func (t *trickle) stop() error {
	t.cancel()
	return <-t.done
}
