package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ottla/internal/investigate/evidence"
)

// step is one source's run through a scan: what it may use and its line in the ledger. A source's goroutines share it.
type step struct {
	*session
	src   *source
	round int // 0, then 1 for sources that are asked twice
	ended time.Time

	mu struct {
		sync.Mutex
		line       evidence.Source
		seen       int                    // answers
		troubles   map[evidence.State]int // requests that were not answered, by what kept them
		permission []string
		skipped    string
		cut        []string // what was left out on purpose
		done       int
		total      int
	}
}

func (s *session) step(src *source) *step {
	st := &step{session: s, src: src}
	st.mu.line.Name = src.name
	st.mu.troubles = map[evidence.State]int{}
	return st
}

// write runs f while no other goroutine writes into the scan.
func (s *step) write(f func(scan *evidence.Scan)) {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	f(s.scan)
}

// ok counts one answer that was as asked.
func (s *step) ok() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.seen++
}

// trouble counts one request, or one part of its answer, that did not work, and classifies why. permission is what would
// have allowed it, if it was denied: "DESCRIBE on Topic".
func (s *step) trouble(err error, permission string) {
	state := classify(err)
	if state == evidence.Denied {
		s.lacks(permission)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.troubles[state]++
	text := plain(err)
	if len(s.mu.line.Errors) < evidence.SourceErrorsMax && !slices.Contains(s.mu.line.Errors, text) {
		s.mu.line.Errors = append(s.mu.line.Errors, text)
	}
}

// lacks names a permission that would show more.
func (s *step) lacks(permission string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if permission != "" && !slices.Contains(s.mu.permission, permission) {
		s.mu.permission = append(s.mu.permission, permission)
	}
}

// skip says that the source was not asked and why.
func (s *step) skip(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.skipped = why
}

// leftOut says what was not asked or not kept, in words with numbers: "12 partitions above the cap".
func (s *step) leftOut(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.cut) < evidence.SourceErrorsMax && !slices.Contains(s.mu.cut, what) {
		s.mu.cut = append(s.mu.cut, what)
	}
}

// given is what the caller named for this source, at most most of it; the source is skipped, and why, where there is nothing. tooMany has
// a %d for how many are left out.
func (s *step) given(names []string, most int, nothing, tooMany string) []string {
	if len(names) == 0 {
		s.skip(nothing)
	}
	if left := len(names) - most; left > 0 {
		s.leftOut(fmt.Sprintf(tooMany, left))
		names = names[:most]
	}
	s.expect(len(names))
	return names
}

// expect adds n to what the progress bar counts up to; did counts one of them.
func (s *step) expect(n int) { s.progressed(0, n) }
func (s *step) did()         { s.progressed(1, 0) }

func (s *step) progressed(done, total int) {
	s.mu.Lock()
	s.mu.done += done
	s.mu.total += total
	done, total = s.mu.done, s.mu.total
	s.mu.Unlock()
	s.session.report(s.src.name, done, total)
}

// deselected says why the options leave this source out, or nothing.
func (s *step) deselected() string {
	switch o := &s.o; {
	case o.CounterOnly && !s.src.level0:
		return "not part of a level 0 sweep"
	case s.src.always:
		return ""
	case len(o.Only) > 0 && !slices.Contains(o.Only, s.src.name):
		return "switched off: not in --only"
	case slices.Contains(o.Skip, s.src.name):
		return "switched off by --skip"
	}
	return ""
}

// runRound runs one round. What the round read and how long it took is added to the source's line.
func (s *step) runRound(ctx context.Context, round int) {
	s.round = round
	defer func() { s.ended = s.now() }()
	if why := s.deselected(); why != "" {
		s.skip(why)
		return
	}
	if ctx.Err() != nil {
		if round == 0 {
			s.skip(plain(context.Cause(ctx)))
		} else {
			s.trouble(context.Cause(ctx), "")
		}
		return
	}
	before, started := s.budget.used(), s.now()
	s.progressed(0, 0)
	if err := s.src.run(ctx, s); err != nil {
		s.trouble(err, "")
	}
	after := s.budget.used()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.line.Requests += after.Requests - before.Requests
	s.mu.line.Bytes += after.Bytes - before.Bytes
	s.mu.line.Millis += s.now().Sub(started).Milliseconds()
}

// again says whether a second round can tell anything.
func (s *step) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.seen > 0 && s.mu.skipped == "" && !s.o.CounterOnly
}

// ledger is the source's line.
func (s *step) ledger() evidence.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.mu.line
	line.Permission = strings.Join(s.mu.permission, "; ")
	var bad int
	var why []string
	for _, state := range []evidence.State{evidence.Denied, evidence.Failed, evidence.Unsupported, evidence.Skipped} {
		if n := s.mu.troubles[state]; n > 0 {
			bad += n
			why = append(why, fmt.Sprintf("%d %s", n, stateWords[state]))
		}
	}
	why = append(why, s.mu.cut...)
	switch {
	case s.mu.seen == 0 && bad == 0 && s.mu.skipped != "":
		line.State, why = evidence.Skipped, []string{s.mu.skipped}
	case s.mu.seen > 0 && bad == 0 && len(s.mu.cut) == 0:
		line.State = evidence.Seen
	case s.mu.seen > 0:
		line.State = evidence.Partly
	case s.mu.troubles[evidence.Denied] > 0:
		line.State = evidence.Denied
	case s.mu.troubles[evidence.Failed] > 0:
		line.State = evidence.Failed
	case s.mu.troubles[evidence.Unsupported] > 0:
		line.State = evidence.Unsupported
	default: // nothing was asked: there was nothing to ask for, or the budget said no
		line.State = evidence.Skipped
		if len(why) == 0 {
			why = []string{"there was nothing to ask"}
		}
	}
	if len(line.Errors) > 0 && len(why) > 0 {
		why[0] += " (" + line.Errors[0] + ")"
	}
	line.Why = strings.Join(why, "; ")
	return line
}

var stateWords = map[evidence.State]string{
	evidence.Denied: "denied", evidence.Failed: "not answered", evidence.Unsupported: "not supported", evidence.Skipped: "not asked",
}

var errNothing = errors.New("an answer without what was asked for")
