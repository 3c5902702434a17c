package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/fleet"
	"ottla/internal/investigate/report"
)

const fleetLong = `Investigate all clusters of a list, several at a time, and print one line for each: what runs out of memory first comes first.

The list is YAML: name, bootstrap, config (a client.properties), x (KEY=VALUE as after -X), heap, version, labels, level,
timeout, max-bytes of each cluster; defaults: for all of them; concurrency. At level 0 each broker is asked for one
producer id, once a day is enough: with --state DIR the difference between two runs is births per day. At level 1
each cluster is scanned in full. ` + "`ottla investigate fleet.yaml`" + ` is short for ` + "`ottla investigate fleet fleet.yaml`" + `.

Exit codes: that of the worst cluster, in this order: 2 storm, 1 armed, 3 inconclusive, 4 cannot connect, 0 healthy; 64 usage.
--fail-on storm, armed (and worse), inconclusive (and worse), any, never: other levels make no exit code.`

type fleetFlags struct {
	state, replay, record, html, markdown, output, failOn string
	resume                                                time.Duration
	baseline, escalate, quiet, noColor                    bool
	level, concurrency                                    int
	births                                                float64
}

func newInvestigateFleet(env *Env) *cobra.Command {
	f := fleetFlags{}
	cmd := &cobra.Command{
		Use: "fleet LIST.yaml", Short: "Investigate many clusters: a table sorted by time to out-of-memory", Long: fleetLong,
		// A list in the place of a command's name is one: `ottla investigate fleet.yaml`.
		Aliases: listsAmong(env.Args),
		Example: "  ottla investigate fleet.yaml\n  ottla investigate fleet.yaml --level 0 --state /var/lib/ottla/fleet --escalate --baseline\n" +
			"  ottla investigate fleet.yaml --record scans/ --html fleet.html\n  ottla investigate fleet --replay scans/ -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if isList(cmd.CalledAs()) {
				args = append([]string{cmd.CalledAs()}, args...)
			}
			if err := f.check(cmd, args); err != nil {
				return usage64Error{err}
			}
			return f.run(cmd, env, args)
		},
		Args: func(*cobra.Command, []string) error { return nil }, // see check
	}
	f.add(cmd)
	return cmd
}

func isList(arg string) bool {
	ext := filepath.Ext(arg)
	return !strings.HasPrefix(arg, "-") && (ext == ".yaml" || ext == ".yml")
}

func listsAmong(args []string) (out []string) {
	for _, arg := range args {
		if isList(arg) {
			out = append(out, arg)
		}
	}
	return out
}

func (f *fleetFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.SortFlags = false
	p.IntVar(&f.level, "level", -1, "0: one producer id of each broker; 1: a full scan; in place of the list's `level`")
	p.IntVar(&f.concurrency, "concurrency", 0, fmt.Sprintf("clusters at the same time, in place of the list's (default %d)", fleet.DefaultConcurrency))
	p.StringVar(&f.state, "state", "", "directory where runs remember, one file for each cluster and day")
	p.DurationVar(&f.resume, "resume-within", 0, "do not ask clusters again that answered within this time: goes on after a stopped run")
	p.BoolVar(&f.baseline, "baseline", false, "say what is new, worse and better since the last run")
	p.BoolVar(&f.escalate, "escalate", false, "scan in full where a sweep shows too many births")
	p.Float64Var(&f.births, "births-per-day", fleet.DefaultBirthsPerDay, "how many new producers a day a sweep lets pass")
	p.StringVar(&f.replay, "replay", "", "judge the recorded scans of a directory (*.json, *.json.gz) instead of asking")
	p.StringVar(&f.record, "record", "", "record each scan in this directory")
	p.StringVarP(&f.output, "output", "o", outputText, "output: text or json")
	p.StringVar(&f.html, "html", "", "also write the table as one self-contained page")
	p.StringVar(&f.markdown, "markdown", "", "also write the table as Markdown to a file; without =FILE, print it instead of text")
	p.Lookup("markdown").NoOptDefVal = "-"
	p.BoolVar(&f.noColor, "no-color", false, "no colours (also with NO_COLOR in the environment, and where output is no terminal)")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	p.StringVar(&f.failOn, "fail-on", "any", "which levels make an exit code: storm, armed, inconclusive (each with all worse ones), any, never")
	completeAnswer(cmd)
}

