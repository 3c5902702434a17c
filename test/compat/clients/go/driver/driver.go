// Package driver is what the drivers of all Go clients share: commands, records, output. ../../README.md has the contract.
package driver

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const silenceMax = 60 * time.Second

// Client is one library with its default settings.
type Client interface {
	Produce(ctx context.Context, topic string, records []Record) error
	// Assign prints to out until ctx ends.
	Assign(ctx context.Context, topic string, out *Out) error
	// Group prints to out until ctx ends, then commits and leaves.
	Group(ctx context.Context, topic, group string, out *Out) error
}

type Record struct{ Key, Value, Header string }

// Bootstrap is the broker's address.
func Bootstrap() string { return os.Getenv("BOOTSTRAP") }

func record(i int64) Record {
	n := strconv.FormatInt(i, 10)
	filler := make([]byte, 64)
	for j := range filler {
		filler[j] = byte('a' + (i+int64(j))%26)
	}
	return Record{Key: "k" + n, Value: "v" + n + "-" + string(filler), Header: n}
}

// Out prints records and commits, a line each, and ends the run after the last one that is wanted.
type Out struct {
	mu      sync.Mutex
	left    int64
	done    func(error)
	silence *time.Timer // of a group: nil
}

func (o *Out) Record(partition int32, offset int64, key, value []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.silence != nil {
		o.silence.Reset(silenceMax)
	}
	fmt.Printf("%d\t%d\t%s\t%s\n", partition, offset, key, value)
	if o.left--; o.left == 0 {
		o.done(nil)
	}
}

func (o *Out) Committed(partition int32, offset int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Printf("committed\t%d\t%d\n", partition, offset)
}

// Log is for what is worth knowing but no failure.
func Log(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Main runs the command of the arguments and ends the process.
func Main(c Client) {
	if err := run(c, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func run(c Client, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: driver produce TOPIC FROM TO | assign TOPIC N | group TOPIC GROUP N")
	}
	last, err := strconv.ParseInt(args[len(args)-1], 10, 64)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &Out{left: last, done: cancel}
	switch {
	case args[0] == "produce" && len(args) == 4:
		from, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil {
			return err
		}
		var records []Record
		for i := from; i < last; i++ {
			records = append(records, record(i))
		}
		return c.Produce(ctx, args[1], records)
	case args[0] == "assign" && len(args) == 3:
		silent := fmt.Errorf("no record for %v", silenceMax)
		out.silence = time.AfterFunc(silenceMax, func() { cancel(silent) })
		if err := c.Assign(ctx, args[1], out); err != nil {
			return err
		}
		if context.Cause(ctx) == silent {
			return silent
		}
		return nil
	case args[0] == "group" && len(args) == 4:
		return c.Group(ctx, args[1], args[2], out)
	}
	return fmt.Errorf("unknown command %q", args)
}
