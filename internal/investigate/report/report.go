// Package report prints a verdict: for a terminal, as JSON, as one self-contained HTML page, as Markdown for a ticket. It owns
// wording of units, layout, colour and charts.
//
// It must not judge: everything it prints is in the verdict, and nothing that matters is left out.
package report

import (
	"io"

	"ottla/internal/investigate/diagnose"
)

// Style says how a terminal wants it.
type Style struct {
	Colour  bool
	Width   int  // columns; 0: 100
	Verbose bool // also the ledger
}

// Terminal prints one screen: the sentence first, then why, then what to do.
func Terminal(w io.Writer, v *diagnose.Verdict, s Style) error { return nil }

// JSON prints the verdict in its documented schema.
func JSON(w io.Writer, v *diagnose.Verdict) error { return nil }

// HTML prints one self-contained page: no network, inline charts, dark and light, legible on a phone.
func HTML(w io.Writer, v *diagnose.Verdict) error { return nil }

// Markdown prints the verdict for a ticket.
func Markdown(w io.Writer, v *diagnose.Verdict) error { return nil }
