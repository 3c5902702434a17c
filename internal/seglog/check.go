package seglog

import (
	"io"

	"ottla/internal/disk"
)

// Problem is one finding of CheckLog.
type Problem struct {
	File       string // below the log's directory
	Text       string
	Repairable bool // RepairLog can derive it again
}

// CheckLog verifies a log's directory without changing it.
func CheckLog(fsys disk.FS, dir string) ([]Problem, error) { return nil, nil }

// RepairLog rebuilds what is derived, and returns what it could not.
func RepairLog(fsys disk.FS, dir string) ([]Problem, error) { return nil, nil }

// DumpFile prints any file of a log.
func DumpFile(fsys disk.FS, name string, w io.Writer) error { return nil }
