package disk

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

// steps does one of every mutating operation and returns the error of the first that fails.
func steps(y FS) error {
	if err := y.MkdirAll("d"); err != nil {
		return err
	}
	f, err := y.Create("d/a")
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("0123456789"), 0); err != nil {
		return err
	}
	if err := f.Truncate(8); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := y.Rename("d/a", "d/b"); err != nil {
		return err
	}
	if err := y.SyncDir("d"); err != nil {
		return err
	}
	if _, err := y.OpenReadWrite("d/c", true); err != nil {
		return err
	}
	if err := y.Remove("d/c"); err != nil {
		return err
	}
	if err := y.RemoveAll("d"); err != nil {
		return err
	}
	return y.SyncFS("/")
}

const stepOps = 11

func TestEveryOperationCanFail(t *testing.T) {
	counted := NewFaults()
	check(t, steps(NewFaulty(NewMem(), counted)))
	if counted.Ops() != stepOps {
		t.Fatalf("%d operations, want %d", counted.Ops(), stepOps)
	}
	kinds := map[FaultKind]error{FaultError: syscall.EIO, FaultNoSpace: syscall.ENOSPC, FaultShortWrite: syscall.ENOSPC, FaultNoHandle: syscall.EMFILE, FaultCrash: ErrCrashed}
	for kind, want := range kinds {
		for k := range int64(stepOps) {
			f := NewFaults(Fault{At: k, Kind: kind})
			if err := steps(NewFaulty(NewMem(), f)); !errors.Is(err, want) {
				t.Fatalf("kind %d at %d: %v, want %v", kind, k, err, want)
			}
			if f.Ops() != k+1 || f.Fired() != 1 {
				t.Fatalf("kind %d at %d: %d operations, %d fired", kind, k, f.Ops(), f.Fired())
			}
		}
		f := NewFaults(Fault{At: stepOps, Kind: kind})
		check(t, steps(NewFaulty(NewMem(), f)))
	}
}

func TestCrashEndsEverything(t *testing.T) {
	m := NewMem()
	f := NewFaults(Fault{At: 2, Kind: FaultCrash, Ops: OpWrite})
	called := 0
	f.OnCrash(func() { called++ })
	y := NewFaulty(m, f)
	a := mustCreate(t, y, "a")
	write(t, a, 0, []byte("1"))
	write(t, a, 1, []byte("2"))
	if _, err := a.WriteAt([]byte("3"), 2); !errors.Is(err, ErrCrashed) {
		t.Fatalf("third write: %v", err)
	}
	for name, err := range map[string]error{
		"read": second(a.ReadAt(make([]byte, 1), 0)), "size": second(a.Size()), "open": second(y.Open("a")), "list": second(y.List("/")),
		"stat": second(y.Stat("a")), "lock": second(y.Lock("l")), "free": second(y.FreeBytes("/")), "remove": y.Remove("a"),
		"rename": y.Rename("a", "b"), "sync": a.Sync(), "create": second(y.Create("a")), "mkdir": y.MkdirAll("d"),
		"openrw": second(y.OpenReadWrite("a", false)), "syncdir": y.SyncDir("/"), "syncfs": y.SyncFS("/"), "truncate": a.Truncate(0),
	} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("%s after the crash: %v", name, err)
		}
	}
	if called != 1 || !f.Crashed() {
		t.Errorf("OnCrash called %d times, crashed %v", called, f.Crashed())
	}
	check(t, a.Close())
	if got := content(t, m.KillClone(), "a"); string(got) != "12" {
		t.Errorf("after the crash the file holds %q", got)
	}
}

func TestFaultFilters(t *testing.T) {
	m := NewMem()
	f := NewFaults(
		Fault{At: 1, Times: 2, Ops: OpWrite, Path: "log"},
		Fault{Ops: OpRead, Path: "log", Times: Forever},
		Fault{Ops: OpSync, Kind: FaultNoSpace},
	)
	y := NewFaulty(m, f)
	log, other := mustCreate(t, y, "x.log"), mustCreate(t, y, "x.index")
	for i, want := range []error{nil, syscall.EIO, syscall.EIO, nil} {
		if _, err := log.WriteAt([]byte("x"), 0); !errors.Is(err, want) {
			t.Errorf("write %d of the log: %v, want %v", i, err, want)
		}
		write(t, other, 0, []byte("y"))
	}
	for range 3 {
		if _, err := log.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("read of the log: %v", err)
		}
	}
	if _, err := other.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("read of the other: %v", err)
	}
	if err := other.Sync(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("first sync: %v", err)
	}
	check(t, other.Sync())
	if f.Ops() != 2+8+2 {
		t.Errorf("%d mutating operations counted", f.Ops())
	}
	f.Clear()
	if _, err := log.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("read after Clear: %v", err)
	}
}

func TestShortWriteWritesHalf(t *testing.T) {
	m := NewMem()
	y := NewFaulty(m, NewFaults(Fault{Kind: FaultShortWrite, Ops: OpWrite}))
	f := mustCreate(t, y, "f")
	n, err := f.WriteAt([]byte("0123456789"), 0)
	if n != 5 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	if got := content(t, m, "f"); string(got) != "01234" {
		t.Fatalf("file holds %q", got)
	}
}

// WriteFileAtomic leaves the old or the new content, whatever fails and wherever the power goes.
func TestWriteFileAtomic(t *testing.T) {
	for _, kind := range []FaultKind{FaultError, FaultShortWrite, FaultCrash} {
		for k := int64(0); ; k++ {
			m := NewMem()
			check(t, m.MkdirAll("d"))
			check(t, WriteFileAtomic(m, "d/f", []byte("old")))
			check(t, m.SyncDir("/"))
			f := NewFaults(Fault{At: k, Kind: kind})
			err := WriteFileAtomic(NewFaulty(m, f), "d/f", []byte("newer"))
			for seed := range int64(20) {
				got := string(content(t, m.CrashClone(0.5, seed), "d/f"))
				if got != "newer" && (got != "old" || err == nil) {
					t.Fatalf("kind %d at %d, error %v: file holds %q", kind, k, err, got)
				}
			}
			if f.Fired() == 0 {
				if k < 5 {
					t.Fatalf("only %d operations", k)
				}
				break
			}
			if err == nil {
				t.Fatalf("kind %d at %d: no error", kind, k)
			}
		}
	}
	if _, err := ReadFile(NewMem(), "missing", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of a missing file: %v", err)
	}
}
