package node

import (
	"os"
	"runtime/debug"

	"ottla/internal/config"
)

// gcPercent trades memory for CPU. The live heap is small and bounded (producer state is one budget, connections and
// partitions cost little), so that at the default of 100 the collector would run every few megabytes of requests; its garbage is
// mostly short-lived requests.
const gcPercent = 100

// tuneMemory leaves the decision to whoever has set GOGC.
func tuneMemory(_ *config.Config) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