func (f *fleetFlags) check(cmd *cobra.Command, args []string) error {
	changed := cmd.Flags().Changed
	if err := checkAnswer(f.output, f.failOn, f.markdown == "-"); err != nil {
		return err
	}
	switch {
	case len(args) > 1:
		return fmt.Errorf("one list of clusters, got %q", args)
	case len(args) == 0 && f.replay == "":
		return errors.New("which clusters? give a list in YAML, or --replay DIR")
	case changed("level") && f.level != fleet.LevelSweep && f.level != fleet.LevelFull:
		return errors.New("--level: 0 or 1")
	case f.concurrency < 0 || f.concurrency > fleet.ConcurrencyMax:
		return fmt.Errorf("--concurrency: 1 to %d", fleet.ConcurrencyMax)
	case f.births <= 0 || f.resume < 0:
		return errors.New("--births-per-day and --resume-within must be above 0")
	case f.state == "" && (f.baseline || f.resume > 0):
		return errors.New("--baseline and --resume-within need --state DIR, where runs remember")
	case f.replay != "" && (f.state != "" || f.record != "" || f.escalate || changed("level")):
		return errors.New("--replay asks no cluster: --state, --record, --escalate and --level make no sense with it")
	}
	return writable(f.html, f.markdown)
}

func (f *fleetFlags) run(cmd *cobra.Command, env *Env, args []string) error {
	var list *fleet.Config
	var err error
	if len(args) == 1 {
		if list, err = fleet.Load(args[0], env.Environ); err != nil {
			return usage64Error{err}
		}
	}
	o := fleet.Options{
		Tool: "ottla " + version(), Ask: collect.Scan, ResumeWithin: f.resume, Baseline: f.baseline, Escalate: f.escalate, BirthsPerDay: f.births, Concurrency: f.concurrency,
	}
	if f.level >= 0 {
		o.Level = &f.level
	}
	bar := fleetProgress{newScanProgress(cmd.ErrOrStderr(), f.quiet)}
	o.Progress = bar.show
	ctx, cancel := (&clientFlags{env: env}).interruptible(cmd.Context())
	defer cancel()
	var r *fleet.Report
	if f.replay != "" {
		files, err := fleet.Recorded(f.replay)
		if err != nil {
			return usage64Error{err}
		}
		r = fleet.Replay(ctx, list, files, readScan, o)
	} else {
		if err := f.directories(&o); err != nil {
			return usage64Error{err}
		}
		r = fleet.Run(ctx, list, o)
	}
	bar.end()
	lost := writeOutputs(map[string]func(io.Writer) error{
		f.html:     func(w io.Writer) error { return fleet.HTML(w, r) },
		f.markdown: func(w io.Writer) error { return fleet.Markdown(w, r) },
	})
	lost = errors.Join(lost, f.print(cmd.OutOrStdout(), env, r))
	return exitWith(cmd.ErrOrStderr(), lost, exitOf(r.ExitFor(f.failOn)))
}

// directories opens what runs write into.
func (f *fleetFlags) directories(o *fleet.Options) (err error) {
	if f.state != "" {
		if o.State, err = fleet.OpenState(f.state); err != nil {
			return fmt.Errorf("--state: %w", err)
		}
	}
	if f.record == "" {
		return nil
	}
	o.Keep = func(cluster string, s *evidence.Scan) error {
		return writeScan(filepath.Join(f.record, fleet.FileName(cluster)+".json.gz"), s)
	}
	if err := os.MkdirAll(f.record, 0o755); err != nil {
		return fmt.Errorf("--record: %w", err)
	}
	return nil
}

func (f *fleetFlags) print(w io.Writer, env *Env, r *fleet.Report) error {
	switch {
	case f.output == outputJSON:
		return fleet.JSON(w, r)
	case f.markdown == "-":
		return fleet.Markdown(w, r)
	}
	return fleet.Terminal(w, r, !f.noColor && coloured(env))
}

// fleetProgress shows the last cluster that was done.
type fleetProgress struct{ *scanProgress }

func (p fleetProgress) show(done, total int, row *fleet.Row) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K%d/%d  %.40s: %s", done, total, report.Clean(row.Name), row.Level)
}
