package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/connection"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
	"ottla/internal/investigate/report"
)

// exitNoConnection is for a cluster of which no broker answered.
const exitNoConnection = 4

const investigateLong = `Find out whether applications leak producers on a Kafka cluster, which ones, since when, and when brokers run out of memory.

It only reads, under budgets of bytes and requests, except that it asks for a few producer ids; --dry-run prints what it
would ask and which permissions that takes. What may not be read is left out, and the verdict says what it lacks.

How to connect is taken from the environment (KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_JAAS_CONFIG and the like; RPK_BROKERS,
RPK_USER and the like), a Java client.properties or an rpk.yaml (--config), -X KEY=VALUE as rpk takes it, and --bootstrap; later ones win.

Exit codes: 0 healthy, 1 armed, 2 storm, 3 inconclusive, 4 cannot connect, 64 usage. --fail-on storm makes 1 and 3 a 0,
--fail-on armed makes 3 a 0. With --verify-fix: 0 the fix works, 1 it is not to be seen yet, 2 it does not, 3 cannot tell.`

type investigateFlags struct {
	connectionFlags
	o    collect.Options
	heap string

	dryRun, verbose, noColor, quiet bool
	record, replay                  string
	verifyFix                       []string
	output, html, markdown, failOn  string
	width                           int
}

// connectionFlags say how to connect, for commands that take more than a bootstrap address.
type connectionFlags struct {
	bootstrap, config string
	x                 []string
	given             func(flag string) bool // on the command line, maybe empty
}

func (f *connectionFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	f.given = p.Changed
	p.StringVarP(&f.bootstrap, "bootstrap", "b", "", "broker to ask first, HOST:PORT, several separated by commas (default "+defaultBootstrap+")")
	p.StringVar(&f.config, "config", "", "a Java client.properties, or an rpk.yaml (rpk.yaml#NAME: another than its current profile)")
	p.StringArrayVarP(&f.x, "x", "X", nil, "KEY=VALUE as rpk takes it: brokers, user, pass, sasl.mechanism, tls.enabled, tls.ca, ...; or a key of a client.properties; repeatable")
}

// settings merges all sources, later ones winning. Its errors are about the command line.
func (f *connectionFlags) settings(environ []string) (*connection.Settings, error) {
	for _, flag := range [][2]string{{"bootstrap", f.bootstrap}, {"config", f.config}} {
		if f.given(flag[0]) && strings.Trim(flag[1], " ,") == "" { // the default would be another cluster than the one that is meant
			return nil, fmt.Errorf("--%s is empty: is a variable not set?", flag[0])
		}
	}
	s := &connection.Settings{}
	s.Environ(environ)
	if f.config != "" {
		if err := s.File(f.config); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
	}
	for _, x := range f.x {
		if err := s.Flag(x); err != nil {
			return nil, fmt.Errorf("-X: %w", err)
		}
	}
	if f.bootstrap != "" {
		s.Bootstrap(f.bootstrap)
	}
	if len(s.Brokers) == 0 {
		s.Bootstrap(defaultBootstrap)
	}
	return s, nil
}

