package null

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// storeBytes is the size of the file that requests are written to, over and over.
const storeBytes = 256 << 20

// blockBytes is what a disk writes at least. Each commit begins with a block of its own: one that is small is then one block
// and never two.
const blockBytes = 4 << 10

// ring is a file whose blocks have all been written before: a write changes nothing but data, so that making it durable is
// one write of the disk and one flush of its cache, and no transaction of the file system.
type ring struct {
	file *os.File
	size int64
	next int64 // where the next write goes
}

// newRing makes the file, or takes the one that is there, and writes all of it.
func newRing(path string, size int64) (_ *ring, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, fmt.Errorf("the name of %s: %w", path, err)
	}
	return &ring{file: f, size: size}, nil
}

// write writes pieces of so many bytes in all, at most the ring's, one behind the other.
func (r *ring) write(pieces [][]byte, total int64) error {
	if r.next+total > r.size {
		r.next = 0
	}
	at := r.next
	r.next = (at + total + blockBytes - 1) / blockBytes * blockBytes
	return writePieces(r.file, pieces, at)
}
