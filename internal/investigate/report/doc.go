// Package report prints a verdict: for a terminal, as JSON, as one self-contained HTML page, as Markdown for a ticket. It owns
// layout, colour and charts.
//
// It must not judge: everything it prints is in the verdict, and nothing that matters is left out.
package report
