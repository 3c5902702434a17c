package measure

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is what the kernel knows of the broker (Linux).
type Process struct {
	Name     string
	CPU      time.Duration
	RSSBytes int64
}

// clockTick is USER_HZ, which Linux has fixed at 100 for user space.
const clockTick = 10 * time.Millisecond

// ReadProcess reads them; process id 0 stands for a broker of which nothing is known.
func ReadProcess(pid int) (Process, error) {
	if pid == 0 {
		return Process{}, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold anything; the fields after it are numbers.
	opened, closed := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
	if opened < 0 || closed < opened {
		return Process{}, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	_, rest, _ := strings.Cut(string(stat[closed:]), " ")
	fields := strings.Fields(rest)
	const user, system, rssPages = 11, 12, 21
	if len(fields) <= rssPages {
		return Process{}, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	var n [3]int64
	for i, field := range []int{user, system, rssPages} {
		if n[i], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return Process{}, err
		}
	}
	return Process{string(stat[opened+1 : closed]), time.Duration(n[0]+n[1]) * clockTick, n[2] * int64(os.Getpagesize())}, nil
}

// Print writes what happened between two readings, for each of a number of things done; 0: not for each.
func Print(w io.Writer, before, after Process, done int64, thing string) {
	const mebibyte = 1 << 20
	cpu := after.CPU - before.CPU
	fmt.Fprintf(w, "broker: %.2f s of CPU", cpu.Seconds())
	if done > 0 {
		fmt.Fprintf(w, ", %.1f us a %s", float64(cpu.Microseconds())/float64(done), thing)
	}
	fmt.Fprintf(w, "; RSS %d MiB before, %d MiB after\n", before.RSSBytes/mebibyte, after.RSSBytes/mebibyte)
}
