package bed

import (
	"context"
	"errors"
	"io"
	"time"

	"ottla/bench/results"
)

var errBuilding = errors.New("BUG: being built")

func prepare(ctx context.Context, log io.Writer) (*Bed, error) { return nil, errBuilding }

// Close ends what is left of the brokers and removes the working directory.
func (b *Bed) Close() error { return errBuilding }

// Start starts a broker and waits until it answers.
func (b *Bed) Start(ctx context.Context, kind results.Broker, o Options) (*Broker, error) {
	return nil, errBuilding
}

// Java runs a class of Apache Kafka's with a heap of 512 MiB.
func (b *Bed) Java(ctx context.Context, class string, args ...string) (Tool, error) {
	return Tool{}, errBuilding
}

// Rdkafka runs rdkafka_performance.
func (b *Bed) Rdkafka(ctx context.Context, args ...string) (Tool, error) { return Tool{}, errBuilding }

// Ottla runs a command of the binary under test, such as storm.
func (b *Bed) Ottla(ctx context.Context, args ...string) (Tool, error) { return Tool{}, errBuilding }

// Stop asks the broker to end (SIGTERM) and returns how long it took; it is killed after a minute.
func (k *Broker) Stop() (time.Duration, error) { return 0, errBuilding }

// Kill ends the broker with SIGKILL. Its data stays, for Start with Options.Data.
func (k *Broker) Kill() error { return errBuilding }

// Alive tells whether the process is still there.
func (k *Broker) Alive() bool { return false }

// CPU is the processor time, user and system, that the process has used since its start.
func (k *Broker) CPU() (time.Duration, error) { return 0, errBuilding }

// RSS is the process's resident memory in bytes.
func (k *Broker) RSS() (int64, error) { return 0, errBuilding }

// CreateTopic creates a topic and waits until its partitions have leaders.
func (k *Broker) CreateTopic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	return errBuilding
}

// DeleteTopic deletes a topic and waits until its files are gone, so that the next row finds the same page cache and
// the same disk.
func (k *Broker) DeleteTopic(ctx context.Context, name string) error { return errBuilding }
