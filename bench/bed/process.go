package bed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a broker may take to end by itself.
const stopWithin = time.Minute

// process is a child and the news of its end.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has been waited for
}

// children are the processes that must not outlive the bed.
type children struct {
	starts chan start
	mu     struct {
		sync.Mutex
		running map[*process]bool
		closed  bool
	}
}

type start struct {
	cmd    *exec.Cmd
	result chan error
}

// newChildren starts the one thread that starts all: the kernel ends a child with the thread that made it, and the Go
// runtime may end any thread but one that is held.
func newChildren() *children {
	c := &children{starts: make(chan start)}
	c.mu.running = map[*process]bool{}
	go func() {
		runtime.LockOSThread()
		for s := range c.starts {
			s.result <- s.cmd.Start()
		}
	}()
	return c
}

func (c *children) start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = 5 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, os.ErrClosed
	}
	s := start{cmd, make(chan error, 1)}
	c.starts <- s
	if err := <-s.result; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd, make(chan struct{})}
	c.mu.running[p] = true
	go func() {
		_ = cmd.Wait() // its exit code is read from ProcessState
		c.mu.Lock()
		delete(c.mu.running, p)
		c.mu.Unlock()
		close(p.ended)
	}()
	return p, nil
}

// run starts a child and waits for its end, which a cancelled context brings about.
func (c *children) run(ctx context.Context, cmd *exec.Cmd) error {
	p, err := c.start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
}

// close kills all that runs. Further starts fail.
func (c *children) close() {
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return
	}
	c.mu.closed = true
	var left []*process
	for p := range c.mu.running {
		left = append(left, p)
	}
	close(c.starts)
	c.mu.Unlock()
	for _, p := range left {
		p.kill()
	}
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop asks the process to end, kills it after a minute, and returns how long it took.
func (p *process) stop() (time.Duration, error) {
	if !p.alive() {
		return 0, os.ErrProcessDone
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-p.ended:
		return time.Since(began), nil
	case <-timer.C:
		p.kill()
		return time.Since(began), fmt.Errorf("process %d did not end within %v and was killed", p.cmd.Process.Pid, stopWithin)
	}
}

// kill ends the process and, as long as it is there, what it started, such as the test binary of go test.
func (p *process) kill() {
	if p.alive() {
		killGroup(p.cmd.Process.Pid)
	}
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}
