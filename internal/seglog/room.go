package seglog

import (
	"errors"

	"ottla/internal/disk"
)

// spaceFactor is how many times the space must be free that is about to be taken ahead of data.
const spaceFactor = 8

// spaceFor says whether there is plenty of space for so many bytes more: the data itself comes first.
func (s *Store) spaceFor(bytes int64) bool {
	free, err := s.fs.FreeBytes(s.dir)
	return err == nil && free-max(s.freeBytesMin, 0) > spaceFactor*bytes
}

// storeFS is the store's file system. Where no handle is left it has the store's files give way, whatever bound they were
// given: sockets take handles too, and nothing that can be had by closing an idle file may fail for the want of one.
//
// It is called under any lock but fileCache.mu.
type storeFS struct {
	disk.FS
	s *Store
}

func giveWay[T any](y storeFS, open func() (T, error)) (T, error) {
	out, err := open()
	if disk.NoHandleLeft(err) && y.s.files.giveWay() {
		out, err = open()
	}
	return out, err
}

func (y storeFS) Open(name string) (disk.File, error) {
	return giveWay(y, func() (disk.File, error) { return y.FS.Open(name) })
}

func (y storeFS) OpenReadWrite(name string, create bool) (disk.File, error) {
	return giveWay(y, func() (disk.File, error) { return y.FS.OpenReadWrite(name, create) })
}

func (y storeFS) Create(name string) (disk.File, error) {
	return giveWay(y, func() (disk.File, error) { return y.FS.Create(name) })
}

// OpenDirect implements disk.DirectOpener.
func (y storeFS) OpenDirect(name string) (disk.File, error) {
	d, ok := y.FS.(disk.DirectOpener)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return giveWay(y, func() (disk.File, error) { return d.OpenDirect(name) })
}

func (y storeFS) List(dir string) ([]string, error) {
	return giveWay(y, func() ([]string, error) { return y.FS.List(dir) })
}

// SyncDir syncs everything where the directory cannot be opened for want of a handle: no fsync has failed by that, and
// syncfs needs no new handle. (Where there is no syncfs it needs some, and its error stands.) A sync that failed is final, as
// ever.
func (y storeFS) SyncDir(dir string) error {
	err := y.FS.SyncDir(dir)
	if errors.Is(err, disk.ErrNotOpened) && disk.NoHandleLeft(err) {
		return y.s.syncFS()
	}
	return err
}
