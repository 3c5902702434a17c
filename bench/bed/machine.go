package bed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	mebibyte      = 1 << 20
	touchedMax    = 4 << 30
	diskProbe     = 256 // MiB, each written and synced
	appendsProbe  = 500 // of 4 KiB, each synced
	appendedBytes = 4096
)

// Commit names what is built, as git describes it; "unknown" out of a clone.
func (b *Bed) Commit(ctx context.Context) string {
	out, err := b.output(ctx, "git", "describe", "--tags", "--always", "--dirty")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(out)
}

// Versions are those of the brokers and tools: Ottla, Kafka, Java, Go, librdkafka.
func (b *Bed) Versions(ctx context.Context) (map[string]string, error) {
	ottla, err := b.Ottla(ctx, "version")
	if err = errors.Join(err, ottla.Err()); err != nil {
		return nil, err
	}
	java, err := b.tool(ctx, "java", []string{"-version"})
	if err != nil {
		return nil, err
	}
	rdkafka, err := b.Rdkafka(ctx) // prints its usage
	if err != nil {
		return nil, err
	}
	jars, err := filepath.Glob(filepath.Join(b.KafkaLibs, "kafka-clients-*.jar"))
	if err != nil || len(jars) != 1 {
		return nil, fmt.Errorf("the jars in %s are not those of one Kafka", b.KafkaLibs)
	}
	kafka := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(jars[0]), ".jar"), "kafka-clients-")
	librdkafka, _, _ := strings.Cut(after(rdkafka.Stdout+rdkafka.Stderr, "librdkafka version "), " ")
	return map[string]string{
		"Ottla":      strings.TrimSpace(strings.TrimPrefix(firstLine(ottla.Stdout), "ottla ")),
		"Kafka":      kafka,
		"Java":       firstLine(java.Stderr),
		"Go":         runtime.Version(),
		"librdkafka": librdkafka,
	}, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// after is the rest of the line behind a word; empty if there is none.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	return strings.TrimSpace(firstLine(rest))
}

// Machine tells what the numbers depend on, the disk measured. With touch it also writes and deletes a large file before:
// a virtual machine's first use of its memory is slow, and is no row's business.
func (b *Bed) Machine(ctx context.Context, touch bool) (map[string]string, error) {
	cpu, _ := os.ReadFile("/proc/cpuinfo") // where there is none, the facts are left out
	memory, _ := os.ReadFile("/proc/meminfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kibibytes, _ := strconv.ParseInt(strings.TrimSuffix(after(string(memory), "MemTotal:"), " kB"), 10, 64)
	facts := map[string]string{
		"cores":      strconv.Itoa(runtime.NumCPU()),
		"processor":  strings.TrimSpace(strings.TrimPrefix(after(string(cpu), "model name"), ":")),
		"memory":     fmt.Sprintf("%.1f GiB", float64(kibibytes)/mebibyte),
		"kernel":     runtime.GOOS + " " + strings.TrimSpace(string(kernel)),
		"filesystem": b.filesystem(),
	}
	if touch {
		fmt.Fprintln(b.Log, "touching memory")
		size := min(touchedMax, kibibytes*1024/4, b.free()/4)
		if _, err := b.write(ctx, "touched", mebibyte, int(size/mebibyte), false); err != nil {
			return nil, err
		}
	}
	fmt.Fprintln(b.Log, "measuring the disk")
	large, err := b.write(ctx, "large", mebibyte, diskProbe, true)
	if err != nil {
		return nil, err
	}
	var sum time.Duration
	for _, d := range large {
		sum += d
	}
	small, err := b.write(ctx, "small", appendedBytes, appendsProbe, true)
	if err != nil {
		return nil, err
	}
	slices.Sort(small)
	facts["disk, 1 MiB written and synced in turn"] = fmt.Sprintf("%.0f MB/s", diskProbe*mebibyte/1e6/sum.Seconds())
	facts["disk, 4 KiB appended and synced"] = fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", millis(small[len(small)/2]), millis(small[len(small)*99/100]))
	return facts, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// write appends blocks to a file, which it then deletes, and returns how long each took, with its fdatasync if asked.
func (b *Bed) write(ctx context.Context, name string, blockBytes, blocks int, sync bool) (took []time.Duration, err error) {
	f, err := os.Create(filepath.Join(b.Work, name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := bytes.Repeat([]byte("touched "), blockBytes/8)
	for range blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if sync {
			if err := datasync(f); err != nil {
				return nil, err
			}
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func (b *Bed) free() int64 {
	var fs syscall.Statfs_t
	if syscall.Statfs(b.Work, &fs) != nil {
		return touchedMax
	}
	return int64(fs.Bavail) * int64(fs.Bsize)
}

// filesystem is the type of the mount that has the data: the longest mount point that the directory is below.
func (b *Bed) filesystem() string {
	mounts, _ := os.ReadFile("/proc/self/mounts") // empty: unknown
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		point := strings.TrimSuffix(fields[1], "/")
		if len(point) >= len(best) && strings.HasPrefix(b.Work+"/", point+"/") {
			best, kind = point, fields[2]
		}
	}
	return cmp.Or(kind, "unknown")
}

// Settle writes what waits in the page cache to disk.
func (b *Bed) Settle(ctx context.Context) error {
	_, err := b.output(ctx, "sync")
	return err
}

// DropCache makes the kernel forget the pages of files that are on disk, so that reads are cold. It needs root on Linux;
// else it returns an error, and cold rows are left out.
func (b *Bed) DropCache(ctx context.Context) error {
	if err := b.Settle(ctx); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("1\n"), 0o200)
}
