package bed

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/bench/results"
	"ottla/internal/measure"
)

const (
	startWithin = 10 * time.Minute // ten million producers are read by Kafka in minutes
	lookEvery   = 5 * time.Millisecond
)

// Both brokers delete files after a second, so that a row can wait for it, else after a minute; and neither waits for the
// first members of a group.
const (
	deleteDelay  = "log.segment.delete.delay.ms=1000"
	noGroupDelay = "group.initial.rebalance.delay.ms=0"
)

// What each broker is started with beside its addresses, its directory and what a section says.
var (
	ottlaArgs       = []string{"--set", deleteDelay, "--set", noGroupDelay}
	kafkaProperties = []string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.listener.names=CONTROLLER",
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		noGroupDelay,
		deleteDelay,
	}
)

const kafkaHeap = "1g"

func kafkaFlags(heap string) []string {
	return []string{"-Xmx" + heap, "-Xms" + heap, "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"}
}

// Setup says how the brokers are started, for the report.
func Setup() []results.Setting {
	return []results.Setting{
		{Name: "Kafka", Value: "java " + strings.Join(kafkaFlags(kafkaHeap), " ") + " kafka.Kafka server.properties"},
		{Name: "server.properties, beside addresses and directory", Value: strings.Join(kafkaProperties, " ")},
		{Name: "Kafka's own log", Value: "none (slf4j-nop)"},
		{Name: "Ottla, beside addresses and directory", Value: "ottla serve " + strings.Join(ottlaArgs, " ")},
	}
}

// Start starts a broker and waits until it answers.
func (b *Bed) Start(ctx context.Context, kind results.Broker, o Options) (*Broker, error) {
	k := &Broker{Kind: kind, Data: o.Data, Opts: o, LogFile: b.file(string(kind)) + ".log"}
	if k.Data == "" {
		k.Data = b.file(string(kind) + "-data")
		if err := os.Mkdir(k.Data, 0o755); err != nil {
			return nil, err
		}
	}
	var err error
	if k.Addr, err = b.address(); err != nil {
		return nil, err
	}
	var cmd *exec.Cmd
	switch kind {
	case results.Kafka:
		cmd, err = b.kafka(ctx, k)
	case results.Ottla:
		cmd, err = b.ottla(k)
	case results.Null:
		cmd = b.null(k)
	case results.NullDisk:
		cmd = b.null(k, "--store", filepath.Join(k.Data, "requests"))
	default:
		err = fmt.Errorf("no broker is called %q", kind)
	}
	if err != nil {
		return nil, err
	}
	log, err := os.Create(k.LogFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.Work, log, log
	began := time.Now()
	if k.process, err = b.children.start(cmd); err != nil {
		return nil, err
	}
	k.PID = cmd.Process.Pid
	if err := k.awaitReady(ctx); err != nil {
		if k.process.alive() {
			k.process.kill()
		}
		text, _ := os.ReadFile(k.LogFile) // it only adds to the error
		return nil, fmt.Errorf("%s does not start: %w: %s", kind, err, tail(string(text)))
	}
	k.ReadyAfter = time.Since(began)
	return k, nil
}

func (b *Bed) ottla(k *Broker) (*exec.Cmd, error) {
	var err error
	if k.HTTP, err = b.address(); err != nil {
		return nil, err
	}
	args := append([]string{"serve", "--data", k.Data, "--listen", k.Addr, "--http", k.HTTP}, ottlaArgs...)
	for _, line := range configLines(k.Opts.Config) {
		args = append(args, "--set", line)
	}
	return exec.Command(b.OttlaBin, args...), nil
}

func (b *Bed) null(k *Broker, args ...string) *exec.Cmd {
	config := k.Opts.Config
	return exec.Command(b.benchBin, append([]string{"null", "--listen", k.Addr, "--partitions", cmp.Or(config["partitions"], "12"),
		"--record-bytes", cmp.Or(config["record.bytes"], "1024")}, args...)...)
}

// kafka formats the data directory if it is new. The JVM's options are those of kafka-server-start.sh; the configuration
// has Kafka's defaults but for the replication that a single node cannot have and for what Ottla is told too.
func (b *Bed) kafka(ctx context.Context, k *Broker) (*exec.Cmd, error) {
	controller, err := b.address()
	if err != nil {
		return nil, err
	}
	properties := slices.Concat([]string{
		"controller.quorum.voters=1@" + controller,
		"listeners=PLAINTEXT://" + k.Addr + ",CONTROLLER://" + controller,
		"log.dirs=" + k.Data,
	}, kafkaProperties, configLines(k.Opts.Config))
	file := b.file("kafka") + ".properties"
	if err := os.WriteFile(file, []byte(strings.Join(properties, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(k.Data, "meta.properties")); errors.Is(err, os.ErrNotExist) {
		cluster := base64.RawURLEncoding.EncodeToString([]byte("ottla-bench-kraf"))
		formatted, err := b.Java(ctx, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", file)
		if err = errors.Join(err, formatted.Err()); err != nil {
			return nil, fmt.Errorf("format Kafka's storage: %w", err)
		}
	}
	args := append(kafkaFlags(cmp.Or(k.Opts.Heap, kafkaHeap)), "-cp", filepath.Join(b.KafkaLibs, "*"), "kafka.Kafka", file)
	return exec.Command("java", args...), nil
}

func configLines(config map[string]string) []string {
	var out []string
	for key, value := range config {
		out = append(out, key+"="+value)
	}
	slices.Sort(out)
	return out
}

func (k *Broker) client() (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(k.Addr), kgo.RetryTimeout(time.Minute))
}

// await calls a function until it is satisfied, the process has ended or the context has.
func (k *Broker) await(ctx context.Context, done func() bool) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-k.process.ended:
			return fmt.Errorf("the process has ended: %v", k.process.cmd.ProcessState)
		case <-ticker.C:
		}
	}
	return nil
}

func (k *Broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	client, err := k.client()
	if err != nil {
		return err
	}
	defer client.Close()
	seed := client.SeedBrokers()[0]
	return k.await(ctx, func() bool {
		if _, err := seed.Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
			return false
		}
		answer, err := seed.Request(ctx, kmsg.NewPtrMetadataRequest())
		return err == nil && len(answer.(*kmsg.MetadataResponse).Brokers) > 0
	})
}

// Stop asks the broker to end (SIGTERM) and returns how long it took; it is killed after a minute, which is an error.
func (k *Broker) Stop() (time.Duration, error) { return k.process.stop() }

// Kill ends the broker with SIGKILL. Its data stays, for Start with Options.Data.
func (k *Broker) Kill() error {
	if !k.process.alive() {
		return os.ErrProcessDone
	}
	k.process.kill()
	return nil
}

// Discard ends the broker if it runs still, and removes its data.
func (k *Broker) Discard() error {
	if k.process.alive() {
		k.process.kill()
	}
	return os.RemoveAll(k.Data)
}

// Alive tells whether the process is still there.
func (k *Broker) Alive() bool { return k.process.alive() }

// CPU is the processor time, user and system, that the process has used since its start, in steps of 10 ms.
func (k *Broker) CPU() (time.Duration, error) {
	p, err := measure.ReadProcess(k.PID)
	return p.CPU, err
}

// RSS is the process's resident memory in bytes.
func (k *Broker) RSS() (int64, error) {
	p, err := measure.ReadProcess(k.PID)
	return p.RSSBytes, err
}
