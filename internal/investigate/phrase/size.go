package phrase

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// sizeMost is the largest size that means anything, in bytes.
	sizeMost = 1 << 50
	// heapLeast is the smallest -Xmx that is taken for one, in bytes: below, the unit was forgotten. No broker starts with less.
	heapLeast = 16 << 20
)

var errSize = errors.New("a size is a number with k, m, g or t behind it, as in 6g")

// ParseSize reads a number of bytes as -Xmx has it, or as people write it: 6g, 512m, 64MiB, 1048576. All units are powers of 1024. It
// refuses what is not above 0, or above 1 PiB.
func ParseSize(s string) (int64, error) {
	n, _, err := parseSize(s)
	return n, err
}

// ParseHeap reads a broker's -Xmx that a person gave. It refuses what is smaller than any broker's, as 6 is.
func ParseHeap(s string) (int64, error) {
	n, digits, err := parseSize(s)
	if err == nil && n < heapLeast {
		err = fmt.Errorf("a heap of %d bytes? %sg?", n, digits)
	}
	return n, err
}

// parseSize also returns the number without its unit.
func parseSize(s string) (n int64, digits string, err error) {
	digits = strings.TrimSpace(strings.ToLower(s))
	shift := 0
	for i, unit := range []string{"k", "m", "g", "t"} {
		for _, suffix := range []string{unit, unit + "b", unit + "ib"} {
			if number, found := strings.CutSuffix(digits, suffix); found {
				digits, shift = number, 10*(i+1)
				break
			}
		}
		if shift > 0 {
			break
		}
	}
	if shift == 0 {
		digits = strings.TrimSuffix(digits, "b")
	}
	digits = strings.TrimSpace(digits)
	n, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > sizeMost>>shift {
		return 0, "", errSize
	}
	return n << shift, digits, nil
}
