package seglog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"ottla/internal/batch"
	"ottla/internal/disk"
)

// script runs the conversations in testdata. One log, t-0, on a disk in memory:
//
//	config key=value ...            of the next open: segment.bytes, retention.ms, ...
//	open [unclean] [checkpoint=(offset,base,position)] [epoch=n]
//	append n=batches records=per-batch ts=first-timestamp bytes=value-size [nowait]
//	segments | files | offsets | epochs | log     show
//	roll after=ms | retain after=ms (behind the test clock) | delete-records before=n
//	read offset=n | time ts=n | max-time | epoch-end epoch=n
//	close                           cleanly
//	kill | power-loss keep=fraction seed=n
//	corrupt file=name at=byte | truncate file=name size=n | remove file=name | write file=name (content below)
//	check | repair | dump file=name
type script struct {
	mem   *disk.Mem
	cfg   *Config
	store *Store
	log   *Log
	out   strings.Builder
	seed  int64
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			sc := &script{mem: disk.NewMem(), cfg: testConfig()}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				sc.out.Reset()
				if err := sc.run(t, d); err != nil {
					fmt.Fprintf(&sc.out, "error: %v\n", err)
				}
				synctest.Wait() // files are unlinked in the background
				if sc.store != nil {
					// At once, what the janitor puts off if it comes while the log is still being trimmed.
					sc.store.janitor.unlinkDue(time.Now().Add(unlinkRetryWait))
				}
				return sc.out.String()
			})
			if sc.store != nil {
				closeStore(t, sc.store)
			}
		})
	})
}

func (sc *script) say(format string, args ...any) { fmt.Fprintf(&sc.out, format+"\n", args...) }

func int64Arg(d *datadriven.TestData, key string, def int64) int64 {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) == 1 {
			if _, err := fmt.Sscan(a.Vals[0], &def); err != nil {
				panic(err)
			}
		}
	}
	return def
}

func fileArg(d *datadriven.TestData) string {
	for _, a := range d.CmdArgs {
		if a.Key == "file" {
			return "data/t-0/" + a.Vals[0]
		}
	}
	panic("no file=")
}

func (sc *script) run(t *testing.T, d *datadriven.TestData) error {
	switch d.Cmd {
	case "config", "open", "close", "kill", "power-loss":
		return sc.lifecycle(t, d)
	case "append", "roll", "retain", "delete-records":
		return sc.change(t, d)
	case "corrupt", "truncate", "remove", "write":
		return sc.damage(d)
	case "read", "time", "max-time", "epoch-end":
		return sc.query(d)
	default:
		return sc.show(t, d)
	}
}

func (sc *script) lifecycle(t *testing.T, d *datadriven.TestData) error {
	switch d.Cmd {
	case "config":
		c := *sc.cfg
		for key, p := range map[string]*int64{
			"segment.bytes": &c.SegmentBytes, "segment.ms": &c.SegmentMillis, "segment.index.bytes": &c.IndexBytesMax,
			"index.interval.bytes": &c.IndexIntervalBytes, "retention.bytes": &c.RetentionBytes, "retention.ms": &c.RetentionMillis,
			"flush.messages": &c.FlushMessages, "flush.ms": &c.FlushMillis,
		} {
			*p = int64Arg(d, key, *p)
		}
		sc.cfg = &c
	case "open":
		return sc.open(d)
	case "close":
		return sc.store.Close()
	case "kill":
		old := sc.store
		sc.mem = sc.mem.KillClone()
		sc.store, sc.log = nil, nil
		return old.Close()
	case "power-loss":
		old := sc.store
		keep := 0.0
		d.MaybeScanArgs(t, "keep", &keep)
		sc.mem = sc.mem.CrashClone(keep, int64Arg(d, "seed", 0))
		sc.store, sc.log = nil, nil
		return old.Close()
	}
	return nil
}

func (sc *script) open(d *datadriven.TestData) error {
	var warnings strings.Builder
	logger := slog.New(slog.NewTextHandler(&warnings, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "log" || a.Key == "error" {
				return slog.Attr{}
			}
			return a
		},
	}))
	s, err := OpenStore(Options{FS: sc.mem, Dir: "data", FreeBytesMin: -1, JournalBytes: -1, Logger: logger})
	if err != nil {
		return err
	}
	sc.store = s
	var replayed []string
	o := OpenOptions{
		Name: "t-0", TopicID: [16]byte{1}, Config: sc.cfg, LeaderEpoch: int32(int64Arg(d, "epoch", 0)),
		Replay: func(h batch.Header) error { replayed = append(replayed, fmt.Sprint(h.BaseOffset)); return nil },
	}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "unclean":
			o.Unclean = true
		case "checkpoint":
			o.HasCheckpoint = true
			if _, err := fmt.Sscan(strings.Join(a.Vals, " "), &o.Checkpoint.Offset, &o.Checkpoint.SegmentBase, &o.Checkpoint.Position); err != nil {
				return err
			}
		}
	}
	l, err := s.OpenLog(o)
	sc.out.WriteString(warnings.String())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	sc.log = l
	sc.say("replayed [%s]", strings.Join(replayed, " "))
	sc.offsets()
	return nil
}

