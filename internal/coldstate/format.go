package coldstate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"ottla/internal/disk"
)

const (
	// formatVersion is raised when a change makes older versions of the product misread the store, a newer format of
	// Pebble's included.
	formatVersion = 1
	// formatFile holds the version; it is written before anything else of the store.
	formatFile   = "ottla-cold-format"
	formatPrefix = "ottla-cold "
	// corruptFile marks a store in which damage was found while it was in use: it must not be opened again.
	corruptFile = "ottla-cold-corrupt"
	// asideSuffix is appended to the directory of a store that was given up.
	asideSuffix = ".corrupt"

	formatFileBytesMax = 64
)

// checkFormat makes sure that dir is a store of this version or an older one, and makes an empty one if there is none.
func checkFormat(fsys disk.FS, dir string) error {
	if _, err := fsys.Stat(filepath.Join(dir, corruptFile)); err == nil {
		return fmt.Errorf("%w: damage was found in an earlier run", ErrCorrupt)
	}
	data, err := disk.ReadFile(fsys, filepath.Join(dir, formatFile), formatFileBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createFormat(fsys, dir)
	case errors.Is(err, disk.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return err
	}
	return parseFormat(data)
}

func parseFormat(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(formatPrefix))
	version, err := strconv.ParseUint(strings.TrimSuffix(string(rest), "\n"), 10, 31)
	switch {
	case !ok || err != nil || version == 0:
		return fmt.Errorf("%w: %s holds %q", ErrCorrupt, formatFile, data)
	case version > formatVersion:
		return fmt.Errorf("%w: format %d, this version knows %d", ErrNewerFormat, version, formatVersion)
	}
	return nil
}

// createFormat marks a new directory. One that holds tables but no format is not ours to trust.
func createFormat(fsys disk.FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, formatFile) {
			return fmt.Errorf("%w: %s is missing, %s is there", ErrCorrupt, formatFile, name)
		}
	}
	if err := fsys.SyncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return err
	}
	return disk.WriteFileAtomic(fsys, filepath.Join(dir, formatFile), fmt.Appendf(nil, "%s%d\n", formatPrefix, formatVersion))
}
