package cli

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
	"ottla/internal/investigate/report"
)

// readScans reads recorded scans and puts them in the order of their times.
func readScans(paths []string) ([]*evidence.Scan, error) {
	var out []*evidence.Scan
	for _, path := range paths {
		s, err := readScan(path)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b *evidence.Scan) int { return a.Ended.Compare(b.Ended) })
	return out, nil
}

// readScan reads one recorded scan, compressed or not, of at most evidence.RecordedScanBytesMax.
func readScan(path string) (*evidence.Scan, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	scan, err := decodeScan(file, evidence.RecordedScanBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return scan, nil
}

func decodeScan(r io.Reader, most int64) (*evidence.Scan, error) {
	in := bufio.NewReader(r)
	r = in
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return nil, notRecorded(err)
		}
		defer unpacked.Close()
		r = unpacked
	}
	limited := &io.LimitedReader{R: r, N: most + 1}
	scan, err := evidence.Decode(limited)
	switch {
	case limited.N <= 0:
		return nil, fmt.Errorf("more than %d bytes", most)
	case err != nil:
		return nil, notRecorded(err)
	case scan.Schema < 1 || scan.Sources == nil:
		return nil, errors.New("not a recorded scan")
	case scan.Schema > evidence.SchemaVersion:
		return nil, fmt.Errorf("recorded in schema %d by a newer version (%s); this one reads up to %d", scan.Schema, report.Clean(scan.Tool), evidence.SchemaVersion)
	}
	return scan, nil
}

// notRecorded says why a file is no recorded scan, without the words of readers.
func notRecorded(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("not a recorded scan: the file is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not a recorded scan, or not all of it: the file is cut")
	}
	return fmt.Errorf("not a recorded scan: %w", err)
}

// writeScan records a scan, compressed if the name ends in .gz.
func writeScan(path string, scan *evidence.Scan) error {
	return writeFile(path, func(w io.Writer) error {
		if !strings.HasSuffix(path, ".gz") {
			return json.NewEncoder(w).Encode(scan)
		}
		z := gzip.NewWriter(w)
		if err := json.NewEncoder(z).Encode(scan); err != nil {
			return err
		}
		return z.Close()
	})
}

// readable tries whether files can be read. Pipes are not opened: what is in them comes once.
func readable(paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a directory", path)
		case !info.Mode().IsRegular():
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		_ = file.Close()
	}
	return nil
}

// writable tries whether files can be written, before minutes are spent on what goes into them. Empty paths and "-" are none.
func writable(paths ...string) error {
	for _, path := range paths {
		if path == "" || path == "-" {
			continue
		}
		switch info, err := os.Stat(path); {
		case err == nil && info.IsDir():
			return fmt.Errorf("%s is a directory", path)
		case err == nil && !info.Mode().IsRegular():
			continue
		}
		file, err := createBeside(path)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// writeOutputs writes each file that has a path; "-" is none.
func writeOutputs(outputs map[string]func(io.Writer) error) error {
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(outputs)) {
		if path != "" && path != "-" {
			errs = append(errs, writeFile(path, outputs[path]))
		}
	}
	return errors.Join(errs...)
}

func createBeside(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
}

// writeFile writes a file that is whole or not there.
func writeFile(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // /dev/stdout, a pipe
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(file), file.Close())
	}
	file, err := createBeside(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	err = errors.Join(write(w), w.Flush(), file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// scanProgress is one line on a terminal that is written over and over.
type scanProgress struct {
	w  io.Writer // nil: none
	mu struct {
		sync.Mutex
		shown bool
	}
}

func newScanProgress(w io.Writer, quiet bool) *scanProgress {
	if quiet || !onTerminal(w) {
		w = nil
	}
	return &scanProgress{w: w}
}

func (p *scanProgress) show(s collect.Progress) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.shown = true
	fmt.Fprint(p.w, "\r\x1b[K"+scanLine(s))
}

func (p *scanProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && p.mu.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// scanLine is at most 80 columns wide.
func scanLine(s collect.Progress) string {
	const width = 20
	filled := 0
	if s.Total > 0 {
		filled = min(width, width*s.Done/s.Total)
	}
	bar := strings.Repeat("#", filled) + strings.Repeat(".", width-filled)
	return fmt.Sprintf("%-18s [%s] %d/%d  %s, %d requests, %s", s.Source, bar, s.Done, s.Total, phrase.Bytes(float64(s.Bytes)), s.Requests, s.Elapsed.Round(time.Second))
}
