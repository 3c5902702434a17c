package disk

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestMemScripts runs the conversations in testdata/mem. Commands, one a line unless they are the input of "run":
//
//	mkdir DIR | create F | write F OFF TEXT | append F TEXT | truncate F SIZE | sync F | syncdir DIR | syncfs DIR
//	rename A B | rm F | rmall F | lock F | unlock F
//	crash KEEP SEED | kill     go on with the clone
//
// and "tree" prints every file with its content, runs of one byte shortened.
func TestMemScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/mem", func(t *testing.T, path string) {
		s := &script{fs: NewMem(), locks: map[string]func() error{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "run":
				return s.run(t, d.Input)
			case "tree":
				return tree(t, s.fs, "/")
			default:
				t.Fatalf("unknown command %s", d.Cmd)
				return ""
			}
		})
	})
}

type script struct {
	fs    *Mem
	locks map[string]func() error
}

// run executes the lines; what fails is printed, silence means success.
func (s *script) run(t *testing.T, input string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(input, "\n") {
		if err := s.line(t, strings.Fields(line)); err != nil {
			fmt.Fprintf(&out, "%s: %v\n", line, err)
		}
	}
	if out.Len() == 0 {
		return "ok"
	}
	return out.String()
}

func (s *script) line(t *testing.T, args []string) error {
	number := func(i int) (n int64) {
		if _, err := fmt.Sscan(args[i], &n); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return n
	}
	switch args[0] {
	case "mkdir":
		return s.fs.MkdirAll(args[1])
	case "rename":
		return s.fs.Rename(args[1], args[2])
	case "rm":
		return s.fs.Remove(args[1])
	case "rmall":
		return s.fs.RemoveAll(args[1])
	case "syncdir":
		return s.fs.SyncDir(args[1])
	case "syncfs":
		return s.fs.SyncFS(args[1])
	case "lock":
		l, err := s.fs.Lock(args[1])
		if err == nil {
			s.locks[args[1]] = l.Close
		}
		return err
	case "unlock":
		return s.locks[args[1]]()
	case "kill":
		s.fs = s.fs.KillClone()
		return nil
	case "crash":
		var keep float64
		if _, err := fmt.Sscan(args[1], &keep); err != nil {
			t.Fatal(err)
		}
		s.fs = s.fs.CrashClone(keep, number(2))
		return nil
	case "capacity":
		s.fs.SetCapacity(number(1))
		return nil
	default:
		return s.fileLine(t, args, number)
	}
}

func (s *script) fileLine(t *testing.T, args []string, number func(int) int64) error {
	f, err := s.fs.OpenReadWrite(args[1], args[0] == "create" || args[0] == "append")
	if err != nil {
		return err
	}
	defer f.Close()
	switch args[0] {
	case "create":
		return nil
	case "write":
		_, err := f.WriteAt(expand(t, args[3]), number(2))
		return err
	case "append":
		size, err := f.Size()
		if err != nil {
			return err
		}
		_, err = f.WriteAt(expand(t, args[2]), size)
		return err
	case "truncate":
		return f.Truncate(number(2))
	case "sync":
		return f.Sync()
	default:
		t.Fatalf("unknown command %v", args)
		return nil
	}
}

// expand turns a*3 b into aaa, pieces joined by "+": "a*512+b".
func expand(t *testing.T, s string) []byte {
	var out []byte
	for part := range strings.SplitSeq(s, "+") {
		text, count, ok := strings.Cut(part, "*")
		n := 1
		if ok {
			if _, err := fmt.Sscan(count, &n); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, strings.Repeat(text, n)...)
	}
	return out
}

// shorten is the opposite of expand; zero bytes are printed as dots.
func shorten(b []byte) string {
	var out []string
	for i := 0; i < len(b); {
		n := 1
		for i+n < len(b) && b[i+n] == b[i] {
			n++
		}
		c := string(b[i])
		if b[i] == 0 {
			c = "."
		}
		if n > 1 {
			c = fmt.Sprintf("%s*%d", c, n)
		}
		out = append(out, c)
		i += n
	}
	return strings.Join(out, "+")
}

func tree(t *testing.T, fs FS, dir string) string {
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Dir {
			fmt.Fprintf(&out, "%s/\n%s", path, tree(t, fs, path))
			continue
		}
		data, err := ReadFile(fs, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s [%s]\n", path, shorten(data))
	}
	return out.String()
}
