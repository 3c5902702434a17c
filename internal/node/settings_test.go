package node

import (
	"math"
	"testing"

	"ottla/internal/seglog"
)

func TestSegmentFilesLeaveConnectionsRoom(t *testing.T) {
	for _, c := range []struct {
		limit, connections int64
		want               int
	}{
		{1 << 20, 10_000, seglog.OpenFilesMaxDefault},
		{math.MaxInt32, 10_000, seglog.OpenFilesMaxDefault},
		{20_000, 10_000, 9488},
		{4096, 3000, 584},
		{4096, 10_000, 512},
		{2048, 10_000, 512},
		{1024, 10_000, 256},
		{1024, 100, 412},
		{256, 10_000, 64},
		{0, 10_000, 1}, // 0 would be the store's default
		{1024, math.MaxInt32, 256},
		{1 << 20, math.MaxInt32, 512},
	} {
		if got := segmentFilesMax(c.limit, c.connections); got != c.want {
			t.Errorf("limit %d, %d connections: %d files, want %d", c.limit, c.connections, got, c.want)
		}
	}
}
