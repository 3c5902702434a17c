// Package autopsy finds out why a broker died, or is about to, from what is left of it: class histograms, heap dumps,
// producer snapshots, log segments, text logs and the metadata log, mixed freely and told apart by their content.
//
// It owns the parsers of those files (each turns bytes into the plain data of Evidence and judges nothing), the rules
// that turn Evidence into a Report (pure: the same evidence gives the same report), and the printing of a Report. Thresholds,
// heap arithmetic and remedies that a live investigation shares are diagnose's.
//
// It must not know Kafka's protocol, talk to a network or write a file. Files are read in streams: what is kept in memory has
// named limits, and what a limit or damage cut off is said in the evidence.
package autopsy
