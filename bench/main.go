// Command bench measures Ottla beside Apache Kafka on this machine and writes docs/benchmarks.md. It owns the order of
// what is done; what is measured is in bench/rows, how the report looks in bench/report.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ottla/bench/bed"
	"ottla/bench/null"
	"ottla/bench/report"
	"ottla/bench/results"
	"ottla/bench/rows"
	"ottla/internal/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := bench
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "null" {
		run, args = serveNull, args[1:]
	}
	if err := run(ctx, args, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveNull is the child process that has the null server.
func serveNull(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("bench null", flag.ContinueOnError)
	flags.SetOutput(log)
	listen := flags.String("listen", "127.0.0.1:9092", "address")
	var o null.Options
	flags.IntVar(&o.Partitions, "partitions", 12, "of each topic")
	flags.IntVar(&o.RecordBytes, "record-bytes", 1024, "of each record that is fetched")
	flags.StringVar(&o.Store, "store", "", "write each Produce to this `file`, and answer when it is durable")
	if err := flags.Parse(args); err != nil {
		return err
	}
	process.PrepareToServe() // as Ottla's: it is to be the limit
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	return null.ServeWith(ctx, listener, o)
}

// Where the report goes: what --quick measures does not replace what was measured in earnest.
const (
	defaultOut = "docs/benchmarks.md"
	quickOut   = "bin/bench-quick/benchmarks.md"
)

type options struct {
	sections      string
	rounds        int
	quick, merge  bool
	out, rendered string
}

func bench(ctx context.Context, args []string, log io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.StringVar(&o.sections, "sections", "", "only these, by name, with commas; \"list\" lists them")
	flags.IntVar(&o.rounds, "rounds", 3, "counted rounds of each row")
	flags.BoolVar(&o.quick, "quick", false, "one round of a tenth of the size, to see whether all works: the numbers are worth little")
	flags.BoolVar(&o.merge, "merge", false, "keep what the JSON beside --out has of other sections")
	flags.StringVar(&o.out, "out", defaultOut, "the report; JSON goes beside it, charts into pictures/ beside it; of --quick, "+quickOut+" unless named")
	flags.StringVar(&o.rendered, "render", "", "measure nothing: write the report of this JSON `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q? See --help", flags.Arg(0))
	}
	if o.rounds < 1 {
		return errors.New("--rounds is at least 1")
	}
	if o.quick && o.out == defaultOut {
		o.out = quickOut
	}
	if o.rendered != "" {
		run, err := readRun(o.rendered)
		if err != nil {
			return err
		}
		return report.Write(run, o.out)
	}
	if o.sections == "list" {
		for _, s := range selectable() {
			fmt.Fprintf(log, "%-20s %s\n", s.Name, s.Title)
		}
		return nil
	}
	wanted := rows.All()
	if o.sections != "" {
		if wanted, err = choose(selectable(), o.sections); err != nil {
			return err
		}
	}
	return measure(ctx, o, wanted, "go run ./bench "+strings.Join(args, " "), log)
}

// selectable are all sections, and those that are measured only if they are named.
func selectable() []rows.Section { return append(rows.All(), rows.Storm100M()) }

func choose(all []rows.Section, names string) ([]rows.Section, error) {
	list := strings.Split(names, ",")
	for _, name := range list {
		if !slices.ContainsFunc(all, func(s rows.Section) bool { return s.Name == name }) {
			return nil, fmt.Errorf("there is no section %q; --sections list lists them", name)
		}
	}
	return slices.DeleteFunc(all, func(s rows.Section) bool { return !slices.Contains(list, s.Name) }), nil
}

