package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustCreate(t testing.TB, m FS, name string) File {
	t.Helper()
	f, err := m.Create(name)
	check(t, err)
	return f
}

func write(t testing.TB, f File, off int64, data []byte) {
	t.Helper()
	n, err := f.WriteAt(data, off)
	if n != len(data) || err != nil {
		t.Fatalf("WriteAt: %d of %d, %v", n, len(data), err)
	}
}

func content(t testing.TB, m FS, name string) []byte {
	t.Helper()
	b, err := ReadFile(m, name, 1<<30)
	check(t, err)
	return b
}

// version is what one file held after one change.
type version struct{ data []byte }

// history runs random changes on one file and remembers what it held after each, the synced state first.
func history(t *testing.T, rng *rand.Rand, f File) []version {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	check(t, err)
	versions := []version{{data}}
	for range 1 + rng.IntN(8) {
		data = slices.Clone(data)
		if rng.IntN(4) == 0 {
			size := rng.IntN(4000)
			check(t, f.Truncate(int64(size)))
			data = append(data, make([]byte, max(0, size-len(data)))...)[:size]
		} else {
			p := bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, 1+rng.IntN(1500))
			off := rng.IntN(len(data) + 100)
			write(t, f, int64(off), p)
			data = append(data, make([]byte, max(0, off+len(p)-len(data)))...)
			copy(data[off:], p)
		}
		versions = append(versions, version{data})
	}
	return versions
}

// sectorIn says whether some version held this sector, as far as the crashed size lets one see it.
func sectorIn(versions []version, got []byte, s int) bool {
	return slices.ContainsFunc(versions, func(v version) bool {
		for i := s * sectorBytes; i < min((s+1)*sectorBytes, len(got)); i++ {
			var want byte
			if i < len(v.data) {
				want = v.data[i]
			}
			if got[i] != want {
				return false
			}
		}
		return true
	})
}

func TestCrashedFileIsMadeOfItsVersions(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := NewMem()
		f := mustCreate(t, m, "f")
		write(t, f, 0, bytes.Repeat([]byte{'0'}, rng.IntN(3000)))
		check(t, m.SyncFS("/"))
		versions := history(t, rng, f)
		first, last := versions[0].data, versions[len(versions)-1].data
		if got := content(t, m.CrashClone(0, int64(seed)), "f"); !bytes.Equal(got, first) {
			t.Fatalf("seed %d: keeping nothing gives %s, want %s", seed, shorten(got), shorten(first))
		}
		if got := content(t, m.CrashClone(1, int64(seed)), "f"); !bytes.Equal(got, last) {
			t.Fatalf("seed %d: keeping all gives %s, want %s", seed, shorten(got), shorten(last))
		}
		for crash := range int64(20) {
			got := content(t, m.CrashClone(0.5, crash), "f")
			for s := range (len(got) + sectorBytes - 1) / sectorBytes {
				if !sectorIn(versions, got, s) {
					t.Fatalf("seed %d crash %d: sector %d of %s never was", seed, crash, s, shorten(got))
				}
			}
			if again := content(t, m.CrashClone(0.5, crash), "f"); !bytes.Equal(got, again) {
				t.Fatalf("seed %d crash %d: the same seed gave two disks", seed, crash)
			}
		}
		if got := content(t, m, "f"); !bytes.Equal(got, last) {
			t.Fatalf("seed %d: the source was changed by its clones", seed)
		}
		check(t, f.Sync())
		if got := content(t, m.CrashClone(0, 1), "f"); !bytes.Equal(got, last) {
			t.Fatalf("seed %d: lost after Sync", seed)
		}
	}
}

// Crashes must be able to tear, or the tests above prove nothing.
func TestCrashesTear(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "f")
	write(t, f, 0, bytes.Repeat([]byte{'a'}, 4*sectorBytes))
	check(t, m.SyncFS("/"))
	write(t, f, 0, bytes.Repeat([]byte{'b'}, 4*sectorBytes))
	write(t, f, 4*sectorBytes, bytes.Repeat([]byte{'c'}, 4*sectorBytes))
	seen := map[string]bool{}
	for seed := range int64(10_000) {
		seen[shorten(content(t, m.CrashClone(0.5, seed), "f"))] = true
	}
	for _, want := range []string{"a*2048", "b*2048+c*2048", "b*512+a*512+b*1024", "a*2048+c*512", "a*2048+.*1024+c*1024"} {
		if !seen[want] {
			t.Errorf("no crash left %s", want)
		}
	}
}

