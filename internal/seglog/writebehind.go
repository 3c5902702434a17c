package seglog

import (
	"errors"
	"time"

	"ottla/internal/disk"
)

const (
	// writeAgainWait is the wait between two tries to write what is in memory alone.
	writeAgainWait = time.Second
	// writeAgainMax is how often a pass tries again: all appends to the store wait for it meanwhile. A checkpoint, for which nobody waits, tries
	// until the store is closed.
	writeAgainMax = 30
	// namesAheadFiles is how many files must be free where names are made behind an answer: those of as many logs as have room in memory.
	namesAheadFiles = heldBytesMax / heldOverhead * filesOfLogMax
	// filesOfLogMax is how many a new log has in its first minutes, its directory included.
	filesOfLogMax = 8
)

// notWritten is the error of writing what is in memory alone where another try may succeed: nothing is lost, and nobody was told that it is
// where it is not. An fsync's error never is one.
type notWritten struct{ error }

func (e notWritten) Unwrap() error { return e.error }

// writtenBehind classifies the error of writing what is held in memory.
func writtenBehind(err error) error {
	if isNoSpace(err) || disk.NoHandleLeft(err) {
		return notWritten{err}
	}
	return err
}

func mayWriteAgain(err error) bool {
	_, again := errors.AsType[notWritten](err)
	return again
}

// waitToWriteAgain waits and says whether to go on trying after the next time.
func (s *Store) waitToWriteAgain() bool {
	select {
	case <-s.closing:
		return false
	case <-time.After(s.writeAgainWait):
		return !s.isOffline.Load()
	}
}

// noHandleAgain calls write until it has handles for what it does.
func (s *Store) noHandleAgain(write func() error) error {
	for tries, goOn := 0, true; ; tries++ {
		err := write()
		if !disk.NoHandleLeft(err) || !goOn || tries == writeAgainMax {
			return err
		}
		if tries == 0 {
			s.metrics.BackgroundErrors.Inc()
			s.logger.Warn("appends wait for a file to be made", "dir", s.dir, "error", err)
		}
		goOn = s.waitToWriteAgain()
	}
}

// refreshFiles looks up how many files may be made. A look that fails changes nothing.
func (s *Store) refreshFiles() {
	free, err := s.fs.FreeFiles(s.dir)
	if err != nil {
		return
	}
	if few := free < namesAheadFiles; s.filesFew.Swap(few) != few {
		s.logger.Warn("free inodes of the data directory", "dir", s.dir, "files", free, "files_made_at_once", few)
	}
}
