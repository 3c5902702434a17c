package pidstore

import (
	"fmt"
	"log/slog"

	"ottla/internal/coldstate"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// auditLog folds a log once more and returns what disagrees with the store.
func (w *world) auditLog(l *logFile) ([]string, error) {
	scratch, err := coldstate.Open(coldstate.Options{
		FS: disk.NewMem(), Dir: "/scratch", MemoryBytes: 1 << 20, Metrics: metrics.New().Cold, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	defer scratch.Close()
	a, err := NewAudit(w.cold, scratch, l.num)
	if err != nil {
		return nil, err
	}
	for _, r := range l.records {
		if err := a.Batch(r.pid, r.in, r.stored); err != nil {
			return nil, err
		}
	}
	var problems []string
	_, err = a.Finish(l.start, func(pid int64, problem string) error {
		problems = append(problems, fmt.Sprintf("producer %d: %s", pid, problem))
		return nil
	})
	return problems, err
}

func (p *play) audit() error {
	p.settle()
	l := p.log()
	problems, err := p.auditLog(l)
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("audit of partition %d: %v", l.num, problems)
	}
	return err
}