// measure takes all sections in turn and saves the run after each, so that an interrupted run keeps what it has.
func measure(ctx context.Context, o options, wanted []rows.Section, command string, log io.Writer) (err error) {
	began := time.Now()
	progress := &stamped{to: log, began: began}
	file := strings.TrimSuffix(o.out, filepath.Ext(o.out)) + ".json"
	run := &results.Run{}
	if o.merge {
		if run, err = readRun(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		} else if err != nil {
			run = &results.Run{}
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	fmt.Fprintln(progress, "preparing: builds, jars, rdkafka_performance")
	b, err := bed.Prepare(ctx, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	plan := rows.Plan{Rounds: o.rounds, Scale: 1}
	if o.quick {
		plan = rows.Plan{Rounds: 1, Scale: 0.1}
	}
	for i := range run.Sections { // what is kept is of the run before, unless it is older still
		s := &run.Sections[i]
		s.Began, s.Commit, s.Rounds = cmp.Or(s.Began, run.Began), cmp.Or(s.Commit, run.Commit), cmp.Or(s.Rounds, run.Rounds)
	}
	run.Began, run.Command, run.Rounds = began.UTC().Format(time.RFC3339), strings.TrimSpace(command), plan.Rounds
	run.Commit, run.Setup = b.Commit(ctx), slices.Concat(bed.Setup(), rows.Setup())
	if run.Versions, err = b.Versions(ctx); err != nil {
		return err
	}
	if run.Machine, err = b.Machine(ctx, !o.quick); err != nil {
		return err
	}
	var failed []error
	for i, s := range wanted {
		fmt.Fprintf(progress, "%d of %d: %s\n", i+1, len(wanted), s.Name)
		s.Began, s.Commit, s.Rounds = run.Began, run.Commit, run.Rounds
		err := take(ctx, b, plan, run, s, progress)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.Name, err))
			fmt.Fprintln(progress, "failed:", err)
		}
		run.Ended = time.Now().UTC().Format(time.RFC3339)
		if err := errors.Join(ctx.Err(), save(run, file)); err != nil {
			return err
		}
	}
	fmt.Fprintln(progress, "writing", o.out)
	return errors.Join(errors.Join(failed...), report.Write(run, o.out))
}

// take measures a section into the run. Why it could not be measured to its end stays in the run, for the report.
func take(ctx context.Context, b *bed.Bed, plan rows.Plan, run *results.Run, s rows.Section, progress io.Writer) error {
	replace(run, s.Section)
	err := s.Measure(ctx, b, plan, func(sample results.Sample) {
		sample.Section = s.Name
		run.Samples = append(run.Samples, sample)
		fmt.Fprintln(progress, sampleLine(sample))
	})
	if err != nil {
		run.Samples = append(run.Samples, results.Sample{Section: s.Name, Note: err.Error()})
	}
	return err
}

// replace takes the samples of a section away, which is measured anew. Sections stay in the order of the report.
func replace(run *results.Run, s results.Section) {
	run.Samples = slices.DeleteFunc(run.Samples, func(old results.Sample) bool { return old.Section == s.Name })
	at := slices.IndexFunc(run.Sections, func(old results.Section) bool { return old.Name == s.Name })
	if at < 0 {
		run.Sections = append(run.Sections, s)
	} else {
		run.Sections[at] = s
	}
	order := map[string]int{}
	for i, s := range selectable() {
		order[s.Name] = i
	}
	slices.SortStableFunc(run.Sections, func(a, b results.Section) int { return order[a.Name] - order[b.Name] })
}

func sampleLine(s results.Sample) string {
	var values []string
	for name, v := range s.Values {
		values = append(values, fmt.Sprintf("%s %.4g", name, v))
	}
	for name, text := range s.Texts {
		values = append(values, name+" "+text)
	}
	slices.Sort(values)
	if s.Note != "" {
		values = append(values, "("+s.Note+")")
	}
	return fmt.Sprintf("  %s, %s, round %d: %s", s.Row, s.Broker, s.Round, strings.Join(values, ", "))
}

func readRun(file string) (*results.Run, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return results.Read(f)
}

// save replaces the file at once: a run that is interrupted while it saves keeps the file before.
func save(run *results.Run, file string) error {
	f, err := os.Create(file + ".part")
	if err != nil {
		return err
	}
	if err := errors.Join(run.Write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}

// stamped puts the time since the begin before each line.
type stamped struct {
	to    io.Writer
	began time.Time
}

func (s *stamped) Write(line []byte) (int, error) {
	if _, err := fmt.Fprintf(s.to, "%7s  %s", time.Since(s.began).Round(time.Second), line); err != nil {
		return 0, err
	}
	return len(line), nil
}
