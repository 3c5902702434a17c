package rows

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// waitUntil waits for a time, right to some ten microseconds if the goroutine has its thread locked.
func waitUntil(ctx context.Context, due time.Time) error {
	for {
		left := time.Until(due)
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		pause := unix.NsecToTimespec(int64(min(left, time.Second)))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &pause, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
