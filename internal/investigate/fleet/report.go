package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ottla/internal/investigate/diagnose"
)

// FilesMax is the most recorded scans that one replay takes.
const FilesMax = 100_000

// Report is one run over a fleet.
type Report struct {
	Schema   int       `json:"schema"`
	Tool     string    `json:"tool"`
	At       time.Time `json:"at"` // the run's begin
	Seconds  float64   `json:"seconds"`
	Exit     int       `json:"exit"` // of the worst level: 2 before 1 before 3 before 4 before 0
	Sentence string    `json:"sentence"`
	Clusters int       `json:"clusters"`
	// Levels and Changes count rows.
	Levels  map[diagnose.Level]int `json:"levels"`
	Changes map[string]int         `json:"changes,omitempty"`
	Rows    []Row                  `json:"rows"` // the most urgent first
	Notes   []string               `json:"notes,omitempty"`
}

func (r *run) report(rows []Row) *Report {
	sortRows(rows)
	out := &Report{
		Schema: ReportSchema, Tool: r.o.Tool, At: r.started.UTC(), Seconds: r.o.Now().Sub(r.started).Seconds(),
		Clusters: len(rows), Levels: map[diagnose.Level]int{}, Rows: rows, Notes: r.mu.notes,
	}
	for i := range rows {
		out.Levels[rows[i].Level]++
		if c := rows[i].Change; c != "" {
			if out.Changes == nil {
				out.Changes = map[string]int{}
			}
			out.Changes[c]++
		}
	}
	out.Exit, out.Sentence = out.ExitFor("any"), out.sentence()
	return out
}

// failOn are the values of --fail-on, each with the levels that make an exit code.
var failOn = map[string][]diagnose.Level{
	"any":          {diagnose.Storm, diagnose.Armed, diagnose.Inconclusive, Unreachable},
	"inconclusive": {diagnose.Storm, diagnose.Armed, diagnose.Inconclusive},
	"armed":        {diagnose.Storm, diagnose.Armed},
	"storm":        {diagnose.Storm},
	"never":        {},
}

// ExitFor is the exit code of the worst level among those that name says: any, inconclusive, armed, storm, never.
func (r *Report) ExitFor(name string) int {
	worst := diagnose.Healthy
	for _, l := range failOn[name] {
		if r.Levels[l] > 0 && severity(l) > severity(worst) {
			worst = l
		}
	}
	return exitOf(worst)
}

// sentence says it all in one.
func (r *Report) sentence() string {
	var parts []string
	for _, l := range []diagnose.Level{diagnose.Storm, diagnose.Armed, diagnose.Inconclusive, Unreachable, diagnose.Healthy} {
		if n := r.Levels[l]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, l))
		}
	}
	out := fmt.Sprintf("%d clusters: %s.", r.Clusters, strings.Join(parts, ", "))
	if r.Clusters == 1 {
		out = fmt.Sprintf("1 cluster: %s.", r.Rows[0].Level)
	}
	if len(r.Rows) > 0 && r.Rows[0].UntilFull >= 0 {
		out += fmt.Sprintf(" The first to run out of memory is %s.", r.Rows[0].Name)
	}
	return out
}

var recordedExts = []string{".json.gz", ".json"}

// Recorded lists the recorded scans of a directory: *.json and *.json.gz, in the order of their names.
func Recorded(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || !slices.ContainsFunc(recordedExts, func(ext string) bool { return strings.HasSuffix(name, ext) }) {
			continue
		}
		if out = append(out, filepath.Join(dir, name)); len(out) > FilesMax {
			return nil, fmt.Errorf("%s: more than %d recorded scans", dir, FilesMax)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no recorded scans: files *.json or *.json.gz", dir)
	}
	return out, nil
}

func recordedName(path string) string {
	name := filepath.Base(path)
	for _, ext := range recordedExts {
		if cut, ok := strings.CutSuffix(name, ext); ok {
			return cut
		}
	}
	return name
}
