package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ottla/internal/catalog"
	"ottla/internal/disk"
	"ottla/internal/node"
	"ottla/internal/seglog"
)

func newCheck(env *Env) *cobra.Command {
	c := &check{fs: env.FS}
	cmd := &cobra.Command{
		Use: "check DIR", Short: "Prove offline that a data directory agrees with itself", Args: wantArgs(1, 1, "one data directory"),
		Long: `Prove offline that the segments, indexes, producer entries, consumer groups and the catalog of a data directory agree:
every batch by its checksum, every index entry by the batch it points at, and every producer entry by
reading the log once more. The broker must not be running. The exit code is 1 if anything is wrong.

With --repair, whatever is derived from something else is made again. Records are never touched.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.cmd, c.dir = cmd, args[0]
			return c.run()
		},
	}
	cmd.Flags().BoolVar(&c.repair, "repair", false, "rebuild what can be derived")
	cmd.Flags().StringVarP(&c.output, "output", "o", outputText, "output: text or json")
	return cmd
}

// check is one run of the command.
type check struct {
	cmd    *cobra.Command
	fs     disk.FS
	dir    string
	repair bool
	output string

	view      *catalog.View
	report    checkReport
	absent    map[string]bool // partitions without a directory
	noIndex   []string        // files of indexes that are missing
	leftovers int             // deleted partitions that still have entries of producers, after an unclean stop
}

type checkReport struct {
	Directory  string `json:"directory"`
	ClusterID  string `json:"cluster_id"`
	Clean      bool   `json:"stopped_cleanly"`
	Topics     int    `json:"topics"`
	Partitions int    `json:"partitions"`
	Batches    int64  `json:"batches"`
	Entries    int64  `json:"producer_entries"`
	// GroupEntries is what the store of consumer groups holds: offsets, metadata, and what it has beside them.
	GroupEntries int64          `json:"group_entries"`
	Notes        []string       `json:"notes,omitempty"`
	Problems     []checkProblem `json:"problems"`
}

type checkProblem struct {
	Where      string `json:"where"`
	Text       string `json:"text"`
	Repairable bool   `json:"repairable"`
	Repaired   bool   `json:"repaired"`
}

func (c *check) run() error {
	if c.output != outputText && c.output != outputJSON {
		return usageError{fmt.Errorf("--output %q: allowed: %s, %s", c.output, outputText, outputJSON)}
	}
	// Before the lock, which would make its file in whatever directory was named by mistake.
	var err error
	if c.view, err = catalog.Inspect(c.fs, c.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no data directory: it has no %s", c.dir, catalog.JournalName)
	} else if err != nil {
		return fmt.Errorf("the catalog of %s cannot be read: %w", c.dir, err)
	}
	lock, err := c.fs.Lock(filepath.Join(c.dir, node.LockName))
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("%s is in use: stop the broker first", c.dir)
	} else if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.all(c.cmd.Context()); err != nil {
		return err
	}
	if err := c.print(); err != nil {
		return err
	}
	for _, p := range c.report.Problems {
		if !p.Repaired {
			return errFailed
		}
	}
	return nil
}

func (c *check) all(ctx context.Context) error {
	c.absent = map[string]bool{}
	c.report = checkReport{Directory: c.dir, ClusterID: c.view.ClusterID, Topics: len(c.view.Topics), Problems: []checkProblem{}}
	_, err := c.fs.Stat(filepath.Join(c.dir, node.CleanMarker))
	c.report.Clean = err == nil
	if !c.report.Clean {
		c.note("the last run did not stop cleanly: what lies behind the checkpoints is recovered by the next start")
	}
	if err := c.journal(); err != nil {
		return err
	}
	if c.view.TornBytes > 0 {
		c.note("the catalog ends in %d bytes of an unfinished step: the next start cuts them off", c.view.TornBytes)
	}
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err
	}
	owned := map[string]bool{}
	for _, t := range c.view.Deleting {
		for _, p := range t.Partitions {
			owned[p.Dir] = true
		}
	}
	for _, t := range c.view.Topics {
		for _, p := range t.Partitions {
			if err := ctx.Err(); err != nil {
				return err
			}
			owned[p.Dir] = true
			c.report.Partitions++
			if err := c.log(t, p, names); err != nil {
				return err
			}
		}
	}
	if len(c.noIndex) > 0 {
		c.note("missing: %s. Indexes are made again from the log when the broker needs them", someOf(c.noIndex))
	}
	c.strays(names, owned)
	if err := c.producers(ctx); err != nil {
		return err
	}
	if c.leftovers > 0 {
		c.note("%s still has entries of %d deleted partitions, as a broker that was killed leaves them: the next start drops them", node.ProducersDir, c.leftovers)
	}
	return c.groups(ctx)
}

// journal tells what the next start will write into the partitions, or writes it.
func (c *check) journal() error {
	n, err := seglog.JournalRecords(c.fs, c.dir)
	switch {
	case errors.Is(err, seglog.ErrVersion), errors.Is(err, seglog.ErrCorrupt):
		c.problem(checkProblem{Where: c.dir, Text: err.Error()})
	case err != nil:
		return err
	case n > 0 && c.repair:
		_, bytes, err := seglog.WriteJournalBack(c.fs, c.dir, slog.New(slog.DiscardHandler))
		c.note("%d commits in the journal, %d bytes, were written into the partitions", n, bytes)
		return err
	case n > 0:
		c.note("the journal holds %d commits that the next start writes into the partitions, as --repair does. That is normal after a kill or a power loss. "+
			"Until then ends of segments may be missing: of what is said of them below, believe what --repair leaves", n)
	}
	return nil
}

// namesShown is how many of a list of names are named.
const namesShown = 10

// someOf names the first of a list and how many there are beside them.
func someOf(names []string) string {
	text := strings.Join(names[:min(len(names), namesShown)], ", ")
	if more := len(names) - namesShown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (c *check) note(format string, args ...any) {
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

func (c *check) problem(p checkProblem) { c.report.Problems = append(c.report.Problems, p) }

// log checks the files of one partition.
func (c *check) log(t catalog.TopicView, p catalog.PartitionView, names []string) error {
	if _, found := slices.BinarySearch(names, p.Dir); !found {
		// As of one that was never written to. Of another the checkpoint of its producers tells.
		c.absent[p.Dir] = true
		return nil
	}
	dir := filepath.Join(c.dir, p.Dir)
	problems, err := seglog.CheckLog(c.fs, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Dir, err)
	}
	var left []seglog.Problem
	if c.repair && len(problems) > 0 {
		if left, err = seglog.RepairLog(c.fs, dir); err != nil {
			return fmt.Errorf("repair of %s: %w", p.Dir, err)
		}
	}
	damaged := map[string]bool{}
	for _, found := range problems {
		if !found.Repairable && strings.HasSuffix(found.File, ".log") && !damaged[found.File] {
			damaged[found.File] = true
			c.adviseDamaged(t, p, filepath.Join(dir, found.File))
		}
		c.problem(checkProblem{
			Where: filepath.Join(p.Dir, found.File), Text: found.Text, Repairable: found.Repairable,
			Repaired: c.repair && found.Repairable && !slices.Contains(left, found),
		})
	}
	if err := c.missingIndexes(p); err != nil {
		return err
	}
	return c.topicID(t, p)
}

// adviseDamaged says how to go on after records that nothing can bring back.
func (c *check) adviseDamaged(t catalog.TopicView, p catalog.PartitionView, file string) {
	partition := strings.TrimPrefix(p.Dir, t.Name+"-")
	c.note("records of %s are damaged, and no repair touches them: copy the file back from a backup, or have consumers go on behind them; "+
		"`ottla dump %s` shows the offsets of the last batch that can be told, "+
		"`ottla group reset-offsets GROUP --topic %s:%s --to-offset OFFSET --execute` moves a group", p.Dir, file, t.Name, partition)
}

// missingIndexes collects the indexes that segments lack.
func (c *check) missingIndexes(p catalog.PartitionView) error {
	names, err := c.fs.List(filepath.Join(c.dir, p.Dir))
	if err != nil {
		return err
	}
	for _, name := range names {
		base, isLog := strings.CutSuffix(name, ".log")
		if !isLog {
			continue
		}
		for _, suffix := range []string{".index", ".timeindex"} {
			if !slices.Contains(names, base+suffix) {
				c.noIndex = append(c.noIndex, filepath.Join(p.Dir, base+suffix))
			}
		}
	}
	return nil
}

// topicID compares the directory's own idea of its topic with the catalog's.
func (c *check) topicID(t catalog.TopicView, p catalog.PartitionView) error {
	const bytesMax, name = 4096, "partition.metadata"
	content, err := disk.ReadFile(c.fs, filepath.Join(c.dir, p.Dir, name), bytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if c.report.Clean { // else it may be as new as the kill: the first pass of a log writes it, and an open that misses it
			c.problem(checkProblem{Where: p.Dir, Text: "there is no " + name})
		}
		return nil
	case err != nil && !errors.Is(err, disk.ErrTooLarge):
		return err
	}
	if id := topicID(t.ID); !strings.Contains(string(content), id) {
		c.problem(checkProblem{Where: filepath.Join(p.Dir, name), Text: fmt.Sprintf("it does not name topic id %s: the directory belongs to another topic", id)})
	}
	return nil
}

// strays reports directories that look like partitions and belong to no topic.
func (c *check) strays(names []string, owned map[string]bool) {
	for _, name := range names {
		if owned[name] {
			continue
		}
		if _, err := c.fs.Stat(filepath.Join(c.dir, name, "partition.metadata")); err == nil && !strings.HasSuffix(name, "-stray") && !strings.HasSuffix(name, "-delete") {
			c.problem(checkProblem{Where: name, Text: "a partition's directory that belongs to no topic; the next start sets it aside"})
		}
	}
}

func (c *check) print() error {
	w := c.cmd.OutOrStdout()
	if c.output == outputJSON {
		return printJSON(w, c.report)
	}
	for _, n := range c.report.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	left := 0
	for _, p := range c.report.Problems {
		mark := ""
		switch {
		case p.Repaired:
			mark = "  [repaired]"
		case p.Repairable:
			mark = "  [--repair can fix it]"
		}
		if !p.Repaired {
			left++
		}
		fmt.Fprintf(w, "%s: %s%s\n", p.Where, p.Text, mark)
	}
	_, err := fmt.Fprintf(w, "%d topics, %d partitions, %d batches, %d producer entries, %d entries of groups: %d problems, %d repaired\n", c.report.Topics,
		c.report.Partitions, c.report.Batches, c.report.Entries, c.report.GroupEntries, len(c.report.Problems), len(c.report.Problems)-left)
	return err
}
