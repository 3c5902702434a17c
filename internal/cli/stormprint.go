package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ottla/internal/storm"
)

// stormProgress shows how far a storm is: one line that is written over on a terminal, else one line each time.
type stormProgress struct {
	w        io.Writer
	quiet    bool
	terminal bool
	mu       struct {
		sync.Mutex
		drawn int // columns of the line that is there
		over  bool
	}
}

func newStormProgress(w io.Writer, quiet bool) *stormProgress {
	p := &stormProgress{w: w, quiet: quiet}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show writes one line.
func (p *stormProgress) show(s storm.Progress) {
	if p.quiet {
		return
	}
	p.line(progressLine(s))
}

func (p *stormProgress) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mu.over:
	case p.terminal:
		fmt.Fprintf(p.w, "\r%-*s", p.mu.drawn, text)
		p.mu.drawn = len([]rune(text))
	default:
		fmt.Fprintln(p.w, text)
	}
}

// end leaves the last line where it is.
func (p *stormProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.over = true
	if p.mu.drawn > 0 {
		fmt.Fprintln(p.w)
	}
}

func progressLine(s storm.Progress) string {
	if s.Phase != storm.PhaseStorm {
		return s.Phase
	}
	line := fmt.Sprintf("%4.0f s  %d producers  %d entries  %.0f/s", s.Seconds, s.Producers, s.Entries, s.Rate)
	if s.RSSBytes > 0 {
		line += fmt.Sprintf("  broker: %s, %.0f %% CPU", mebibytes(s.RSSBytes), s.CPUPercent)
	}
	if len(s.Errors) > 0 {
		line += "  errors: " + counted(s.Errors)
	}
	if s.Silent >= 2*time.Second {
		line += fmt.Sprintf("  no answer for %.0f s", s.Silent.Seconds())
	}
	return line
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func counted(causes map[string]int64) string {
	var out []string
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		out = append(out, fmt.Sprintf("%d x %s", causes[cause], cause))
	}
	return strings.Join(out, ", ")
}

// printStorm writes a summary for people.
func printStorm(w io.Writer, s *storm.Summary) {
	for _, l := range s.Loads {
		if l.Pushes > 0 || len(l.Errors) > 0 || s.Probe == nil { // a steady producer may be alone
			printLoad(w, s, &l)
		}
	}
	if s.Probe != nil {
		fmt.Fprintf(w, "steady producer: %d batches, %s\n", s.Probe.Count, latencyText(*s.Probe))
	}
	for _, p := range s.Processes {
		fmt.Fprintf(w, "broker: %s (process %d), %.2f s of CPU", p.Name, p.PID, p.CPUSeconds)
		if n := pushes(s); n > 0 && len(s.Processes) == 1 {
			fmt.Fprintf(w, ", %.1f us a push", p.CPUSeconds*1e6/float64(n))
		}
		fmt.Fprintf(w, "; memory %s before, %s after\n", mebibytes(p.RSSBefore), mebibytes(p.RSSAfter))
	}
	if r := s.Retry; r != nil {
		fmt.Fprintf(w, "retried %d producers in %.2f s: %d exact, %d duplicated", r.Producers, r.Seconds, r.Exact, r.Duplicated)
		if len(r.Refused) > 0 {
			fmt.Fprintf(w, ", refused: %s", counted(r.Refused))
		}
		fmt.Fprintf(w, "; %s\n", latencyText(r.Latency))
	}
	if len(s.Loads) > 1 {
		printCurves(w, s)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	for _, topic := range s.Left {
		fmt.Fprintf(w, "left: topic %s\n", topic)
	}
}

func printLoad(w io.Writer, s *storm.Summary, l *storm.Load) {
	fmt.Fprintf(w, "%s: %d pushes by %d producers, %d entries, %d batches in %.2f s: %.0f pushes/s", l.Mode, l.Pushes, l.Producers, l.Entries, l.Batches, s.Seconds, l.PushesPerSecond)
	if s.Ended != storm.EndedProducers {
		fmt.Fprintf(w, " (%s)", endedText(s.Ended))
	}
	fmt.Fprintln(w)
	if l.Latency.Count > 0 {
		fmt.Fprintf(w, "  latency of a push: %s\n", latencyText(l.Latency))
	}
	if len(l.Errors) > 0 {
		fmt.Fprintf(w, "  errors: %s\n", counted(l.Errors))
	}
}

func endedText(ended string) string {
	switch ended {
	case storm.EndedBytes:
		return "ended by --max-bytes"
	case storm.EndedSeconds:
		return "ended by --max-seconds"
	case storm.EndedStalled:
		return "the broker gives no answers"
	case storm.EndedGone:
		return "the broker breaks or refuses connections"
	}
	return ended
}

func latencyText(l storm.Latency) string {
	return fmt.Sprintf("p50 %.2f ms  p99 %.2f ms  max %.2f ms", l.P50, l.P99, l.Max)
}

func pushes(s *storm.Summary) (n int64) {
	for _, l := range s.Loads {
		n += l.Pushes
	}
	return n
}
