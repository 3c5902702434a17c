package catalog

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"ottla/internal/partition"
)

const segmentSuffix = ".log"

// SizeBytes returns the size of a partition's segments, without loading it.
func (c *Catalog) SizeBytes(ctx context.Context, p *partition.Partition) (int64, error) {
	if p.Loaded() {
		return p.SizeBytes(ctx)
	}
	dir := filepath.Join(c.o.Dir, p.Dir())
	names, err := c.o.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	total := int64(0)
	for _, name := range names {
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		info, err := c.o.FS.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return 0, err
		}
		total += info.Size
	}
	return total, err
}

// unknownBytes is how Kafka says that it does not know.
const unknownBytes = -1

// DiskBytes returns the size of the volume and what is usable of it; -1 where that is unknown.
func (c *Catalog) DiskBytes() (total, usable int64) {
	total, usable = unknownBytes, unknownBytes
	if free, err := c.o.FS.FreeBytes(c.o.Dir); err == nil {
		usable = free
	}
	if sized, ok := c.o.FS.(interface {
		TotalBytes(dir string) (int64, error)
	}); ok {
		if n, err := sized.TotalBytes(c.o.Dir); err == nil {
			total = n
		}
	}
	return total, usable
}