// A clone and its source share bytes until one of them is changed.
func TestClonesAreIndependent(t *testing.T) {
	m := NewMem()
	f := mustCreate(t, m, "f")
	write(t, f, 0, []byte("0123456789"))
	kill := m.KillClone()
	changes := []func(f File){
		func(f File) { write(t, f, 3, []byte("x")) },
		func(f File) { write(t, f, 10, []byte("appended")) },
		func(f File) { check(t, f.Truncate(4)) },
		func(f File) { write(t, f, 4, []byte("YYYYYYYYYYYYYYYYYY")) },
		func(f File) { check(t, f.Truncate(40)) },
	}
	for i, change := range changes {
		before := content(t, kill, "f")
		change(f)
		if got := content(t, kill, "f"); !bytes.Equal(got, before) {
			t.Fatalf("change %d of the source reached the clone: %q, was %q", i, got, before)
		}
		before = content(t, m, "f")
		g, err := kill.OpenReadWrite("f", false)
		check(t, err)
		change(g)
		if got := content(t, m, "f"); !bytes.Equal(got, before) {
			t.Fatalf("change %d of the clone reached the source: %q, was %q", i, got, before)
		}
		kill = m.KillClone()
	}
}

func TestMemErrors(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("d/e"))
	f := mustCreate(t, m, "d/f")
	r, err := m.Open("d/f")
	check(t, err)
	cases := []struct {
		name string
		err  error
		want error
	}{
		{"open missing", second(m.Open("d/x")), fs.ErrNotExist},
		{"open in missing", second(m.Create("x/y")), fs.ErrNotExist},
		{"open in file", second(m.Create("d/f/y")), syscall.ENOTDIR},
		{"open directory", second(m.Open("d/e")), syscall.EISDIR},
		{"remove full directory", m.Remove("d"), syscall.ENOTEMPTY},
		{"stat missing", second(m.Stat("nope")), fs.ErrNotExist},
		{"list file", second(m.List("d/f")), syscall.ENOTDIR},
		{"syncdir missing", m.SyncDir("nope"), fs.ErrNotExist},
		{"mkdir over file", m.MkdirAll("d/f/g"), syscall.ENOTDIR},
		{"write read-only", second(r.WriteAt([]byte("x"), 0)), syscall.EBADF},
		{"truncate read-only", r.Truncate(0), syscall.EBADF},
		{"write below zero", second(f.WriteAt([]byte("x"), -1)), syscall.EINVAL},
		{"read at end", second(f.ReadAt(make([]byte, 1), 0)), io.EOF},
		{"too large", second(ReadFile(m, "d/f", -1)), ErrTooLarge},
	}
	for _, c := range cases {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	check(t, f.Close())
	if err := f.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("sync after close: %v", err)
	}
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1000)
	f := mustCreate(t, m, "f")
	n, err := f.WriteAt(make([]byte, 1500), 0)
	if n != 1000 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write of 1500 into 1000: %d, %v", n, err)
	}
	if free, err := m.FreeBytes("/"); free != 0 || err != nil {
		t.Fatalf("FreeBytes = %d, %v", free, err)
	}
	write(t, f, 0, make([]byte, 1000)) // in place needs no room
	if err := f.Truncate(1001); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("truncate up: %v", err)
	}
	check(t, f.Truncate(100))
	if got := m.UsedBytes(); got != 100 {
		t.Fatalf("UsedBytes = %d after truncate to 100", got)
	}
	check(t, m.Remove("f"))
	if got := m.UsedBytes(); got != 0 {
		t.Fatalf("UsedBytes = %d after remove", got)
	}
	write(t, f, 0, make([]byte, 2000)) // no name, not counted
	g := mustCreate(t, m, "g")
	write(t, g, 0, make([]byte, 700))
	check(t, m.SyncFS("/"))
	clone := m.CrashClone(0.5, 1)
	if got := clone.UsedBytes(); got != 700 {
		t.Fatalf("UsedBytes of the clone = %d", got)
	}
}

// BenchmarkMemAppend shows that appending costs the same at any size of the file.
func BenchmarkMemAppend(b *testing.B) {
	for _, size := range []int{1 << 20, 100 << 20} {
		b.Run(fmt.Sprintf("size=%dMiB", size>>20), func(b *testing.B) {
			m := NewMem()
			f := mustCreate(b, m, "f")
			write(b, f, 0, make([]byte, size))
			check(b, f.Sync())
			off := int64(size)
			p := make([]byte, 1024)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				write(b, f, off, p)
				off += int64(len(p))
			}
		})
	}
}
