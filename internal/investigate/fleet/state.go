package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ottla/internal/investigate/evidence"
)

const (
	// RecordSchema is the version of a record in a state directory.
	RecordSchema = 1
	// RecordDaysMax is how many days' records of a cluster are kept.
	RecordDaysMax  = 400
	recordBytesMax = 4 << 20
	dayFormat      = "2006-01-02"
	recordExt      = ".json"
	// sweepAge is how old a reading should be to make births per day; without one that old, the oldest serves.
	sweepAge = 20 * time.Hour
)

// Record is what is remembered of one cluster and day.
type Record struct {
	Schema  int              `json:"schema"`
	Cluster string           `json:"cluster"`
	At      time.Time        `json:"at"`
	IDs     evidence.IDModel `json:"id_model,omitempty"`
	// Probes are each broker's first and last readings of the counter on that day.
	Probes []evidence.CounterProbe `json:"probes,omitempty"`
	Row    Row                     `json:"row"`
}

// State is a directory with one directory for each cluster and one file for each day. Files are replaced whole, so that a run
// may be stopped at any time.
type State struct{ dir string }

// OpenState makes the directory if need be.
func OpenState(dir string) (*State, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &State{dir}, nil
}

// FileName is a cluster's name as the name of a file: bytes that may not be in one stand as %XX.
func FileName(cluster string) string {
	var out strings.Builder
	for i := range len(cluster) {
		switch c := cluster[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

func (s *State) of(cluster string) string { return filepath.Join(s.dir, FileName(cluster)) }

// days lists the days with a record, newest first.
func (s *State) days(cluster string) ([]string, error) {
	entries, err := os.ReadDir(s.of(cluster))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		day, isRecord := strings.CutSuffix(e.Name(), recordExt)
		if _, err := time.Parse(dayFormat, day); isRecord && err == nil {
			out = append(out, day)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(b, a) })
	return out, err
}

func (s *State) read(cluster, day string) (*Record, error) {
	path := filepath.Join(s.of(cluster), day+recordExt)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readLimited(file, recordBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r, err := decodeRecord(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func decodeRecord(text []byte) (*Record, error) {
	r := &Record{}
	switch err := json.Unmarshal(text, r); {
	case err != nil:
		return nil, fmt.Errorf("not a record of a fleet: %w", err)
	case r.Schema < 1 || r.Schema > RecordSchema:
		return nil, fmt.Errorf("a record in schema %d; this version reads up to %d", r.Schema, RecordSchema)
	}
	return r, nil
}

// earlier is what is known of a cluster before this run.
type earlier struct {
	last  *Record // newest; nil: none
	today *Record // of the same day, else nil
	probe *Record // whose probes make births per day; nil: none
	notes []string
}

// before reads what is known. Files that cannot be read are noted and passed over.
func (s *State) before(cluster string, now time.Time) earlier {
	var e earlier
	if s == nil {
		return e
	}
	days, err := s.days(cluster)
	if err != nil {
		e.notes = append(e.notes, err.Error())
	}
	for _, day := range days {
		r, err := s.read(cluster, day)
		if err != nil {
			e.notes = append(e.notes, err.Error())
			continue
		}
		if e.last == nil {
			e.last = r
		}
		if day == now.UTC().Format(dayFormat) {
			e.today = r
		}
		if len(r.Probes) == 0 {
			continue
		}
		e.probe = r
		if now.Sub(r.Probes[len(r.Probes)-1].At) >= sweepAge {
			break
		}
	}
	return e
}

// save remembers what was seen today, beside what was seen before on the same day.
func (s *State) save(r *Record, today *Record) error {
	if today != nil {
		r.Probes = append(slices.Clone(today.Probes), r.Probes...)
		if r.IDs == evidence.IDsUnknown {
			r.IDs = today.IDs
		}
	}
	r.Schema, r.Probes = RecordSchema, firstAndLast(r.Probes)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	dir := s.of(r.Cluster)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(dir, r.At.UTC().Format(dayFormat)+recordExt), text); err != nil {
		return err
	}
	return s.prune(r.Cluster)
}

func (s *State) prune(cluster string) error {
	days, err := s.days(cluster)
	for _, day := range days[min(len(days), RecordDaysMax):] {
		err = errors.Join(err, os.Remove(filepath.Join(s.of(cluster), day+recordExt)))
	}
	return err
}

// firstAndLast keeps of each broker the first and the last reading that gave an id, in the order of their times.
func firstAndLast(probes []evidence.CounterProbe) []evidence.CounterProbe {
	probes = slices.DeleteFunc(slices.Clone(probes), func(p evidence.CounterProbe) bool { return p.PID < 0 })
	slices.SortStableFunc(probes, func(a, b evidence.CounterProbe) int { return a.At.Compare(b.At) })
	first, last := map[int32]int{}, map[int32]int{}
	for i, p := range probes {
		if _, seen := first[p.Broker]; !seen {
			first[p.Broker] = i
		}
		last[p.Broker] = i
	}
	var out []evidence.CounterProbe
	for i, p := range probes {
		if i == first[p.Broker] || i == last[p.Broker] {
			out = append(out, p)
		}
	}
	return out
}

// replaceFile writes a file that is whole or as it was.
func replaceFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
