package seglog

import (
	"io"
	"time"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

type Store struct{ err error }
type Log struct{ start, end int64 }

func OpenStore(Options) (*Store, error)                        { return &Store{}, nil }
func (s *Store) Close() error                                  { return nil }
func (s *Store) Offline() error                                { return s.err }
func (s *Store) SetOffline(err error)                          { s.err = err }
func (s *Store) CreateLog(name string, topicID [16]byte) error { return ErrClosed }
func (s *Store) OpenLog(o OpenOptions) (*Log, error)           { return nil, ErrClosed }
func (s *Store) DeleteLog(name string, l *Log) error           { return ErrClosed }
func (l *Log) Append(b batch.Batch, o AppendOptions) (int64, Ticket, error) {
	return 0, Ticket{}, ErrClosed
}
func (l *Log) PendingTicket() Ticket { return Ticket{} }
func (l *Log) Start() int64          { return l.start }
func (l *Log) Committed() int64      { return l.end }
func (l *Log) Durable() int64        { return l.end }
func (l *Log) End() int64            { return l.end }
func (l *Log) Position() Position    { return Position{} }
func (l *Log) Read(dst []byte, offset int64, bytesMax int, atLeastOne bool) ([]byte, error) {
	return dst, ErrClosed
}
func (l *Log) OffsetForTimestamp(ts int64) (TimestampOffset, bool, error) {
	return TimestampOffset{}, false, ErrClosed
}
func (l *Log) MaxTimestamp() (TimestampOffset, bool, error) {
	return TimestampOffset{}, false, ErrClosed
}
func (l *Log) EpochEnd(epoch int32) (int32, int64)       { return -1, -1 }
func (l *Log) LatestEpoch() int32                        { return -1 }
func (l *Log) EpochAt(offset int64) int32                { return -1 }
func (l *Log) DeleteRecords(before int64) (int64, error) { return 0, ErrClosed }
func (l *Log) Retain(now time.Time) (int, error)         { return 0, ErrClosed }
func (l *Log) RollIfDue(now time.Time) error             { return ErrClosed }
func (l *Log) RequestSync()                              {}
func (l *Log) SetConfig(*Config)                         {}
func (l *Log) SizeBytes() int64                          { return 0 }
func (l *Log) Segments() []SegmentInfo                   { return nil }
func (l *Log) Close() error                              { return nil }
func (l *Log) ReleaseFiles()                             {}

// Problem is one finding of CheckLog.
type Problem struct {
	File, Text string
	Repairable bool
}

func CheckLog(fs disk.FS, dir string) ([]Problem, error)  { return nil, ErrClosed }
func RepairLog(fs disk.FS, dir string) ([]Problem, error) { return nil, ErrClosed }
func DumpFile(fs disk.FS, name string, w io.Writer) error { return ErrClosed }
