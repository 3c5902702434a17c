package rows

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"ottla/bench/bed"
	"ottla/bench/results"
)

const (
	// jcmdMax bounds one look into a JVM; one whose heap is full may never answer.
	jcmdMax = 20 * time.Second
	// metricsBytesMax bounds what is read of a broker's metrics.
	metricsBytesMax = 4 << 20
)

var errNoHeap = errors.New("the heap cannot be read")

// heapBytes is the heap of a broker. Kafka's is what is alive: a histogram of classes collects all garbage before it counts, which stops
// the broker for its duration. Ottla's is what Go has allocated and not yet swept.
func heapBytes(ctx context.Context, k *bed.Broker) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, jcmdMax)
	defer cancel()
	if k.Kind != results.Kafka {
		return metricOf(ctx, k.HTTP, "go_memstats_heap_alloc_bytes")
	}
	out, err := exec.CommandContext(ctx, "jcmd", strconv.Itoa(k.PID), "GC.class_histogram").Output()
	if err != nil {
		return 0, fmt.Errorf("jcmd: %w", err)
	}
	return histogramTotal(string(out))
}

// histogramTotal reads the last line of jcmd GC.class_histogram: "Total        104857       12345678".
func histogramTotal(text string) (int64, error) {
	_, rest, ok := strings.Cut(text, "\nTotal")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		return 0, errNoHeap
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, errNoHeap
	}
	return n, nil
}

// metricOf reads one number of a Prometheus page.
func metricOf(ctx context.Context, addr, name string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(response.Body, metricsBytesMax))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			return int64(v), err
		}
	}
	return 0, errors.Join(fmt.Errorf("no metric %s", name), lines.Err())
}
