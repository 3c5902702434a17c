package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/autopsy"
	"ottla/internal/investigate/report"
)

type autopsyFlags struct {
	heap, version, output, failOn string
	markdown, verbose             bool
	colour                        string
	width                         int
}

const autopsyLong = `Find out why a broker died, or is about to, from what is left of it. No running cluster is needed.

Files are told apart by their content and may be mixed freely; gzip is read too, directories are walked:

  class histograms     jcmd PID GC.class_histogram, jmap -histo:live; several of one broker give the rate
  heap dumps           .hprof, also one that was cut when the disk was full
  producer snapshots   NNN.snapshot, or the whole log directory
  log segments         the batch headers of NNN.log
  text logs            server.log, controller.log, logs of the garbage collector
  the metadata log     segments and checkpoints of __cluster_metadata
  -                    standard input

All are taken as of one broker. Times in text logs are taken as UTC. Exit codes: 0 healthy, 1 armed, 2 storm, 3 inconclusive,
64 usage or files that cannot be opened. --fail-on storm makes 1 and 3 a 0, --fail-on armed makes 3 a 0.`

func newAutopsy(env *Env) *cobra.Command {
	f := autopsyFlags{}
	cmd := &cobra.Command{
		Use: "autopsy FILE...", Short: "Find out from a dead broker's files which topic leaked producers", Long: autopsyLong,
		Example: "  jcmd PID GC.class_histogram | ottla autopsy --heap 6g -\n  ottla autopsy java_pid1.hprof.gz /var/log/kafka/server.log* /var/lib/kafka/data",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage64Error{errors.New("ottla autopsy wants files or directories")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), env, args, cmd.OutOrStdout())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage64Error{flagError(err)} })
	flags := cmd.Flags()
	flags.StringVar(&f.heap, "heap", "", "the broker's -Xmx, as in 6g")
	flags.StringVar(&f.version, "kafka-version", "", "Kafka's version, as in 3.6, where the files do not tell it")
	flags.StringVarP(&f.output, "output", "o", outputText, "text or json")
	flags.BoolVar(&f.markdown, "markdown", false, "print Markdown for a ticket")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "also every number with its source, and what was read")
	flags.StringVar(&f.colour, "color", "auto", "auto, always or never")
	flags.IntVar(&f.width, "width", 0, "columns of the terminal (default 100)")
	flags.StringVar(&f.failOn, "fail-on", "any", "which verdicts make an exit code: storm, armed, inconclusive or any (all of them), never")
	completeAnswer(cmd)
	return cmd
}

func (f *autopsyFlags) run(ctx context.Context, env *Env, args []string, w io.Writer) error {
	given, err := f.given()
	if err != nil {
		return usage64Error{err}
	}
	style := report.Style{Colour: f.colour == "always" || f.colour == "auto" && coloured(env), Width: f.width, Verbose: f.verbose}
	e, err := autopsy.Read(ctx, args, autopsy.Options{Tool: "ottla " + version(), Now: time.Now(), Given: given, Stdin: env.Stdin, Progress: progress(env.Stderr)})
	if err != nil && ctx.Err() == nil { // 1 would be the verdict ARMED
		return usage64Error{err}
	} else if err != nil {
		return err
	}
	if why := e.NothingRead(); len(why) > 0 { // a verdict on nothing would look like one
		for _, line := range why {
			fmt.Fprintf(env.Stderr, "ottla: %s\n", report.Clean(line))
		}
		return exitError(exitUsage64)
	}
	r := autopsy.Judge(e)
	switch {
	case f.output == outputJSON:
		err = autopsy.JSON(w, r)
	case f.markdown:
		err = autopsy.Markdown(w, r)
	default:
		err = autopsy.Terminal(w, r, style)
	}
	if err != nil {
		return err
	}
	return exitOf(failExit(f.failOn, r.Level))
}

func (f *autopsyFlags) given() (autopsy.Given, error) {
	g := autopsy.Given{Version: f.version}
	var err error
	if g.HeapBytes, err = heapGiven(f.heap); err != nil {
		return g, err
	}
	if f.colour != "auto" && f.colour != "always" && f.colour != "never" {
		return g, fmt.Errorf("--color %q: allowed: auto, always, never", f.colour)
	}
	return g, checkAnswer(f.output, f.failOn, f.markdown)
}

// progress writes one line, over and over, if standard error is a terminal.
func progress(w io.Writer) func(path string, pass string, done, of int64) {
	if !onTerminal(w) {
		return nil
	}
	return func(path, pass string, done, of int64) {
		if done >= of {
			fmt.Fprint(w, "\r\x1b[K")
			return
		}
		fmt.Fprintf(w, "\r\x1b[K%s: %s, %.0f %%", report.Clean(path), pass, 100*float64(done)/float64(max(1, of)))
	}
}
