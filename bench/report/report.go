// Package report owns how a measured run looks: docs/benchmarks.md and the SVG charts beside it. It must not know how
// anything is measured; whatever it prints is in results.Run.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ottla/bench/results"
)

// byHand is the line from which on Write keeps what is in the file: an explanation that no program can write.
const byHand = "<!-- By hand from here on; the lines above are written by bench. -->"

// picturesDir is beside the Markdown.
const picturesDir = "pictures"

// Write writes the run as Markdown to markdownPath, and its charts to pictures/bench-SECTION-METRIC.svg beside it. A file
// that is there is replaced, except for what follows the line "<!-- By hand from here on; ... -->"; charts of this pattern
// that the run does not have are removed. The same run gives the same bytes.
func Write(run *results.Run, markdownPath string) error {
	charts, err := charts(run)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text := markdown(run)
	old, err := os.ReadFile(markdownPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("report: %w", err)
	}
	if at := bytes.Index(old, []byte(byHand)); at >= 0 {
		text = append(append(text, '\n'), old[at:]...)
	}
	dir := filepath.Join(filepath.Dir(markdownPath), picturesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	stale, err := filepath.Glob(filepath.Join(dir, "bench-*.svg"))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if storm, err := Storm(run); err == nil {
		charts = append(charts, chart{stormFile, storm})
	} // else the picture of an earlier run stays
	for _, c := range charts {
		path := filepath.Join(dir, c.file)
		stale = slices.DeleteFunc(stale, func(s string) bool { return s == path })
		if err := os.WriteFile(path, c.svg, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("report: a chart of an earlier run: %w", err)
		}
	}
	if err := os.WriteFile(markdownPath, text, 0o644); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// chart is a drawn metric.
type chart struct {
	file string
	svg  []byte
}

func chartFile(section, metric string) string {
	return "bench-" + fileWord(section) + "-" + fileWord(metric) + ".svg"
}

// charts draws what the sections ask for. A metric without a value that can be drawn gets no chart.
func charts(run *results.Run) (out []chart, err error) {
	seen := map[string]string{}
	for _, s := range run.Sections {
		v := viewOf(s, run.Samples)
		for _, name := range s.Chart.Metric {
			m, ok := v.metric(name)
			if !ok {
				return nil, fmt.Errorf("section %q draws %q, which is none of its metrics", s.Name, name)
			}
			svg, err := v.draw(m)
			if err != nil {
				return nil, err
			}
			if svg == nil {
				continue
			}
			file := chartFile(s.Name, name)
			if other, taken := seen[file]; taken {
				return nil, fmt.Errorf("%s and %s.%s would have one file, %s", other, s.Name, name, file)
			}
			seen[file] = s.Name + "." + name
			out = append(out, chart{file, svg})
		}
	}
	return out, nil
}

func (v *view) metric(name string) (results.Metric, bool) {
	at := slices.IndexFunc(v.Metrics, func(m results.Metric) bool { return m.Name == name })
	if at < 0 {
		return results.Metric{}, false
	}
	return v.Metrics[at], true
}

func (v *view) draw(m results.Metric) ([]byte, error) {
	switch v.Chart.Kind {
	case "":
		return nil, nil
	case "bars":
		return v.bars(m), nil
	case "lines":
		return v.lines(m), nil
	}
	return nil, fmt.Errorf("section %q wants a chart of kind %q", v.Name, v.Chart.Kind)
}
