package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// seen is a record that a driver printed.
type seen struct {
	partition  int32
	offset     int64
	key, value string
}

func parseSeen(line string) (r seen, err error) {
	f := strings.Split(line, "\t")
	if len(f) != 4 {
		return r, fmt.Errorf("%d fields in %.100q", len(f), line)
	}
	p, err := strconv.ParseInt(f[0], 10, 32)
	if err != nil {
		return r, err
	}
	r.offset, err = strconv.ParseInt(f[1], 10, 64)
	r.partition, r.key, r.value = int32(p), f[2], f[3]
	return r, err
}

// numbered is record i as every driver writes it.
func numberedKey(i int64) string { return "k" + strconv.FormatInt(i, 10) }

func numberedValue(i int64) string {
	filler := make([]byte, 64)
	for j := range filler {
		filler[j] = byte('a' + (i+int64(j))%26)
	}
	return "v" + strconv.FormatInt(i, 10) + "-" + string(filler)
}

// position is the state of one member in one partition: the run of consecutive offsets that it prints.
type position struct {
	last int64
	// What was acknowledged as committed by anybody when the run began.
	floor int64
}

type commit struct {
	at     time.Time
	offset int64
}

// lateMax is long for a rebalance of members that all answer, and short against what goes on after a kill.
const lateMax = 3 * time.Second

// ledger holds what the members of one group printed against each other. The rules: every record is seen, and where a
// member begins to read, nobody's commit that was acknowledged before lies ahead. A member that goes on in its run while
// another has taken over and committed breaks no rule: it holds records that it was given before. Nor does one that begins
// before a commit younger than late, for clients that commit what they have given up already.
type ledger struct {
	mu        sync.Mutex
	written   []int64          // per partition: the end of the log, as far as acknowledged to us
	times     []map[int64]int  // per partition: offset -> how often seen
	records   []map[int64]seen // per partition
	committed []int64          // per partition: the highest acknowledged commit
	late      time.Duration    // how old a commit must be to bind who begins to read
	settled   []int64          // per partition: the highest commit that is as old
	recent    [][]commit       // per partition: the younger ones, if late
	members   map[string]int   // records printed by each process
	runs      map[string][]*position
	commits   int
	wrong     []string
}

const wrongMax = 20

func newLedger(partitions int) *ledger {
	l := &ledger{written: make([]int64, partitions), committed: make([]int64, partitions), settled: make([]int64, partitions),
		recent: make([][]commit, partitions), members: map[string]int{}, runs: map[string][]*position{}}
	for range partitions {
		l.times = append(l.times, map[int64]int{})
		l.records = append(l.records, map[int64]seen{})
	}
	return l
}

func (l *ledger) complainLocked(format string, args ...any) {
	if len(l.wrong) < wrongMax {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// wrote tells that the log of a partition reaches to end.
func (l *ledger) wrote(partition int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[partition] = max(l.written[partition], end)
}

// line takes what a member printed.
func (l *ledger) line(member, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rest, is := strings.CutPrefix(line, "committed\t"); is {
		l.commitLocked(member, rest)
		return
	}
	r, err := parseSeen(line)
	if err != nil || r.partition < 0 || int(r.partition) >= len(l.times) {
		l.complainLocked("%s printed %.100q: %v", member, line, err)
		return
	}
	l.members[member]++
	if l.runs[member] == nil {
		l.runs[member] = make([]*position, len(l.times))
	}
	run := l.runs[member][r.partition]
	if run == nil || r.offset != run.last+1 {
		run = &position{floor: l.floorLocked(r.partition, time.Now())}
		l.runs[member][r.partition] = run
		if r.offset < run.floor {
			l.complainLocked("%s begins at %d-%d, but %d was committed before", member, r.partition, r.offset, run.floor)
		}
	}
	run.last = r.offset
	l.times[r.partition][r.offset]++
	l.records[r.partition][r.offset] = r
}

func (l *ledger) commitLocked(member, rest string) {
	var p int32
	var offset int64
	if n, err := fmt.Sscanf(rest, "%d\t%d", &p, &offset); n != 2 || p < 0 || int(p) >= len(l.committed) {
		l.complainLocked("%s printed committed %.100q: %v", member, rest, err)
		return
	}
	l.commits++
	l.committed[p] = max(l.committed[p], offset)
	l.recent[p] = append(l.recent[p], commit{time.Now(), offset})
}

// floorLocked is the highest commit that binds who begins to read now.
func (l *ledger) floorLocked(p int32, now time.Time) int64 {
	if l.late == 0 {
		return l.committed[p]
	}
	recent := l.recent[p]
	for len(recent) > 0 && now.Sub(recent[0].at) >= l.late {
		l.settled[p] = max(l.settled[p], recent[0].offset)
		recent = recent[1:]
	}
	l.recent[p] = recent
	return l.settled[p]
}

// missing is the first record that is written and not seen, as "partition-offset", and how many there are.
func (l *ledger) missing() (first string, count int) { return l.missingOf(l.ends()) }

// missingOf looks as far as the given ends.
func (l *ledger) missingOf(ends []int64) (first string, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, end := range ends {
		for o := range end {
			if l.times[p][o] == 0 {
				if count++; count == 1 {
					first = fmt.Sprintf("%d-%d", p, o)
				}
			}
		}
	}
	return first, count
}

func (l *ledger) ends() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int64(nil), l.written...)
}

func (l *ledger) printedBy(member string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.members[member]
}

// again counts the records that were seen more than once.
func (l *ledger) again() (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.times {
		for _, n := range times {
			if n > 1 {
				count++
			}
		}
	}
	return count
}

// verdict holds what was seen to what the log really holds.
func (l *ledger) verdict(log []record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range log {
		got, found := l.records[r.partition][r.offset]
		switch {
		case !found:
			l.complainLocked("%d-%d was never seen", r.partition, r.offset)
		case got.key != string(r.key) || got.value != string(r.value):
			l.complainLocked("%d-%d was seen as %.40q %.40q, it is %.40q %.40q", r.partition, r.offset, got.key, got.value, r.key, r.value)
		}
	}
	total := 0
	for _, records := range l.records {
		total += len(records)
	}
	if total > len(log) {
		l.complainLocked("%d records were seen, the log holds %d", total, len(log))
	}
	if len(l.wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(l.wrong, "; "))
	}
	return nil
}
