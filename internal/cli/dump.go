package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/node"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// textBytesMax bounds the small text files of a data directory.
const textBytesMax = 1 << 20

func newDump(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "dump FILE", Short: "Print any file of a data directory", Args: wantArgs(1, 1, "one file"),
		Long: `Print any file of a data directory: the catalog (catalog.log), the journal (journal-0.log, journal-1.log), the files of a partition (.log, .index,
.timeindex, leader-epoch-checkpoint, partition.metadata, log-start-offset), meta.properties, the marker of a
clean stop, and, only while the broker is not running, the store of producer entries (the directory "producers")
and that of groups (the directory "groups"). Records of __consumer_offsets are printed in words.`,
		Example: "  ottla dump ottla-data/orders-0/00000000000000000000.log",
		RunE: func(cmd *cobra.Command, args []string) error {
			return dump(env.FS, args[0], cmd.OutOrStdout())
		},
	}
}

func dump(fsys disk.FS, name string, w io.Writer) error {
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	base := filepath.Base(filepath.Clean(name))
	switch {
	case info.Dir && base == node.ProducersDir:
		return dumpStore(fsys, name, w, dumpEntries)
	case info.Dir && base == node.GroupsDir:
		return dumpStore(fsys, name, w, dumpGroupEntries)
	case info.Dir:
		return fmt.Errorf("%s is a directory: name a file in it, or its %q or %q", name, node.ProducersDir, node.GroupsDir)
	case base == catalog.JournalName:
		return catalog.Dump(fsys, name, w)
	case base == node.CleanMarker || base == "meta.properties":
		content, err := disk.ReadFile(fsys, name, textBytesMax)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	if err := seglog.DumpFile(fsys, name, w); err != nil || !isGroupSegment(name) {
		return err
	}
	return dumpGroupSegment(fsys, name, w)
}

// dumpStore prints the checkpoint and the entries of every partition.
func dumpStore(fsys disk.FS, dir string, w io.Writer, entries func(*coldstate.Store, uint64, io.Writer) error) (err error) {
	cold, err := node.OpenEntries(fsys, dir, checkMemoryBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cold.Close()) }()
	names := map[uint64]string{}
	if view, err := catalog.Inspect(fsys, filepath.Dir(filepath.Clean(dir))); err == nil {
		for _, t := range view.Topics {
			for _, p := range t.Partitions {
				names[p.Num] = p.Dir
			}
		}
	}
	return cold.Partitions(func(num uint64) error {
		c, found, err := cold.Checkpoint(num)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "partition %d %s", num, names[num])
		if found {
			fmt.Fprintf(w, " checkpoint offset: %d segment: %d position: %d", c.Offset, c.SegmentBase, c.Position)
		}
		fmt.Fprintln(w)
		return entries(cold, num, w)
	})
}

func dumpEntries(cold *coldstate.Store, num uint64, w io.Writer) error {
	const chunk = 1000
	next, more := int64(0), true
	for more {
		var err error
		next, more, err = cold.Scan(num, next, chunk, func(pid int64, value []byte) error {
			return printEntry(w, pid, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func printEntry(w io.Writer, pid int64, value []byte) error {
	var e producer.Entry
	if err := producer.Decode(value, &e); err != nil {
		_, err = fmt.Fprintf(w, "  producer %d: %v: %x\n", pid, err, value)
		return err
	}
	fmt.Fprintf(w, "  producer %d epoch: %d last seen: %d run before: %d batches:", pid, e.Epoch, e.LastSeen, e.RunLength)
	for _, s := range e.Window() {
		fmt.Fprintf(w, " sequences [%d,%d] offsets [%d,%d]", s.BaseSequence, s.LastSequence, s.BaseOffset, s.LastOffset)
	}
	_, err := fmt.Fprintln(w)
	return err
}
