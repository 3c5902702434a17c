package collect

import (
	"context"

	"ottla/internal/investigate/evidence"
)

var sourceMetadata = source{
	name: evidence.SourceMetadata,
	run:  func(ctx context.Context, s *step) error { return nil },
}
