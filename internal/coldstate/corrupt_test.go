package coldstate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// damaged is a store of a few tables whose files the tests below damage.
func damaged(t *testing.T, w *workload) *disk.Mem {
	mem := newTestFS(t)
	s := openTest(t, mem, MemoryBytesMin)
	if committed, _ := w.run(s, 0, len(w.batches)); committed != len(w.batches) {
		t.Fatalf("%d batches committed", committed)
	}
	closeTest(t, s)
	return mem
}

// read opens a damaged store and reads all of it. What it may find: ErrCorrupt, or the state after some number of batches.
func (w *workload) read(t *testing.T, fs disk.FS) error {
	fatal := make(chan error, 1)
	s, err := Open(Options{
		FS: fs, Dir: "data/cold", MemoryBytes: MemoryBytesMin, Metrics: metrics.New().Cold,
		OnFatal: func(err error) { fatal <- err },
	})
	if err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Errorf("Open: %v", err)
		}
		return err
	}
	_, err = w.held(s)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	closeErr := s.Close()
	if err == nil && closeErr == nil {
		return nil
	}
	// Damage found while reading is reported, and keeps the store from being opened again.
	if got := <-fatal; !errors.Is(got, ErrCorrupt) || !errors.Is(got, ErrFatal) {
		t.Errorf("OnFatal got %v", got)
	}
	if again, err := Open(Options{FS: fs, Dir: "data/cold", Metrics: metrics.New().Cold}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened again: %v", err)
		if err == nil {
			_ = again.Close()
		}
	}
	return errors.Join(err, closeErr)
}

func dataFiles(t *testing.T, fs disk.FS) []string {
	names, err := fs.List("data/cold")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestFlippedBits flips one bit at a time in every file: never a panic, never something else than what was written.
func TestFlippedBits(t *testing.T) {
	w := newWorkload(12)
	mem := damaged(t, w)
	found := map[string]int{}
	for _, name := range dataFiles(t, mem) {
		path := filepath.Join("data/cold", name)
		data, err := disk.ReadFile(mem, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		step := 1 + len(data)/60
		if testing.Short() {
			step = 1 + len(data)/15
		}
		for off := 0; off < len(data); off += step {
			fs := mem.KillClone()
			f, err := fs.OpenReadWrite(path, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{data[off] ^ 1<<(off%8)}, int64(off)); err != nil {
				t.Fatal(err)
			}
			if w.read(t, fs) != nil {
				found[filepath.Ext(name)]++
			}
			if t.Failed() {
				t.Fatalf("bit flipped at %d of %s", off, name)
			}
		}
	}
	if found[".sst"] == 0 {
		t.Errorf("no flip in a table was found: %v", found)
	}
}

// TestLostFiles removes, empties, cuts and fills with zeros each file in turn.
func TestLostFiles(t *testing.T) {
	w := newWorkload(12)
	mem := damaged(t, w)
	for _, name := range dataFiles(t, mem) {
		path := filepath.Join("data/cold", name)
		info, err := mem.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		edit := func(fn func(f disk.File) error) func(fs disk.FS) error {
			return func(fs disk.FS) error {
				f, err := fs.OpenReadWrite(path, false)
				if err != nil {
					return err
				}
				return fn(f)
			}
		}
		for how, do := range map[string]func(fs disk.FS) error{
			"removed": func(fs disk.FS) error { return fs.Remove(path) },
			"emptied": edit(func(f disk.File) error { return f.Truncate(0) }),
			"halved":  edit(func(f disk.File) error { return f.Truncate(info.Size / 2) }),
			"zeroed": edit(func(f disk.File) error {
				_, err := f.WriteAt(make([]byte, info.Size), 0)
				return err
			}),
		} {
			fs := mem.KillClone()
			if err := do(fs); err != nil {
				t.Fatal(err)
			}
			var err error
			synctest.Test(t, func(t *testing.T) { err = w.read(t, fs) })
			if strings.HasSuffix(name, ".sst") && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s %s: %v", name, how, err)
			}
			if t.Failed() {
				t.Fatalf("%s %s", name, how)
			}
		}
	}
}

// TestReadError lets every read fail after the store was opened: the error is the disk's, not damage, and nothing spins.
func TestReadError(t *testing.T) {
	synctest.Test(t, testReadError)
}

func testReadError(t *testing.T) {
	w := newWorkload(12)
	mem := damaged(t, w)
	f := disk.NewFaults()
	s, err := Open(Options{
		FS: disk.NewFaulty(mem, f), Dir: "data/cold", MemoryBytes: MemoryBytesMin, Metrics: metrics.New().Cold,
		OnFatal: func(err error) {
			if errors.Is(err, ErrCorrupt) {
				t.Errorf("a failing disk was taken for damage: %v", err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Add(disk.Fault{Ops: disk.OpRead, Times: disk.Forever})
	if _, err := w.held(s); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("read: %v", err)
	}
	if _, _, err := s.FlushedCheckpoint(1); err == nil {
		t.Error("FlushedCheckpoint without a disk")
	}
	_ = s.Close()
}

func TestFormat(t *testing.T) {
	open := func(t *testing.T, mem *disk.Mem) error {
		s, err := Open(Options{FS: mem, Dir: "data/cold", Metrics: metrics.New().Cold})
		if err != nil {
			return err
		}
		return s.Close()
	}
	for content, want := range map[string]error{
		"ottla-cold 1\n":                  nil,
		"ottla-cold 2\n":                  ErrNewerFormat,
		"ottla-cold 0\n":                  ErrCorrupt,
		"ottla-cold -1\n":                 ErrCorrupt,
		"ottla-cold 99999999999999999999": ErrCorrupt,
		"":                                ErrCorrupt,
		"something else":                  ErrCorrupt,
		strings.Repeat("x", 1000):         ErrCorrupt,
	} {
		t.Run(fmt.Sprintf("%.20q", content), func(t *testing.T) {
			mem := newTestFS(t)
			if err := open(t, mem); err != nil {
				t.Fatal(err)
			}
			if err := disk.WriteFileAtomic(mem, "data/cold/"+formatFile, []byte(content)); err != nil {
				t.Fatal(err)
			}
			if err := open(t, mem); !errors.Is(err, want) {
				t.Errorf("Open: %v, want %v", err, want)
			}
		})
	}
}

func TestMoveAside(t *testing.T) {
	w := newWorkload(6)
	mem := damaged(t, w)
	for round := range 2 {
		if err := disk.WriteFileAtomic(mem, "data/cold/"+formatFile, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{FS: mem, Dir: "data/cold", Metrics: metrics.New().Cold})
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("round %d: %v", round, err)
		}
		name, err := MoveAside(mem, "data/cold")
		if err != nil || name != "data/cold.corrupt" {
			t.Fatalf("round %d: MoveAside: %s, %v", round, name, err)
		}
		mem = mem.CrashClone(0, 1)
		s := openTest(t, mem, MemoryBytesMin)
		if n, err := w.held(s); n != 0 || err != nil {
			t.Fatalf("round %d: the new store holds %d batches, %v", round, n, err)
		}
		closeTest(t, s)
	}
	names, err := mem.List("data")
	if err != nil || len(names) != 2 {
		t.Errorf("left in the directory: %q, %v", names, err)
	}
}
