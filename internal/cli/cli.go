// Package cli is the command line: one file per command. It owns flags, exit codes and what is printed.
//
// Client commands (topic, group, produce, consume) speak Kafka and nothing else, so they work against any broker.
// Tools for a data directory (check, dump) read it offline. What the broker does is none of its business: serve
// hands a checked configuration to node and waits.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ottla/internal/disk"
	"ottla/internal/process"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for did not work, or check found problems
	exitUsage  = 2 // the command line makes no sense
	// exitUsage64 is that of commands for which 2 is a verdict (EX_USAGE of sysexits.h).
	exitUsage64 = 64
)

// Env is everything that a command has from the outside.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string
	FS             disk.FS // where data directories are
	// Signals delivers SIGTERM and SIGINT to serve.
	Signals <-chan os.Signal
}

// usageError marks errors for which the way out is another command line.
type usageError struct{ error }

// usage64Error is a usageError of a command whose exit code for it is exitUsage64.
type usage64Error struct{ error }

// exitError ends a command with an exit code of its own when it has said everything already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// errFailed ends a command with exitFailed when it has said everything already.
var errFailed = errors.New("failed")

// Main runs the process's own command line and returns its exit code.
func Main() int {
	if mayServe(os.Args[1:]) {
		process.PrepareToServe()
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup means that a closed terminal is no reason to stop
		signal.Notify(signals, syscall.SIGHUP)
	}
	return Run(context.Background(), Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), FS: disk.OS(), Signals: signals,
	})
}

// mayServe says whether a command line may be one of serve's. It is asked before flags are known: for one that only prints
// help, yes is right too.
func mayServe(args []string) bool {
	return len(args) == 0 || args[0] == "serve" || strings.HasPrefix(args[0], "-")
}

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, env Env) int {
	root := newRoot(&env)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var usage64 usage64Error
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage64):
		fmt.Fprintf(env.Stderr, "ottla: %v\nSee `%s --help`.\n", err, cmd.CommandPath())
		return exitUsage64
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "ottla: %v\nSee `%s --help`.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(env.Stderr, "ottla: %v\n", err)
		return exitFailed
	}
}

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "ottla",
		Short: "A Kafka-protocol broker that remembers every idempotent producer exactly, in bounded memory",
		Long: `A Kafka-protocol broker that remembers every idempotent producer exactly, in bounded memory.

Without a command it serves, like "ottla serve": on 127.0.0.1:9092, with its data in ./ottla-data.
"ottla serve --help" lists every configuration key.`,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	addServeFlags(root, env)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError(err)} })
	root.AddCommand(newServe(env), newVersion(), newTopic(env), newGroup(env), newProduce(env), newConsume(env), newCheck(env), newDump(env))
	root.AddCommand(newAutopsy(env))
	root.AddCommand(newInvestigate(env))
	root.AddCommand(newStorm(env))
	return root
}

// noArgs turns a mistyped command into an error that says so: cobra's own would name an argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasParent() {
		return usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])}
	}
	message := fmt.Sprintf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	return usageError{errors.New(message)}
}

// wantArgs checks the number of arguments; most < 0 means any number.
func wantArgs(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usageError{fmt.Errorf("%s wants %s", cmd.CommandPath(), what)}
		}
		return nil
	}
}
