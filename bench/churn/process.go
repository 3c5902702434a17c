package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is what the kernel knows of the broker (Linux).
type process struct {
	cpu      time.Duration
	rssBytes int64
}

// clockTick is USER_HZ, which Linux has fixed at 100 for user space.
const clockTick = 10 * time.Millisecond

func readProcess(pid int) (process, error) {
	if pid == 0 {
		return process{}, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, fmt.Errorf("-broker-pid: %w", err)
	}
	// The name, in parentheses, may hold anything; the fields after it are numbers.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	const user, system, rssPages = 11, 12, 21
	if len(fields) <= rssPages {
		return process{}, fmt.Errorf("/proc/%d/stat is not understood", pid)
	}
	var n [3]int64
	for i, field := range []int{user, system, rssPages} {
		if n[i], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return process{}, err
		}
	}
	return process{time.Duration(n[0]+n[1]) * clockTick, n[2] * int64(os.Getpagesize())}, nil
}

func printProcess(w io.Writer, before, after process, producers int64) {
	const mebibyte = 1 << 20
	cpu := after.cpu - before.cpu
	fmt.Fprintf(w, "broker: %.2f s of CPU", cpu.Seconds())
	if producers > 0 {
		fmt.Fprintf(w, ", %.1f us a producer", float64(cpu.Microseconds())/float64(producers))
	}
	fmt.Fprintf(w, "; RSS %d MiB before, %d MiB after\n", before.rssBytes/mebibyte, after.rssBytes/mebibyte)
}
