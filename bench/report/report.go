// Package report owns how a measured run looks: docs/benchmarks.md and the SVG charts beside it. It must not know how
// anything is measured; whatever it prints is in results.Run.
package report

import (
	"ottla/bench/results"
)

// Write writes the run as Markdown to markdownPath, and its charts to pictures/bench-SECTION-METRIC.svg beside it. A file
// that is there is replaced. The same run gives the same bytes.
func Write(run *results.Run, markdownPath string) error { return nil }

// Storm draws the memory of both brokers under the storm until Kafka dies at -Xmx256m, of the section "death". It is an
// error if the run has no such section, or no sample of it that can be drawn.
func Storm(run *results.Run) ([]byte, error) { return nil, nil }
