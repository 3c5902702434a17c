package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// countless makes a member run until it is told to end.
const countless = 1_000_000_000

// member starts a process that reads in the group.
func (a *act) member(name string, count int) (*process, error) {
	p, err := a.s.start(a.d, name, func(line string) { a.ledger.line(name, line) }, "group", a.topic, a.group, fmt.Sprint(count))
	if err == nil {
		a.members = append(a.members, p)
	}
	return p, err
}

// until looks again and again, and fails early if a member is gone that nobody sent away.
func (a *act) until(ctx context.Context, holds func() bool, otherwise func() string) error {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	again := time.NewTicker(lookGap)
	defer again.Stop()
	for !holds() {
		for _, p := range a.members {
			if !p.running() && !p.asked {
				return fmt.Errorf("the %s member ended by itself: %v: %s", p.name, p.err, p.stderr.String())
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w%s", otherwise(), ctx.Err(), a.lastWords())
		}
	}
	return nil
}

func (a *act) lastWords() (out string) {
	for _, p := range a.members {
		if text := p.stderr.String(); text != "" && !p.asked {
			out += fmt.Sprintf("; the %s member says: %.300s", p.name, text)
		}
	}
	return out
}

func (a *act) firstMembers(ctx context.Context) error {
	for _, name := range []string{"first", "second"} {
		if _, err := a.member(name, countless); err != nil {
			return err
		}
	}
	return a.allSeen(ctx, nil)
}

// allSeen waits until all is seen that is written; with a trickle, until that is so of a round that begins later.
func (a *act) allSeen(ctx context.Context, t *trickle) error {
	if t != nil {
		before := t.rounds(a)
		err := a.until(ctx, func() bool { return t.rounds(a) >= before+2 }, func() string { return "nothing is written any more" })
		if err != nil {
			return err
		}
	}
	ends := a.ledger.ends()
	missing := func() string {
		first, count := a.ledger.missingOf(ends)
		return fmt.Sprintf("%d records are not seen, the first is %s", count, first)
	}
	return a.until(ctx, func() bool { _, count := a.ledger.missingOf(ends); return count == 0 }, missing)
}

// join adds a member and waits until it has read something.
func (a *act) join(ctx context.Context, name string) error {
	if _, err := a.member(name, countless); err != nil {
		return err
	}
	return a.until(ctx, func() bool { return a.ledger.printedBy(name) > 0 }, func() string { return "it reads nothing" })
}

func (a *act) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveMax)
	defer cancel()
	errs := make(chan error, len(a.members))
	for _, p := range a.members {
		if !p.running() {
			errs <- nil
			continue
		}
		go func() { errs <- p.terminate(ctx) }()
	}
	var err error
	for range a.members {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (a *act) allCommitted(ctx context.Context) error {
	ends, err := a.s.ends(ctx, a.topic)
	if err != nil {
		return err
	}
	return a.s.admin(ctx, func(adm *kadm.Client) error {
		offsets, err := adm.FetchOffsets(ctx, a.group)
		if err = errors.Join(err, offsets.Error()); err != nil {
			return err
		}
		for p, end := range ends {
			if o, _ := offsets.Lookup(a.topic, int32(p)); o.At != end {
				return fmt.Errorf("partition %d: %d is committed, the log ends at %d", p, o.At, end)
			}
		}
		return nil
	})
}

// readOn writes a few more records: a new member is to see these and no other.
func (a *act) readOn(ctx context.Context) error {
	before := a.ledger.again()
	t := a.s.startTrickle(ctx, []*act{a})
	err := a.until(ctx, func() bool { return t.rounds(a) >= nextRecords/actPartitions }, func() string { return "nothing is written" })
	if err = errors.Join(err, t.stop()); err != nil {
		return err
	}
	_, count := a.ledger.missing()
	p, err := a.member("next", count)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	if err := p.end(ctx); err != nil {
		return err
	}
	if first, count := a.ledger.missing(); count > 0 {
		return fmt.Errorf("%d records are not seen, the first is %s", count, first)
	}
	if again := a.ledger.again(); again != before {
		return fmt.Errorf("%d records are seen again", again-before)
	}
	return nil
}

func (a *act) verdict(ctx context.Context) error {
	log, err := a.log(ctx)
	if err != nil {
		return err
	}
	return a.ledger.verdict(log)
}
