package process

import (
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// seen is what a process says of itself after PrepareToServe.
type seen struct {
	PID, Procs int
	Slack      []int // of the main thread and of one made since
	Args       []string
	Mark       bool
}

const childEnv = "PROCESS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	PrepareToServe()
	s := seen{PID: os.Getpid(), Procs: runtime.GOMAXPROCS(0), Args: os.Args[1:]}
	_, s.Mark = os.LookupEnv(execMark)
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

// child runs this test's program as a process that is to serve.
func child(t *testing.T, env ...string) (s seen, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "an argument", "--another")
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
	s, pid := child(t)
	for _, n := range s.Slack {
		if n != int(timerSlack) {
			t.Errorf("timer slack of the threads: %v ns, want %d", s.Slack, timerSlack)
		}
	}
	if s.PID != pid || s.Mark || !reflect.DeepEqual(s.Args, []string{"an argument", "--another"}) {
		t.Errorf("pid %d of %d, mark %v, arguments %q", s.PID, pid, s.Mark, s.Args)
	}
	if usual, _ := child(t, execMark+"=1", "GOMAXPROCS=1"); s.Procs <= blockedMax || usual.Procs != 1 {
		t.Errorf("GOMAXPROCS is %d, and where it is set to 1 %d", s.Procs, usual.Procs)
	}
}

// TestSlackThatDoesNotSurvive is a kernel that forgets the slack at exec: the program must not replace itself for ever.
func TestSlackThatDoesNotSurvive(t *testing.T) {
	s, _ := child(t, execMark+"=1")
	if s.Mark || s.Slack[0] >= int(timerSlack) {
		t.Errorf("mark %v, slack %v", s.Mark, s.Slack)
	}
}

func TestExecMarkIsNoConfigurationKey(t *testing.T) {
	if strings.HasPrefix(execMark, "OTTLA_") {
		t.Errorf("%s would be taken for a configuration key", execMark)
	}
}
