package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

const answerBytesMax = 256 << 20 // what kafka-dump-log prints comes in one line

// jvm is one Java process for the whole suite: see java/Driver.java.
type jvm struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu struct {
		sync.Mutex
		next    int64
		waiting map[int64]chan answer // closed when the process is gone
	}
}

type answer struct {
	ID      int64  `json:"id"`
	Done    bool   `json:"done"`
	Error   string `json:"error"`
	Records int64  `json:"records"`
	toolResult
}

type toolResult struct {
	Exit   int    `json:"exit"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

func startJVM(cache string) (*jvm, error) {
	classpath := filepath.Join(cache, "classes") + ":" + filepath.Join(cache, "libs", "*")
	j := &jvm{cmd: exec.Command("java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath, "Driver")}
	j.mu.waiting = map[int64]chan answer{}
	j.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := j.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	j.in = in
	if err := j.cmd.Start(); err != nil {
		return nil, err
	}
	go j.read(out)
	return j, nil
}

func (j *jvm) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, answerBytesMax)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			break
		}
		j.mu.Lock()
		waiting := j.mu.waiting[a.ID]
		if a.Done {
			delete(j.mu.waiting, a.ID)
		}
		j.mu.Unlock()
		if waiting != nil {
			select {
			case waiting <- a:
			default: // progress that nobody takes
				if a.Done {
					<-waiting
					waiting <- a
				}
			}
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, waiting := range j.mu.waiting {
		close(waiting)
	}
	j.mu.waiting = nil
}

func (j *jvm) stop() {
	_ = j.in.Close()
	_ = j.cmd.Process.Kill()
	_ = j.cmd.Wait()
}

// send gives the driver a command; the channel carries progress, if any, then the answer with Done.
func (j *jvm) send(command map[string]any) (<-chan answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.waiting == nil {
		return nil, errors.New("the JVM is gone")
	}
	j.mu.next++
	command["id"] = j.mu.next
	line, err := json.Marshal(command)
	if err != nil {
		return nil, err
	}
	c := make(chan answer, 1)
	j.mu.waiting[j.mu.next] = c
	_, err = j.in.Write(append(line, '\n'))
	return c, err
}

func (j *jvm) call(ctx context.Context, command map[string]any) (answer, error) {
	c, err := j.send(command)
	if err != nil {
		return answer{}, err
	}
	select {
	case a, alive := <-c:
		if !alive {
			return a, errors.New("the JVM is gone")
		}
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done():
		return answer{}, fmt.Errorf("no answer from the JVM: %w", ctx.Err())
	}
}

// tool runs a main class of Kafka's.
func (j *jvm) tool(ctx context.Context, class string, args ...string) (toolResult, error) {
	if args == nil {
		args = []string{}
	}
	a, err := j.call(ctx, map[string]any{"command": "tool", "class": class, "args": args})
	return a.toolResult, err
}
