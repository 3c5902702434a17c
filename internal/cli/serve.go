package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ottla/internal/config"
	"ottla/internal/node"
)

// sameSignalWindow is how long after a signal the same one is no second request: timeout(1) and some supervisors signal a process and
// then its group, which holds it too.
const sameSignalWindow = time.Second

// configBytesMax bounds a properties file.
const configBytesMax = 1 << 20

func newServe(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Run the broker", Args: noArgs}
	addServeFlags(cmd, env)
	usual := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		usual(cmd, args)
		fmt.Fprintf(cmd.OutOrStdout(), "\n%s", config.Help())
	})
	return cmd
}

// addServeFlags gives a command the flags of the configuration table and makes it serve.
func addServeFlags(cmd *cobra.Command, env *Env) {
	flags := cmd.Flags()
	flags.SortFlags = false
	keys := config.Keys()
	for i := range keys {
		if keys[i].Flag != "" {
			f := &keyFlag{key: &keys[i]}
			flags.Var(f, keys[i].Flag, f.help())
		}
	}
	flags.String("config", "", "properties `FILE` with keys and values; also "+config.EnvConfigFile)
	flags.StringArray("set", nil, "set a configuration key, `KEY=VALUE`; repeatable")
	checkOnly := flags.Bool("check-config", false, "check the configuration, print what is not a default, and start nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd.Flags(), env)
		if err != nil {
			return err
		}
		if *checkOnly {
			printConfig(cmd.OutOrStdout(), c)
			return nil
		}
		return serve(cmd, env, c)
	}
}

// printConfig says what a start would take from where. What the machine decides (whether a port is free, a directory writable) is
// not looked at: a service manager checks a configuration while the broker runs.
func printConfig(w io.Writer, c *config.Config) {
	set := 0
	for _, v := range c.Values() {
		if v.Origin != config.FromDefault {
			fmt.Fprintf(w, "%s=%s  (%s)\n", v.Key.Name, v.Text, v.Origin)
			set++
		}
	}
	if names := c.NotApplicable(); len(names) > 0 {
		fmt.Fprintf(w, "ignored, no meaning here: %s\n", strings.Join(names, " "))
	}
	if names := c.NotEnforced(); len(names) > 0 {
		fmt.Fprintf(w, "warning: nothing enforces what these keys are to protect: %s\n", strings.Join(names, " "))
	}
	for _, l := range c.Listeners() {
		if !l.Loopback() {
			fmt.Fprintf(w, "warning: listener %s, %s: %s\n", l.Name, l.Addr(), config.NoAuthentication)
		}
	}
	for _, l := range notServed(c) {
		fmt.Fprintf(w, "warning: listener %s is not served: controller.listener.names takes it for a KRaft controller's; take its name out there if clients use this port\n", l)
	}
	for _, note := range c.Adjusted() {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	fmt.Fprintf(w, "the configuration is right: %d keys set, all others are defaults\n", set)
}

// notServed are the listeners that controller.listener.names leaves out.
func notServed(c *config.Config) (out []string) {
	controllers := c.List("controller.listener.names")
	for _, text := range c.List("listeners") {
		l, err := config.ParseListener(text)
		if err == nil && slices.ContainsFunc(controllers, func(name string) bool { return strings.EqualFold(name, l.Name) }) {
			out = append(out, text)
		}
	}
	return out
}

// loadConfig gathers the layers of the configuration.
func loadConfig(flags *pflag.FlagSet, env *Env) (*config.Config, error) {
	in := config.Input{Environ: env.Environ, Flags: map[string]string{}}
	var err error
	if in.Set, err = flags.GetStringArray("set"); err != nil {
		return nil, err
	}
	for _, k := range config.Keys() {
		if k.Flag != "" && flags.Changed(k.Flag) {
			in.Flags[k.Name] = flags.Lookup(k.Flag).Value.String()
		}
	}
	if in.FileName, err = flags.GetString("config"); err != nil {
		return nil, err
	}
	if in.FileName == "" {
		for _, entry := range env.Environ {
			if name, value, _ := strings.Cut(entry, "="); name == config.EnvConfigFile {
				in.FileName = value
			}
		}
	}
	if in.FileName != "" {
		if in.File, err = readConfigFile(in.FileName); err != nil {
			return nil, fmt.Errorf("configuration file: %w", err)
		}
	}
	return config.Load(in)
}

func readConfigFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > configBytesMax {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", name, info.Size(), configBytesMax)
	}
	return os.ReadFile(name)
}

// serve runs a node until a signal, then stops it. A second signal ends the process at once.
func serve(cmd *cobra.Command, env *Env, c *config.Config) error {
	logger := newLogger(cmd.ErrOrStderr(), c)
	o := node.Options{Config: c, FS: env.FS, Logger: logger, Version: version()}
	if c.Text("logging.format") == "text" {
		o.Banner = cmd.OutOrStdout()
	}
	n, err := node.Start(cmd.Context(), o)
	if err != nil {
		return err
	}
	var (
		reason string
		first  os.Signal
	)
	select {
	case first = <-env.Signals:
		reason = first.String()
	case <-cmd.Context().Done():
		reason = "context ended"
	}
	deadline := time.Duration(c.Int("shutdown.deadline.ms")) * time.Millisecond
	logger.Info("stopping", "reason", reason, "deadline", deadline)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	asked := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop(ctx) }()
	late := ctx.Done()
	for {
		select {
		case err := <-stopped:
			return reportStop(logger, err)
		case s := <-env.Signals:
			if s == first && time.Since(asked) < sameSignalWindow {
				continue
			}
			return fmt.Errorf("%s while stopping: the next start recovers what was not finished", s)
		case <-late:
			late = nil
			logger.Warn("stopping takes longer than its deadline: clients are cut off, state is still being written; a second signal ends at once")
		}
	}
}

// reportStop separates what only clients notice, who retry, from a stop that was not clean.
func reportStop(logger *slog.Logger, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		logger.Warn("stopped; requests in flight did not finish in time", "error", err)
		return nil
	case err == nil:
		logger.Info("stopped")
	}
	return err
}

func newLogger(w io.Writer, c *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Text("logging.level"))); err != nil {
		panic("BUG: the configuration let a log level pass: " + err.Error())
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Text("logging.format") == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
