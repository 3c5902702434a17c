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

// heapBytes is the used heap of a broker. Kafka's is read after a collection if that is wanted, which stops the broker for
// its duration; Ottla's is what Go has allocated and not yet swept.
func heapBytes(ctx context.Context, k *bed.Broker, collect bool) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, jcmdMax)
	defer cancel()
	if k.Kind != results.Kafka {
		return metricOf(ctx, k.HTTP, "go_memstats_heap_alloc_bytes")
	}
	pid := strconv.Itoa(k.PID)
	if collect {
		if err := exec.CommandContext(ctx, "jcmd", pid, "GC.run").Run(); err != nil {
			return 0, fmt.Errorf("jcmd: %w", err)
		}
	}
	out, err := exec.CommandContext(ctx, "jcmd", pid, "GC.heap_info").Output()
	if err != nil {
		return 0, fmt.Errorf("jcmd: %w", err)
	}
	return usedHeap(string(out))
}

// usedHeap reads what jcmd GC.heap_info prints first of the heap: "garbage-first heap   total 1048576K, used 16591K [...".
func usedHeap(text string) (int64, error) {
	_, rest, ok := strings.Cut(text, " heap ")
	if !ok {
		return 0, errNoHeap
	}
	_, rest, ok = strings.Cut(rest, "used ")
	if !ok {
		return 0, errNoHeap
	}
	number, _, ok := strings.Cut(rest, "K")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return 0, errNoHeap
	}
	return n << 10, nil
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
