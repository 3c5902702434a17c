//go:build !linux

package rows

import (
	"context"
	"time"
)

// waitUntil waits for a time, as exactly as the runtime's timers do.
func waitUntil(ctx context.Context, due time.Time) error { return pause(ctx, time.Until(due)) }
