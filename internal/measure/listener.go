package measure

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoListener: no process of this machine that may be looked at listens on a port.
var ErrNoListener = errors.New("no process is seen to listen there")

// Listener finds the process that listens on a TCP port of this machine (Linux; else, or where it may not be seen, ErrNoListener).
func Listener(port string) (pid int, err error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q: %w", port, err)
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		addListeners(inodes, table, fmt.Sprintf(":%04X", number))
	}
	if len(inodes) == 0 {
		return 0, ErrNoListener
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		target, err := os.Readlink(file)
		if err == nil && inodes[target] {
			return strconv.Atoi(strings.Split(file, "/")[2])
		}
	}
	return 0, ErrNoListener
}

// addListeners adds the sockets of a table that listen on a port, as links to them are written: "socket:[123]".
func addListeners(inodes map[string]bool, table, port string) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	const listen = "0A"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], port) && fields[3] == listen {
			inodes["socket:["+fields[9]+"]"] = true
		}
	}
}
