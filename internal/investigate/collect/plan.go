package collect

import "context"

// Plan is what a scan would do, for --dry-run: no source is asked but ApiVersions and Metadata.
type Plan struct {
	Brokers     int        `json:"brokers"`
	Topics      int        `json:"topics"`
	Partitions  int        `json:"partitions"`
	Steps       []PlanStep `json:"steps"`
	BytesMax    int64      `json:"bytes_max"`
	RequestsMax int64      `json:"requests_max"`
}

// PlanStep is one source's part of a plan: the most it would ask.
type PlanStep struct {
	Source      string `json:"source"`
	Requests    int64  `json:"requests"`
	Bytes       int64  `json:"bytes"`
	Permissions string `json:"permissions"`
	What        string `json:"what"`
	Skipped     string `json:"skipped,omitempty"` // why it would not be asked
}

// PlanFor says what Scan would do. Its errors are those of Scan.
func PlanFor(ctx context.Context, o Options) (*Plan, error) {
	ctx, s, end, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	p := &Plan{BytesMax: s.o.BytesMax, RequestsMax: s.o.RequestsMax}
	for i := range sources {
		src := &sources[i]
		st := s.step(src)
		if src.always {
			st.runRound(ctx, 0)
			if i == 0 && !s.anybody() {
				return nil, &ErrConnect{s.unreachable()}
			}
		}
		out := PlanStep{Source: src.name, Permissions: src.permissions, What: src.what, Skipped: st.deselected()}
		if out.Skipped == "" && src.most != nil {
			out.Requests, out.Bytes = src.most(st)
			out.Bytes = min(out.Bytes, s.o.BytesMax)
		}
		p.Steps = append(p.Steps, out)
	}
	p.Brokers, p.Topics, p.Partitions = len(s.scan.Brokers), len(s.scan.Topics), len(s.scan.Partitions)
	return p, nil
}
