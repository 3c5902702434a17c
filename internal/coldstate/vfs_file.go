package coldstate

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ottla/internal/disk"
)

// guardedFile is disk.File as Pebble wants it: with a position. Pebble never writes and syncs one file at the same time.
type guardedFile struct {
	f    disk.File
	name string
	fs   *guardedFS
	pos  int64
	book bool // see isBook
}

// change runs an operation that changes the file. Of a failure with a book the guard dies and Pebble sees nothing.
func (g *guardedFile) change(fn func() error) error {
	err := g.fs.change(fn)
	if err != nil && g.book {
		g.fs.guard.fatal(err)
		return nil
	}
	return err
}

// Close implements vfs.File.
func (g *guardedFile) Close() error {
	err := g.fs.note(g.f.Close())
	if err != nil && g.book {
		g.fs.guard.fatal(err)
		return nil
	}
	return err
}

// Read implements vfs.File.
func (g *guardedFile) Read(p []byte) (int, error) {
	n, err := g.f.ReadAt(p, g.pos)
	g.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, g.fs.note(err)
}

// ReadAt implements vfs.File.
func (g *guardedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := g.f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		g.fs.paceRead()
	}
	return n, g.fs.note(err)
}

// Write implements vfs.File.
func (g *guardedFile) Write(p []byte) (n int, err error) {
	n, err = g.WriteAt(p, g.pos)
	g.pos += int64(n)
	return n, err
}

// WriteAt implements vfs.File.
func (g *guardedFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = g.change(func() error {
		n, err = g.f.WriteAt(p, off)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Preallocate implements vfs.File and does nothing.
func (g *guardedFile) Preallocate(_, _ int64) error { return nil }

// Stat implements vfs.File.
func (g *guardedFile) Stat() (vfs.FileInfo, error) {
	size, err := g.f.Size()
	if g.fs.note(err) != nil {
		return nil, err
	}
	return fileInfo{disk.Info{Size: size}, g.name}, nil
}

// Sync implements vfs.File.
func (g *guardedFile) Sync() error { return g.change(g.f.Sync) }

// SyncData implements vfs.File.
func (g *guardedFile) SyncData() error { return g.Sync() }

// SyncTo implements vfs.File: it starts writing back, where the file can, so that the final Sync finds little to do.
func (g *guardedFile) SyncTo(length int64) (fullSync bool, err error) {
	if w, ok := g.f.(disk.Writebacker); ok {
		return false, g.change(func() error { return w.StartWriteback(length) })
	}
	return false, nil
}

// Prefetch implements vfs.File and does nothing.
func (g *guardedFile) Prefetch(_, _ int64) error { return nil }

// Fd implements vfs.File.
func (g *guardedFile) Fd() uintptr {
	if x, ok := g.f.(interface{ Fd() uintptr }); ok {
		return x.Fd()
	}
	return vfs.InvalidFd
}

// guardedDir is a directory opened to be synced.
type guardedDir struct{ guardedFile }

// Close implements vfs.File.
func (d *guardedDir) Close() error { return nil }

// Sync implements vfs.File. A failure kills the guard and Pebble does not learn of it, as with its books: they follow.
func (d *guardedDir) Sync() error {
	if err := d.fs.change(func() error { return d.fs.fs.SyncDir(d.name) }); err != nil {
		d.fs.guard.fatal(err)
	}
	return nil
}

// SyncData implements vfs.File.
func (d *guardedDir) SyncData() error { return d.Sync() }

// SyncTo implements vfs.File.
func (d *guardedDir) SyncTo(int64) (bool, error) { return false, nil }

// nullFile swallows what is written.
type nullFile struct{}

func (nullFile) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Close() error                           { return nil }
func (nullFile) Truncate(int64) error                   { return nil }
func (nullFile) Sync() error                            { return nil }
func (nullFile) Size() (int64, error)                   { return 0, nil }
