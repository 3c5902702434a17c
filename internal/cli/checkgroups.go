package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/node"
)

// groups checks the store of consumer groups: that it opens, that it is not ahead of the log it is made from, and that its entries can
// be read.
func (c *check) groups(ctx context.Context) error {
	dir := filepath.Join(c.dir, node.GroupsDir)
	if _, err := c.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		c.note("there is no store of consumer groups: the next start makes it from %s", node.OffsetsTopic)
		return nil
	}
	cold, err := node.OpenEntries(c.fs, dir, checkMemoryBytes)
	if errors.Is(err, coldstate.ErrCorrupt) {
		return c.damagedStore(dir, node.GroupsDir, "the store of consumer groups", err)
	} else if err != nil {
		return fmt.Errorf("store of consumer groups: %w", err)
	}
	return errors.Join(c.auditGroups(ctx, cold), cold.Close())
}

func (c *check) auditGroups(ctx context.Context, cold *coldstate.Store) error {
	known := map[uint64]bool{}
	for _, t := range c.view.Topics {
		if t.Name != node.OffsetsTopic {
			continue
		}
		for _, p := range t.Partitions {
			known[p.Num] = true
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.auditGroupPartition(cold, p); err != nil {
				return fmt.Errorf("%s: %w", p.Dir, err)
			}
		}
	}
	for _, t := range c.view.Deleting {
		for _, p := range t.Partitions {
			known[p.Num] = true
		}
	}
	return cold.Partitions(func(num uint64) error {
		if known[num] {
			return nil
		}
		return c.forget(cold, num, checkProblem{Where: node.GroupsDir, Text: fmt.Sprintf("groups of partition number %d, which does not exist", num)})
	})
}

func (c *check) auditGroupPartition(cold *coldstate.Store, p catalog.PartitionView) error {
	checkpoint, some, err := cold.Checkpoint(p.Num)
	if err != nil {
		return err
	}
	end, err := logStart(c.fs, filepath.Join(c.dir, p.Dir))
	if err != nil {
		return err
	}
	walkErr := walkLog(c.fs, filepath.Join(c.dir, p.Dir), func(h batch.Header) error {
		end = h.LastOffset() + 1
		return nil
	})
	if walkErr != nil && !errors.Is(walkErr, errLogEnds) {
		return walkErr
	}
	if some && checkpoint.Offset > end {
		text := fmt.Sprintf("the store of consumer groups reaches to offset %d, the log only to %d: it has lost records", checkpoint.Offset, end)
		return c.forget(cold, p.Num, checkProblem{Where: p.Dir, Text: text})
	}
	var problems []string
	found := 0
	var from []byte
	for more := true; more; {
		const chunk = 1000
		from, more, err = cold.ScanBytes(p.Num, nil, from, chunk, func(key, val []byte) ([]byte, error) {
			c.report.GroupEntries++
			if text, readable := node.GroupEntryText(key, val); !readable {
				if found++; len(problems) < problemsMax {
					problems = append(problems, text)
				}
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
	}
	if found == 0 {
		return nil
	}
	text := strings.Join(problems, "; ")
	if found > len(problems) {
		text += fmt.Sprintf("; and %d more", found-len(problems))
	}
	return c.forget(cold, p.Num, checkProblem{Where: p.Dir, Text: "the store of consumer groups: " + text})
}
