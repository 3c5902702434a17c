package seglog

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := OpenStore(Options{FS: disk.OS(), Dir: filepath.Join(b.TempDir(), "data"), FreeBytesMin: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func benchLog(b *testing.B, s *Store, name string, cfg *Config) *Log {
	b.Helper()
	l, err := s.OpenLog(OpenOptions{Name: name, Config: cfg})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, wait := range []bool{false, true} {
			b.Run(fmt.Sprintf("bytes=%d/wait=%v", size, wait), func(b *testing.B) {
				l := benchLog(b, benchStore(b), "t-0", DefaultConfig())
				v := mkBatch(b, 1, testEpochTime, size-80, 1)
				b.SetBytes(int64(v.Size()))
				b.ReportAllocs()
				for b.Loop() {
					_, t, err := l.Append(v, AppendOptions{Wait: wait, Now: now()})
					if err != nil {
						b.Fatal(err)
					}
					if wait {
						<-t.Done()
					}
				}
			})
		}
	}
}

// BenchmarkAppendPartitions has 64 appenders, each waiting for its own batch, over some partitions: group commit.
func BenchmarkAppendPartitions(b *testing.B) {
	for _, partitions := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			s := benchStore(b)
			logs := make([]*Log, partitions)
			for i := range logs {
				logs[i] = benchLog(b, s, fmt.Sprintf("t-%d", i), DefaultConfig())
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for w := range 64 {
				wg.Go(func() {
					v := mkBatch(b, 1, testEpochTime, 1<<10, int64(w))
					for next.Add(1) <= int64(b.N) {
						_, t, err := logs[w%partitions].Append(v, AppendOptions{Wait: true, Now: now()})
						if err != nil {
							b.Error(err)
							return
						}
						<-t.Done()
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l := benchLog(b, benchStore(b), "t-0", DefaultConfig())
	v := mkBatch(b, 16, testEpochTime, 1000, 1)
	for range 20_000 {
		if _, _, err := l.Append(v, AppendOptions{Now: now()}); err != nil {
			b.Fatal(err)
		}
	}
	<-l.PendingTicket().Done()
	for _, size := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("sequential/bytes=%d", size), func(b *testing.B) {
			buf := make([]byte, 0, size+v.Size())
			offset := int64(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				data, err := l.Read(buf[:0], offset, size, true)
				if err != nil {
					b.Fatal(err)
				}
				if offset = offset + int64(len(data)/v.Size()*16); offset >= l.End() {
					offset = 0
				}
			}
		})
	}
	b.Run("random", func(b *testing.B) {
		buf := make([]byte, 0, 2*v.Size())
		offset := int64(0)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Read(buf[:0], offset, 1, true); err != nil {
				b.Fatal(err)
			}
			offset = (offset + 104_729) % l.End()
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	s := benchStore(b)
	l := benchLog(b, s, "t-0", DefaultConfig())
	v := mkBatch(b, 1, testEpochTime, 200, 1)
	for range 100_000 {
		if _, _, err := l.Append(v, AppendOptions{Now: now()}); err != nil {
			b.Fatal(err)
		}
	}
	for _, unclean := range []bool{false, true} {
		b.Run(fmt.Sprintf("unclean=%v", unclean), func(b *testing.B) {
			for b.Loop() {
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				n := 0
				var err error
				l, err = s.OpenLog(OpenOptions{Name: "t-0", Config: DefaultConfig(), Unclean: unclean, Replay: func(batch.Header) error { n++; return nil }})
				if err != nil || n != 100_000 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
