package collect

import (
	"context"

	"ottla/internal/investigate/evidence"
)

var sourceConfigs = source{
	name: evidence.SourceConfigs,
	run:  func(ctx context.Context, s *step) error { return nil },
}