func newInvestigate(env *Env) *cobra.Command {
	f := investigateFlags{}
	cmd := &cobra.Command{
		Use: "investigate", Short: "Find a producer leak on any Kafka cluster: which application, since when, how long the heap lasts", Long: investigateLong,
		Example: "  ottla investigate -b kafka1.example.com:9092 --heap 6g\n  ottla investigate --config client.properties --html report.html --record scan.json.gz\n" +
			"  ottla investigate --replay scan.json.gz -o json\n  ottla investigate -b kafka1.example.com:9092 --verify-fix before.json.gz",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && len(f.verifyFix) == 0 {
				return usage64Error{fmt.Errorf("ottla investigate takes no arguments, got %q", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.verifyFix = append(f.verifyFix, args...)
			return f.run(cmd, env)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage64Error{flagError(err)} })
	f.connectionFlags.add(cmd)
	f.addScan(cmd)
	f.addOutput(cmd)
	cmd.AddCommand(newInvestigateExplain())
	cmd.AddCommand(newInvestigateFleet(env), newInvestigateWatch(env))
	return cmd
}

func (f *investigateFlags) addScan(cmd *cobra.Command) {
	p, o := cmd.Flags(), &f.o
	p.SortFlags = false
	f.addLimits(cmd)
	p.StringSliceVar(&o.Only, "only", nil, "ask only these sources, as --skip names them")
	p.BoolVar(&o.ShowIDs, "show-ids", false, "do not mask transactional ids and header values")
	p.StringArrayVar(&o.LogFiles, "logs", nil, "a request log or an authorizer log of a broker: who asks for producer ids; repeatable")
	p.BoolVar(&f.dryRun, "dry-run", false, "print what would be asked, and ask nothing but API versions and metadata")
	p.StringVar(&f.record, "record", "", "save what was seen to a file, for --replay and --verify-fix (.gz: compressed)")
	p.StringVar(&f.replay, "replay", "", "judge a recorded scan instead of a cluster")
	p.StringArrayVar(&f.verifyFix, "verify-fix", nil, "an earlier recorded scan: say whether what was done since then works; repeatable")
	_ = cmd.RegisterFlagCompletionFunc("only", sourceNames)
}

func (f *investigateFlags) addOutput(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVarP(&f.output, "output", "o", outputText, "output: text or json")
	p.StringVar(&f.html, "html", "", "also write the report as one self-contained page")
	p.StringVar(&f.markdown, "markdown", "", "also write the report as Markdown to a file; without =FILE, print it instead of text")
	p.Lookup("markdown").NoOptDefVal = "-"
	p.BoolVarP(&f.verbose, "verbose", "v", false, "also every number with its source, and what became of each source")
	p.BoolVar(&f.noColor, "no-color", false, "no colours (also with NO_COLOR in the environment, and where output is no terminal)")
	p.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	p.IntVar(&f.width, "width", 0, "columns of the terminal (default 100)")
	p.StringVar(&f.failOn, "fail-on", "any", "which verdicts make an exit code: storm, armed, inconclusive or any (all of them), never")
	completeAnswer(cmd)
}

// check refuses what makes no sense before anything is asked.
func (f *investigateFlags) check() error {
	o := &f.o
	var err error
	if o.Given.HeapBytes, err = heapGiven(f.heap); err != nil {
		return err
	}
	if err := checkAnswer(f.output, f.failOn, f.markdown == "-"); err != nil {
		return err
	}
	switch {
	case f.replay != "" && (f.dryRun || f.record != ""):
		return errors.New("--replay asks no cluster: --dry-run and --record make no sense with it")
	case o.BytesMax <= 0 || o.RequestsMax <= 0 || o.TimeMax <= 0 || o.Timeout <= 0 || o.Interval <= 0 || o.SetMax <= 0:
		return errors.New("limits must be above 0")
	}
	if err := errors.Join(readable(o.LogFiles), writable(f.record, f.html, f.markdown)); err != nil {
		return err
	}
	for _, name := range slices.Concat(o.Only, o.Skip) {
		if !slices.Contains(collect.SourceNames(), name) {
			return fmt.Errorf("no source is called %q: there are %s", name, strings.Join(collect.SourceNames(), ", "))
		}
	}
	return nil
}

func (f *investigateFlags) run(cmd *cobra.Command, env *Env) error {
	if err := f.check(); err != nil {
		return usage64Error{err}
	}
	earlier, err := readScans(f.verifyFix)
	if err != nil {
		return usage64Error{err}
	}
	if f.dryRun {
		return f.plan(cmd, env)
	}
	scan, err := f.scan(cmd, env)
	if err != nil {
		return err
	}
	var lost error // what could not be written must not cost the verdict
	if f.record != "" {
		lost = writeScan(f.record, scan)
	}
	if len(earlier) > 0 {
		return exitWith(cmd.ErrOrStderr(), lost, f.printFix(cmd.OutOrStdout(), diagnose.VerifyFix(append(earlier, scan))))
	}
	v := diagnose.Diagnose(scan)
	if words := interruptedWords(scan); words != "" {
		v.Details = slices.Insert(v.Details, 0, words)
	}
	lost = errors.Join(lost, f.writeReports(v), f.print(cmd.OutOrStdout(), env, v))
	return exitWith(cmd.ErrOrStderr(), lost, exitOf(failExit(f.failOn, v.Level)))
}

// scan asks the cluster, or reads what was recorded.
func (f *investigateFlags) scan(cmd *cobra.Command, env *Env) (*evidence.Scan, error) {
	if f.replay != "" {
		scan, err := readScan(f.replay)
		if err != nil {
			return nil, usage64Error{err}
		}
		f.give(&scan.Given)
		return scan, nil
	}
	ctx, cancel, err := f.connect(cmd, env)
	if err != nil {
		return nil, err
	}
	defer cancel()
	bar := newScanProgress(cmd.ErrOrStderr(), f.quiet)
	f.o.Progress = bar.show
	scan, err := collect.Scan(ctx, f.o)
	bar.end()
	if err != nil {
		return nil, connectionFailure(cmd.ErrOrStderr(), err)
	}
	return scan, nil
}

// interruptedWords says that a scan was cut short by a signal, and which sources it lacks or has not all of.
func interruptedWords(scan *evidence.Scan) string {
	var lost []string
	for i := range scan.Sources {
		if s := &scan.Sources[i]; s.State != evidence.Seen && strings.Contains(s.Why, collect.Interrupted) {
			lost = append(lost, s.Name)
		}
	}
	if !scan.Interrupted || len(lost) == 0 {
		return ""
	}
	return fmt.Sprintf("The scan was interrupted after %s. Not seen, or not all of it: %s.", scan.Ended.Sub(scan.Started).Round(time.Second/10), strings.Join(lost, ", "))
}

// give puts what the command line says over what was said when the scan was recorded.
func (f *investigateFlags) give(g *evidence.Given) {
	if f.o.Given.HeapBytes > 0 {
		g.HeapBytes = f.o.Given.HeapBytes
	}
	if f.o.Given.Version != "" {
		g.Version = f.o.Given.Version
	}
	g.CompactHeaders = g.CompactHeaders || f.o.Given.CompactHeaders
}

// connect completes the options. The context ends at the first signal: what was seen until then is judged.
func (f *investigateFlags) connect(cmd *cobra.Command, env *Env) (context.Context, context.CancelFunc, error) {
	settings, err := f.settings(env.Environ)
	if err != nil {
		return nil, nil, usage64Error{err}
	}
	if f.o.Client, err = settings.Options(); err != nil {
		return nil, nil, usage64Error{err}
	}
	if n := len(settings.Ignored); n > 0 && f.verbose {
		fmt.Fprintf(cmd.ErrOrStderr(), "ottla: not used from %s: %s\n", f.config, strings.Join(settings.Ignored, ", "))
	}
	f.o.Bootstrap, f.o.Tool, f.o.Given.ClientConfig = settings.Brokers, "ottla "+version(), f.config
	ctx, cancel := (&clientFlags{env: env}).interruptible(cmd.Context())
	return ctx, cancel, nil
}

// connectionFailure says why and what to look at, and ends with the exit code of its own.
func connectionFailure(w io.Writer, err error) error {
	var connect *collect.ErrConnect
	if !errors.As(err, &connect) {
		return usage64Error{err}
	}
	fmt.Fprintf(w, "ottla: %v\n", err)
	return exitError(exitNoConnection)
}

func (f *investigateFlags) plan(cmd *cobra.Command, env *Env) error {
	ctx, cancel, err := f.connect(cmd, env)
	if err != nil {
		return err
	}
	defer cancel()
	plan, err := collect.PlanFor(ctx, f.o)
	if err != nil {
		return connectionFailure(cmd.ErrOrStderr(), err)
	}
	w := cmd.OutOrStdout()
	if f.output == outputJSON {
		return printJSON(w, plan)
	}
	fmt.Fprintf(w, "Brokers: %d, topics: %d, partitions: %d. At most %s and %d requests in all:\n\n", plan.Brokers, plan.Topics, plan.Partitions, phrase.Bytes(float64(plan.BytesMax)), plan.RequestsMax)
	var rows [][]string
	for _, p := range plan.Steps {
		row := []string{p.Source, fmt.Sprint(p.Requests), phrase.Bytes(float64(p.Bytes)), p.Permissions, p.What}
		if p.Skipped != "" {
			row = []string{p.Source, "-", "-", "", p.Skipped}
		}
		rows = append(rows, row)
	}
	return table(w, []string{"SOURCE", "REQUESTS", "BYTES", "PERMISSIONS", "WHAT"}, rows)
}

// writeReports writes the files that were asked for. Those that cannot be written do not keep it from the others.
func (f *investigateFlags) writeReports(v *diagnose.Verdict) error {
	return writeOutputs(map[string]func(io.Writer) error{
		f.html:     func(w io.Writer) error { return report.HTML(w, v) },
		f.markdown: func(w io.Writer) error { return report.Markdown(w, v) },
	})
}

func (f *investigateFlags) print(w io.Writer, env *Env, v *diagnose.Verdict) error {
	switch {
	case f.output == outputJSON:
		return report.JSON(w, v)
	case f.markdown == "-":
		return report.Markdown(w, v)
	}
	return report.Terminal(w, v, report.Style{Colour: !f.noColor && coloured(env), Width: f.width, Verbose: f.verbose})
}

// predictedMeans explains a column of printFix.
const predictedMeans = "ENTRIES: producers that brokers hold. PREDICTED: the most that should be left by then, from the births of the first scan and how long an entry lives."

func (f *investigateFlags) printFix(w io.Writer, fix *diagnose.Fix) error {
	if f.output == outputJSON {
		if err := report.FixJSON(w, fix); err != nil {
			return err
		}
		return exitOf(fix.Exit)
	}
	fmt.Fprintf(w, "%s\n\n%s\n", report.Clean(fix.Sentence), predictedMeans)
	var rows [][]string
	for _, p := range fix.Points {
		rows = append(rows, []string{p.At.Format(time.RFC3339), fmt.Sprint(p.Entries), fmt.Sprint(p.Predicted), fmt.Sprintf("%.2f/s", p.Births), p.Source})
	}
	if err := table(w, []string{"AT", "ENTRIES", "PREDICTED", "BIRTHS", "SOURCE"}, rows); err != nil {
		return err
	}
	if words := doneWords(fix); words != "" {
		fmt.Fprintf(w, "\n%s\n", words)
	}
	return exitOf(fix.Exit)
}

// doneWords says when the last leaked entry is gone, or was by the time of the last scan; nothing if that is not known.
func doneWords(fix *diagnose.Fix) string {
	done := fix.Done.Format(time.RFC3339)
	switch n := len(fix.Points); {
	case fix.Done.IsZero():
		return ""
	case n > 0 && !fix.Done.After(fix.Points[n-1].At):
		return "By the prediction, the last leaked entry expired at " + done + "."
	}
	return "If nothing changes, the last leaked entry expires at " + done + "."
}

// exitWith says which files, or that standard output, could not be written and ends with the verdict's exit code; where that is 0, with that of a wrong command line.
func exitWith(w io.Writer, lost, exit error) error {
	if lost == nil {
		return exit
	}
	fmt.Fprintf(w, "ottla: %v\n", lost)
	if exit == nil {
		return exitError(exitUsage64)
	}
	return exit
}

func exitOf(code int) error {
	if code == exitOK {
		return nil
	}
	return exitError(code)
}
