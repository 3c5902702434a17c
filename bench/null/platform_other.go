//go:build !linux

package null

import "os"

func datasync(f *os.File) error { return f.Sync() }

func writePieces(f *os.File, pieces [][]byte, at int64) error {
	for _, b := range pieces {
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}