func (sc *script) offsets() {
	l := sc.log
	sc.say("start %d durable %d committed %d end %d position %v", l.Start(), l.Durable(), l.Committed(), l.End(), l.Position())
}

func (sc *script) change(t *testing.T, d *datadriven.TestData) error {
	l := sc.log
	at := now().UnixMilli()
	switch d.Cmd {
	case "append":
		nowait := slices.ContainsFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == "nowait" })
		records := int(int64Arg(d, "records", 1))
		for i := range int64Arg(d, "n", 1) {
			sc.seed++
			ts := int64Arg(d, "ts", at) + i*int64(records)
			b := mkBatch(t, records, ts, int(int64Arg(d, "bytes", 30)), sc.seed)
			base, tk, err := l.Append(b, AppendOptions{Wait: !nowait, Now: now()})
			if err != nil {
				return err
			}
			if !nowait {
				<-tk.Done()
				if err := tk.Err(); err != nil {
					return err
				}
			}
			sc.say("%d..%d (%d bytes)", base, base+int64(records)-1, b.Size())
		}
	case "roll":
		return l.RollIfDue(now().Add(msDuration(int64Arg(d, "after", 0))))
	case "retain":
		n, err := l.Retain(now().Add(msDuration(int64Arg(d, "after", 0))))
		sc.say("%d segments deleted", n)
		sc.offsets()
		return err
	case "delete-records":
		start, err := l.DeleteRecords(int64Arg(d, "before", 0))
		sc.say("log start %d", start)
		return err
	}
	return nil
}

func (sc *script) damage(d *datadriven.TestData) error {
	name := fileArg(d)
	switch d.Cmd {
	case "remove":
		return sc.mem.Remove(name)
	case "write":
		f, err := sc.mem.Create(name)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(d.Input+"\n"), 0)
		return err
	}
	f, err := sc.mem.OpenReadWrite(name, false)
	if err != nil {
		return err
	}
	if d.Cmd == "truncate" {
		return f.Truncate(int64Arg(d, "size", 0))
	}
	var b [1]byte
	at := int64Arg(d, "at", 0)
	if _, err := f.ReadAt(b[:], at); err != nil && err != io.EOF {
		return err
	}
	b[0] ^= 0xff
	_, err = f.WriteAt(b[:], at)
	return err
}

func (sc *script) query(d *datadriven.TestData) error {
	l := sc.log
	switch d.Cmd {
	case "read":
		data, err := l.Read(nil, int64Arg(d, "offset", 0), int(int64Arg(d, "bytes", 1)), true)
		for err == nil && len(data) > 0 {
			b, perr := batch.Parse(data)
			if perr != nil {
				return perr
			}
			sc.say("%d..%d epoch %d", b.Header().BaseOffset, b.Header().LastOffset(), b.Header().LeaderEpoch)
			data = data[b.Size():]
		}
		return err
	case "time":
		got, ok, err := l.OffsetForTimestamp(int64Arg(d, "ts", 0))
		sc.say("%v %v", got, ok)
		return err
	case "max-time":
		got, ok, err := l.MaxTimestamp()
		sc.say("%v %v", got, ok)
		return err
	default:
		epoch, end := l.EpochEnd(int32(int64Arg(d, "epoch", 0)))
		sc.say("epoch %d ends at %d", epoch, end)
		return nil
	}
}

func (sc *script) show(t *testing.T, d *datadriven.TestData) error {
	switch d.Cmd {
	case "offsets":
		sc.offsets()
	case "segments":
		for _, s := range sc.log.Segments() {
			sc.say("[%d, %d) %d bytes active %v", s.Base, s.End, s.SizeBytes, s.Active)
		}
	case "epochs":
		sc.say("%v latest %d", sc.log.mu.epochs, sc.log.LatestEpoch())
	case "files":
		names, err := sc.mem.List("data/t-0")
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := sc.mem.Stat("data/t-0/" + name)
			if err != nil {
				return err
			}
			sc.say("%s %d", name, info.Size)
		}
	case "check", "repair":
		do := CheckLog
		if d.Cmd == "repair" {
			do = RepairLog
		}
		problems, err := do(sc.mem, "data/t-0")
		for _, p := range problems {
			sc.say("%s: %s (repairable %v)", p.File, p.Text, p.Repairable)
		}
		return err
	case "dump":
		return DumpFile(sc.mem, fileArg(d), &sc.out)
	default:
		t.Fatalf("%s: no such command", d.Cmd)
	}
	return nil
}
