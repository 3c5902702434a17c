package collect

import (
	"context"

	"ottla/internal/investigate/evidence"
)

var sourceAPIVersions = source{
	name: evidence.SourceAPIVersions, always: true, level0: true,
	what: "which APIs each broker offers: vendor and version", permissions: "none",
	run:  func(ctx context.Context, s *step) error { return nil },
	most: func(s *step) (int64, int64) { n := int64(len(s.scan.Brokers)); return n, n * 1024 },
}
