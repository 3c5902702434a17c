package cli

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/watch"
)

const watchLong = `Investigate one cluster over and over, and serve what is seen as Prometheus metrics (ottla_investigate_*).

Full scans follow each other at --every; the counter of producer ids alone is read at --counter-every, so that births are
counted, not sampled. A cluster that goes away shows as level 3 and up 0, with the last scan's numbers as they were and its
time; when it answers again, a full scan follows at once.

--once makes one full scan, prints the metrics and ends. --textfile FILE writes them, atomically, for node_exporter's
textfile collector; without --once after every scan, and then nothing listens unless --listen is given.

Exit codes: 0; with --once 4 if the cluster cannot be reached (the metrics say so too); 64 usage.`

const defaultWatchListen = "127.0.0.1:9465"

type watchFlags struct {
	investigateFlags
	w                watch.Options
	listen, textfile string
	once             bool
}

func newInvestigateWatch(env *Env) *cobra.Command {
	f := watchFlags{}
	cmd := &cobra.Command{
		Use: "watch", Short: "Watch one cluster: producer births, heap and time to out-of-memory as Prometheus metrics", Long: watchLong,
		Example: "  ottla investigate watch -b kafka1.example.com:9092 --heap 6g\n" +
			"  ottla investigate watch --config client.properties --once --textfile /var/lib/node_exporter/ottla.prom",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage64Error{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, env) },
	}
	f.connectionFlags.add(cmd)
	f.add(cmd)
	return cmd
}

func (f *watchFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.SortFlags = false
	p.StringVar(&f.listen, "listen", defaultWatchListen, "where /metrics is served, HOST:PORT")
	p.BoolVar(&f.once, "once", false, "one scan: print the metrics and end")
	p.StringVar(&f.textfile, "textfile", "", "write the metrics to this file, in place of serving or printing them")
	p.StringVar(&f.w.Cluster, "cluster", "", "value of the label `cluster` (default: the first bootstrap address)")
	p.DurationVar(&f.w.Every, "every", watch.DefaultEvery, "time from one full scan to the next")
	p.DurationVar(&f.w.CounterEvery, "counter-every", watch.DefaultCounterEvery, "time between readings of the counter of producer ids")
	p.IntVar(&f.w.Topics, "topics", watch.DefaultTopics, "how many topics may have series")
	f.addLimits(cmd)
	p.BoolVarP(&f.quiet, "quiet", "q", false, "no lines on changes of the level and on failures")
}

func (f *watchFlags) run(cmd *cobra.Command, env *Env) error {
	f.failOn, f.output = "any", outputText
	if err := f.check(); err != nil {
		return usage64Error{err}
	}
	ctx, cancel, err := f.connect(cmd, env)
	if err != nil {
		return err
	}
	defer cancel()
	f.w.Scan, f.w.Ask = f.o, collect.Scan
	if !f.quiet {
		f.w.Log = cmd.ErrOrStderr()
	}
	var w *watch.Watch
	if f.textfile != "" && !f.once {
		f.w.After = func() error { return w.WriteFile(f.textfile) }
	}
	if w, err = watch.New(f.w); err != nil {
		return usage64Error{err}
	}
	if f.once {
		return f.runOnce(ctx, cmd, w)
	}
	if f.textfile != "" && !cmd.Flags().Changed("listen") {
		w.Run(ctx)
		return nil
	}
	return f.serve(ctx, cancel, cmd, w)
}

func (f *watchFlags) runOnce(ctx context.Context, cmd *cobra.Command, w *watch.Watch) error {
	failed := w.Once(ctx)
	if ctx.Err() != nil {
		return exitError(exitFailed) // interrupted: the last file stays
	}
	write := func() error { return w.WriteText(cmd.OutOrStdout()) }
	if f.textfile != "" {
		write = func() error { return w.WriteFile(f.textfile) }
	}
	if err := write(); err != nil {
		return err
	}
	if failed != nil {
		return exitError(exitNoConnection)
	}
	return nil
}

// serve runs the watch and its endpoint until a signal comes, or the endpoint fails.
func (f *watchFlags) serve(ctx context.Context, cancel context.CancelFunc, cmd *cobra.Command, w *watch.Watch) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return usage64Error{fmt.Errorf("--listen: %w", err)}
	}
	if !f.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "ottla: metrics on http://%s/metrics\n", l.Addr())
	}
	served := make(chan error, 1)
	go func() {
		served <- w.Serve(ctx, l)
		cancel()
	}()
	w.Run(ctx)
	cancel()
	if err := <-served; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
