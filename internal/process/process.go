// Package process is what a process that serves asks of its kernel and of Go's runtime before it begins. It must not know what is
// served.
package process

import (
	"os"
	"runtime"
	"time"
)

const (
	// timerSlack is how late the kernel may let a timer of this process fire; 50 µs is Linux's default. Nothing that is served
	// is timed more closely than in milliseconds. The one that sleeps for less is the thread of Go's runtime that looks for
	// blocked system calls: while one lasts for longer than 20 µs, as each fsync does, it wakes up every 20 µs and the slack. Of
	// the CPU of a broker that is written to, 15 to 25 % were those wake-ups (ADR 9).
	timerSlack = 2 * time.Millisecond

	// blockedMax is how many threads are usually in a system call that lasts: one that commits, one that makes a checkpoint. Each
	// keeps its share of GOMAXPROCS until that thread has seen it, which the slack delays.
	blockedMax = 2

	// execMark tells the new process image that it is one: where the slack does not survive exec, it would go on for ever. Set
	// from the outside it has the process stay as it is. It has no prefix of a configuration key.
	execMark = "_OTTLA_EXEC"
)

// PrepareToServe is called once, before anything else: before signals are caught, before a pipe or a file is read. On Linux it may
// replace the process image by the same program, with the same arguments, environment and process id, since only threads that are
// made afterwards get another timer slack, and the one it is for is made by the runtime before main. A service manager that
// sets the slack (TimerSlackNSec of systemd) spares that. What the system refuses is left as it is.
func PrepareToServe() {
	_, again := os.LookupEnv(execMark)
	if again {
		_ = os.Unsetenv(execMark)
	}
	relaxed := relaxTimers(!again)
	if relaxed && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + blockedMax)
	}
}
