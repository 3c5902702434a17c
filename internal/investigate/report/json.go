package report

import (
	"encoding/json"
	"io"

	"ottla/internal/investigate/diagnose"
)

// JSON prints the verdict in the schema of docs/investigate.schema.json. Its version is in the field "schema".
func JSON(w io.Writer, v *diagnose.Verdict) error { return writeJSON(w, v) }

// FixJSON prints the verdict on a remedy.
func FixJSON(w io.Writer, f *diagnose.Fix) error { return writeJSON(w, f) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // commands are to be pasted
	return e.Encode(v)
}
