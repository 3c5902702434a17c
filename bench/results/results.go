// Package results owns what a measurement is: the plain data between the rows that measure and the report that is
// written of them, kept as JSON beside the report so that it can be written again without measuring. It must not know
// how anything is measured, nor how it is drawn.
package results

import (
	"encoding/json"
	"fmt"
	"io"
)

// Broker names what a measurement was made of.
type Broker string

const (
	Kafka Broker = "kafka"
	Ottla Broker = "ottla"
	Null  Broker = "null" // answers and stores nothing: the physical limit of the client
	// NullDisk answers when a request's bytes are durable, and does nothing else with them: the physical limit of client and disk.
	NullDisk Broker = "null-disk"
)

// Limit tells whether it is no broker but what limits one.
func (b Broker) Limit() bool { return b == Null || b == NullDisk }

// Better says which way is good.
type Better string

const (
	Higher Better = "higher"
	Lower  Better = "lower"
	Flat   Better = "flat" // along the row's axis
	Fact   Better = ""     // no comparison: a fact, such as "5 of 5 exact"
)

// Metric describes one value of a section: its column.
type Metric struct {
	Name   string  `json:"name"` // unique in the section, such as "throughput"
	Title  string  `json:"title"`
	Unit   string  `json:"unit"` // such as "MB/s", "ms", "s/GB", "MiB"; empty for a text
	Better Better  `json:"better"`
	Reach  float64 `json:"reach,omitempty"` // the ratio Ottla / Kafka that is the goal, 0 for none
	Most   float64 `json:"most,omitempty"`  // the goal for Ottla's value itself, in the unit: at most this; 0: none
}

// Section is one table of the report, with a chart if it says so.
type Section struct {
	Name    string   `json:"name"`  // unique, a word: "produce"
	Title   string   `json:"title"` // of the table
	About   string   `json:"about"` // a paragraph: what is measured, how, what the client is
	Row     string   `json:"row"`   // what the first column holds: "workload"
	Metrics []Metric `json:"metrics"`
	Chart   Chart    `json:"chart"`
	// Began, Commit and Rounds are those of the run that measured the section: of an earlier one where runs were merged.
	Began  string `json:"began,omitempty"`
	Commit string `json:"commit,omitempty"`
	Rounds int    `json:"rounds,omitempty"`
}

// Chart says how the section's metric is drawn; the zero value is no chart.
type Chart struct {
	Kind   string   `json:"kind,omitempty"`   // "bars": a group of bars a row, a bar a broker; "lines": x is Sample.X, a line a broker
	Metric []string `json:"metric,omitempty"` // one chart for each
	XTitle string   `json:"xTitle,omitempty"`
	LogX   bool     `json:"logX,omitempty"`
	LogY   bool     `json:"logY,omitempty"`
}

// Sample is what one round of one row gave for one broker. With neither a row nor a broker it is a note of the whole section:
// why it could not be measured to its end.
type Sample struct {
	Section string             `json:"section"`
	Row     string             `json:"row"` // "1 KiB, 12 partitions, lz4, librdkafka"; rows are shown in the order of their first sample
	Broker  Broker             `json:"broker"`
	Round   int                `json:"round"` // from 1; round 0 is a warm-up, kept here and left out of the tables
	X       float64            `json:"x,omitempty"`
	Values  map[string]float64 `json:"values"`
	Texts   map[string]string  `json:"texts,omitempty"` // metrics that are words, such as "dead after 741 producers"
	Note    string             `json:"note,omitempty"`  // a failure or a doubt, shown below the table
}

// Setting is what a broker or a tool was started with, such as "Kafka's Java flags" and the flags.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Run is everything of one run of the harness.
type Run struct {
	Began    string            `json:"began"` // RFC 3339, UTC
	Ended    string            `json:"ended"`
	Command  string            `json:"command"`
	Commit   string            `json:"commit"`
	Machine  map[string]string `json:"machine"`  // cores, model, memory, kernel, filesystem
	Versions map[string]string `json:"versions"` // Ottla, Kafka, Java, Go, librdkafka
	Setup    []Setting         `json:"setup,omitempty"`
	Rounds   int               `json:"rounds"` // asked for; a section may have fewer
	Sections []Section         `json:"sections"`
	Samples  []Sample          `json:"samples"`
}

// Write writes the run as indented JSON.
func (r *Run) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// Read reads what Write wrote.
func Read(r io.Reader) (*Run, error) {
	var out Run
	if err := json.NewDecoder(r).Decode(&out); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return &out, nil
}
