package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func printed(l *ledger, member string, partition, from, to int64) {
	for o := from; o < to; o++ {
		l.line(member, fmt.Sprintf("%d\t%d\tk%d\t%s", partition, o, o, numberedValue(o)))
	}
}

func logOf(partition int32, count int64) (out []record) {
	for o := range count {
		out = append(out, record{partition: partition, offset: o, key: []byte(numberedKey(o)), value: []byte(numberedValue(o))})
	}
	return out
}

// The group tests prove nothing if the ledger lets a loss or a return behind a commit pass.
func TestLedger(t *testing.T) {
	for name, c := range map[string]struct {
		play  func(l *ledger)
		wrong string // "" if nothing is
	}{
		"all seen":                     {func(l *ledger) { printed(l, "a", 0, 0, 10) }, ""},
		"one lost":                     {func(l *ledger) { printed(l, "a", 0, 0, 5); printed(l, "a", 0, 6, 10) }, "0-5 was never seen"},
		"again, nothing was committed": {func(l *ledger) { printed(l, "a", 0, 0, 6); printed(l, "b", 0, 0, 10) }, ""},
		"on from the commit":           {func(l *ledger) { printed(l, "a", 0, 0, 6); l.line("a", "committed\t0\t6"); printed(l, "b", 0, 6, 10) }, ""},
		"again before the commit": {func(l *ledger) {
			printed(l, "a", 0, 0, 6)
			l.line("a", "committed\t0\t6")
			printed(l, "b", 0, 5, 10)
		}, "b begins at 0-5, but 6 was committed before"},
		"the same member, again before the commit": {func(l *ledger) {
			printed(l, "a", 0, 0, 6)
			l.line("a", "committed\t0\t6")
			printed(l, "a", 0, 3, 10)
		}, "a begins at 0-3"},
		"it goes on in what it holds": {func(l *ledger) {
			printed(l, "a", 0, 0, 3)
			printed(l, "b", 0, 0, 10)
			l.line("b", "committed\t0\t10")
			printed(l, "a", 0, 3, 6)
		}, ""},
		"another value":            {func(l *ledger) { printed(l, "a", 0, 1, 10); l.line("a", "0\t0\tk0\tv0") }, "0-0 was seen as"},
		"more than there is":       {func(l *ledger) { printed(l, "a", 0, 0, 11) }, "11 records were seen"},
		"a line that is no record": {func(l *ledger) { printed(l, "a", 0, 0, 10); l.line("a", "hello") }, "hello"},
		"no such partition":        {func(l *ledger) { printed(l, "a", 0, 0, 10); l.line("a", "committed\t7\t1") }, "committed"},
	} {
		l := newLedger(1)
		l.wrote(0, 10)
		c.play(l)
		err := l.verdict(logOf(0, 10))
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v, expected %q", name, err, c.wrong)
		}
	}
}

func TestLedgerLateCommits(t *testing.T) {
	l := newLedger(1)
	l.late = lateMax
	l.line("a", "committed\t0\t6")
	now := time.Now()
	if young, old := l.floorLocked(0, now), l.floorLocked(0, now.Add(lateMax)); young != 0 || old != 6 {
		t.Errorf("floors %d and %d, expected 0 and 6", young, old)
	}
}

func TestAllNumbered(t *testing.T) {
	log := logOf(0, 10)
	if err := allNumbered(log, 10); err != nil {
		t.Fatal(err)
	}
	if allNumbered(log[:9], 10) == nil || allNumbered(append(log, log[3]), 10) == nil {
		t.Error("a lost or doubled record is not found")
	}
}

// What is known to fail is a pattern that compiles, with a reason.
func TestKnownFailures(t *testing.T) {
	for _, line := range fileLines("known-failures.txt") {
		pattern, why, _ := strings.Cut(line, ": ")
		if _, err := regexp.Compile(pattern); err != nil || why == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestFindDrivers(t *testing.T) {
	all, err := findDrivers("clients", regexp.MustCompile("^franz-go$"))
	if err != nil || len(all) != 2 || all[0].name() != "franz-go (classic)" || all[1].protocol != "consumer" {
		t.Errorf("%v %v", all, err)
	}
}
