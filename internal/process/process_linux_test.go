package process

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// seen is what a process says of itself after PrepareToServe.
type seen struct {
	PID, Procs int
	Slack      []int // of the main thread and of one made since, in ns
	Args       []string
	Mark       bool
	Files      uint64 // limit of open files
}

const (
	childEnv = "PROCESS_TEST_CHILD"
	// spoilEnv says what a child does to its program first, so that exec cannot be: unlink, replace, forbid.
	spoilEnv = "PROCESS_TEST_SPOIL"
	// childFiles is the soft limit of open files that a child is started with. Go raises it.
	childFiles = 256
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	spoil(os.Getenv(spoilEnv))
	PrepareToServe()
	s := seen{PID: os.Getpid(), Procs: runtime.GOMAXPROCS(0), Args: os.Args[1:]}
	_, s.Mark = os.LookupEnv(execMark)
	var files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	s.Files = files.Cur
	slack := make(chan int)
	for range 2 {
		go func() {
			runtime.LockOSThread()
			n, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
			slack <- n
			select {} // the next one needs a thread of its own
		}()
		s.Slack = append(s.Slack, <-slack)
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
	os.Exit(0)
}

func spoil(how string) {
	var err error
	switch program := os.Args[0]; how {
	case "unlink":
		err = os.Remove(program)
	case "replace":
		if err = os.Remove(program); err == nil {
			err = os.WriteFile(program, []byte("#!/bin/false\n"), 0o755)
		}
	case "forbid":
		err = os.Chmod(program, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// child runs a program as a process that is to serve; it is this test's or a copy of it.
func child(t *testing.T, program string, env ...string) (s seen, pid int) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn "$0" && exec "$@"`, strconv.Itoa(childFiles), program, "an argument", "--another")
	cmd.Env = append(env, childEnv+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return s, cmd.Process.Pid
}

func TestPrepareToServe(t *testing.T) {
	s, pid := child(t, os.Args[0])
	for _, n := range s.Slack {
		if n != int(timerSlack) {
			t.Errorf("timer slack of the threads: %v ns, want %d", s.Slack, timerSlack)
		}
	}
	if s.PID != pid || s.Mark || !reflect.DeepEqual(s.Args, []string{"an argument", "--another"}) {
		t.Errorf("pid %d of %d, mark %v, arguments %q", s.PID, pid, s.Mark, s.Args)
	}
	as, _ := child(t, os.Args[0], execMark+"=1")
	told, _ := child(t, os.Args[0], "GOMAXPROCS=1")
	if s.Procs != as.Procs+blockedMax || told.Procs != 1 {
		t.Errorf("GOMAXPROCS is %d, as it is %d, and where it is set to 1 %d", s.Procs, as.Procs, told.Procs)
	}
	if s.Files != as.Files {
		t.Errorf("limit of open files %d, as it is %d", s.Files, as.Files)
	}
}

// TestSlackThatDoesNotSurvive is a kernel that forgets the slack at exec: the program must not replace itself for ever.
func TestSlackThatDoesNotSurvive(t *testing.T) {
	if s, _ := child(t, os.Args[0], execMark+"=1"); s.Mark || s.Slack[0] >= int(timerSlack) {
		t.Errorf("mark %v, slack %v", s.Mark, s.Slack)
	}
}

// TestExecThatCannotBe: everything stays as it is, the limit of open files too, which Go takes back before it calls the kernel.
func TestExecThatCannotBe(t *testing.T) {
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	want, _ := child(t, os.Args[0], execMark+"=1")
	if want.Files <= childFiles {
		t.Skipf("Go does not raise the limit of %d open files here", want.Files)
	}
	for _, how := range []string{"unlink", "replace", "forbid"} {
		t.Run(how, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(path, program, 0o755); err != nil {
				t.Fatal(err)
			}
			got, _ := child(t, path, spoilEnv+"="+how)
			got.PID = want.PID
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestExecMarkIsNoConfigurationKey(t *testing.T) {
	if strings.HasPrefix(execMark, "OTTLA_") {
		t.Errorf("%s would be taken for a configuration key", execMark)
	}
}
