package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/phrase"
)

// What investigate, watch, fleet and autopsy have in common on the command line.

// addLimits adds the flags of every scan: what is known of the brokers, what a scan may cost, what it leaves out.
func (f *investigateFlags) addLimits(cmd *cobra.Command) {
	p, o := cmd.Flags(), &f.o
	p.StringVar(&f.heap, "heap", "", "-Xmx of each broker, as in 6g: no protocol tells it")
	p.StringVar(&o.Given.Version, "kafka-version", "", "Kafka's version, as in 3.6.2, where you know better than the APIs tell")
	p.BoolVar(&o.Given.CompactHeaders, "compact-headers", false, "brokers run with -XX:+UseCompactObjectHeaders")
	o.BytesMax = collect.DefaultBytesMax
	p.Var((*sizeValue)(&o.BytesMax), "max-bytes", "read at most so many bytes in one scan, as in 64m")
	p.Int64Var(&o.RequestsMax, "max-requests", collect.DefaultRequestsMax, "send at most so many requests in one scan")
	p.DurationVar(&o.TimeMax, "max-time", collect.DefaultTimeMax, "end a scan after so long with what was seen")
	p.DurationVar(&o.Timeout, "timeout", collect.DefaultTimeout, "how long to wait for one answer")
	p.DurationVar(&o.Interval, "interval", collect.DefaultInterval, "time between the two readings of one scan that make a rate")
	p.Int64Var(&o.SetMax, "set-max", collect.DefaultSetMax, "list the producers of a partition only if it cannot have more, by its offsets")
	p.StringSliceVar(&o.Skip, "skip", nil, "do not ask these sources: "+strings.Join(collect.SourceNames(), ", "))
	p.StringArrayVar(&o.Topics, "topic", nil, "look at this topic only; repeatable")
	p.StringArrayVar(&o.MetricsURLs, "metrics", nil, "a broker's Prometheus endpoint: heap and live producers; repeatable")
	_ = cmd.RegisterFlagCompletionFunc("skip", sourceNames)
}

var sourceNames = cobra.FixedCompletions(collect.SourceNames(), cobra.ShellCompDirectiveNoFileComp)

// heapGiven reads --heap, in bytes; 0 if it was not given.
func heapGiven(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := phrase.ParseHeap(text)
	if err != nil {
		return 0, fmt.Errorf("--heap %s: %w", text, err)
	}
	return n, nil
}

// sizeValue is a flag that takes bytes, as -Xmx does.
type sizeValue int64

// Set implements pflag.Value.
func (v *sizeValue) Set(text string) error {
	n, err := phrase.ParseSize(text)
	*v = sizeValue(n)
	return err
}

// String implements pflag.Value.
func (v *sizeValue) String() string {
	if n := int64(*v); n > 0 && n%(1<<20) == 0 {
		return fmt.Sprintf("%dm", n>>20)
	}
	return fmt.Sprint(int64(*v))
}

// Type implements pflag.Value.
func (v *sizeValue) Type() string { return "size" }

// checkAnswer refuses what --output, --fail-on and --markdown do not allow. markdown: Markdown is to be printed.
func checkAnswer(output, failOn string, markdown bool) error {
	switch {
	case !slices.Contains(failOnLevels, failOn):
		return fmt.Errorf("--fail-on %q: allowed: %s", failOn, strings.Join(failOnLevels, ", "))
	case output != outputText && output != outputJSON:
		return fmt.Errorf("--output %q: allowed: %s, %s", output, outputText, outputJSON)
	case output == outputJSON && markdown:
		return errors.New("--markdown and --output json are two answers: choose one")
	}
	return nil
}

// completeAnswer lets shells complete what checkAnswer checks.
func completeAnswer(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(failOnLevels, cobra.ShellCompDirectiveNoFileComp))
}

var failOnLevels = []string{"any", "inconclusive", "armed", "storm", "never"}

// failExit is the exit code of a level under --fail-on.
func failExit(failOn string, l diagnose.Level) int {
	silent := map[string][]diagnose.Level{
		"storm": {diagnose.Armed, diagnose.Inconclusive},
		"armed": {diagnose.Inconclusive},
		"never": {diagnose.Armed, diagnose.Inconclusive, diagnose.Storm},
	}
	if slices.Contains(silent[failOn], l) {
		return exitOK
	}
	return l.Exit()
}

// coloured follows NO_COLOR, then whether standard output is a terminal.
func coloured(env *Env) bool {
	for _, kv := range env.Environ {
		if name, value, _ := strings.Cut(kv, "="); name == "NO_COLOR" && value != "" || kv == "TERM=dumb" {
			return false
		}
	}
	return onTerminal(env.Stdout)
}

func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
