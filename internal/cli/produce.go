package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lineBytesMax bounds one line of input; larger records do not fit a broker's limits anyway.
const lineBytesMax = 64 << 20

type produceFlags struct {
	clientFlags
	keySeparator string
	nullValue    string
	hasNullValue bool
	headers      []string
	partition    int32
	acks         string
	compression  string

	batchBytesMax int32
}

// batchBytesMaxDefault fits below the default of max.message.bytes, as the Java client's max.request.size does.
const batchBytesMaxDefault = 1_000_000

func newProduce(env *Env) *cobra.Command {
	f := &produceFlags{}
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Write lines of stdin as records", Args: wantArgs(1, 1, "one topic name"),
		Example:           "  echo 'alice:hello' | ottla produce greetings --key-separator :",
		ValidArgsFunction: f.completeOneTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.hasNullValue = cmd.Flags().Changed("null-value")
			return f.run(cmd, args[0])
		},
	}
	f.add(cmd, env)
	cmd.Flags().StringVar(&f.keySeparator, "key-separator", "", "what stands between key and value of a line; default: a line is a value without key")
	cmd.Flags().StringVar(&f.nullValue, "null-value", "", "a value that is exactly this is written as null: in a compacted topic that deletes the key")
	cmd.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "header of every record, key=value; repeatable")
	cmd.Flags().Int32Var(&f.partition, "partition", -1, "partition to write to; -1: by key, or any")
	cmd.Flags().StringVar(&f.acks, "acks", "all", "all: wait until stored safely; 1: until written; 0: do not wait")
	cmd.Flags().Int32Var(&f.batchBytesMax, "batch-bytes-max", batchBytesMaxDefault, "bytes of a batch, so also of a record: at most the topic's max.message.bytes")
	cmd.Flags().StringVar(&f.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	return cmd
}

func (f *produceFlags) options(topic string) ([]kgo.Opt, error) {
	if f.batchBytesMax < 1 || f.batchBytesMax > lineBytesMax {
		return nil, usageError{fmt.Errorf("--batch-bytes-max %d: allowed: 1 to %d", f.batchBytesMax, lineBytesMax)}
	}
	opts := []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(f.batchBytesMax), kgo.BrokerMaxWriteBytes(2 * lineBytesMax),
		kgo.RecordDeliveryTimeout(f.timeout), kgo.ProduceRequestTimeout(f.timeout), kgo.AllowAutoTopicCreation()}
	switch f.acks {
	case "all", "-1":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usageError{fmt.Errorf("--acks %q: allowed: all, 1, 0", f.acks)}
	}
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[f.compression]
	if !ok {
		return nil, usageError{fmt.Errorf("--compression %q: allowed: none, gzip, snappy, lz4, zstd", f.compression)}
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

func (f *produceFlags) run(cmd *cobra.Command, topic string) error {
	opts, err := f.options(topic)
	if err != nil {
		return err
	}
	var headers []kgo.RecordHeader
	for _, h := range f.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return usageError{fmt.Errorf("--header %q: want key=value", h)}
		}
		headers = append(headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	client, err := f.dial(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := f.interruptible(cmd.Context())
	defer cancel()
	missing := f.topicMissing(ctx, topic)
	p := &production{flags: f, cmd: cmd, cancel: cancel}
	go p.watch(ctx, client)
	readErr := p.lines(ctx, client, headers)
	if err := client.Flush(ctx); err != nil && readErr == nil {
		readErr = fmt.Errorf("interrupted before everything was acknowledged: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.output == outputText {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d records written to %s\n", p.mu.written, topic)
	}
	if missing && p.mu.written > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "topic %s did not exist: the broker has created it with its defaults (auto.create.topics.enable)\n", topic)
	}
	if p.mu.err != nil {
		return f.explain(brokerError("topic "+topic, p.mu.err, ""))
	}
	return readErr
}

// topicMissing says that the topic does not exist yet. Where that cannot be said, writing to it will tell what is wrong. It asks with a
// client of its own, because that of the records would have the topic made by asking.
func (f *produceFlags) topicMissing(ctx context.Context, topic string) (missing bool) {
	_ = f.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		topics, err := admin.ListTopicsWithInternal(ctx, topic)
		missing = err == nil && errors.Is(topics[topic].Err, kerr.UnknownTopicOrPartition)
		return err
	})
	return missing
}

// production counts what was acknowledged and keeps the first failure, which ends the reading.
type production struct {
	flags  *produceFlags
	cmd    *cobra.Command
	cancel context.CancelFunc
	mu     struct {
		sync.Mutex
		written int
		err     error
	}
}

func (p *production) lines(ctx context.Context, client *kgo.Client, headers []kgo.RecordHeader) error {
	scanner := bufio.NewScanner(p.cmd.InOrStdin())
	scanner.Buffer(make([]byte, 0, 64<<10), lineBytesMax)
	for number := 1; scanner.Scan(); number++ {
		record := &kgo.Record{Value: []byte(scanner.Text()), Headers: headers, Partition: p.flags.partition}
		if sep := p.flags.keySeparator; sep != "" {
			key, value, ok := strings.Cut(scanner.Text(), sep)
			if !ok {
				return fmt.Errorf("line %d has no %q between key and value", number, sep)
			}
			record.Key, record.Value = []byte(key), []byte(value)
		}
		if p.flags.hasNullValue && string(record.Value) == p.flags.nullValue {
			record.Value = nil
		}
		if ctx.Err() != nil {
			return nil // the failure that ended it is kept
		}
		client.Produce(ctx, record, p.acknowledged)
	}
	if err := scanner.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading stdin: %w", err)
	}
	return nil
}

func (p *production) acknowledged(r *kgo.Record, err error) {
	if err != nil {
		p.fail(err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.written++
	if p.flags.output == outputJSON {
		_ = printJSONLine(p.cmd.OutOrStdout(), producedRecord{r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()})
	}
}

type producedRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp_ms"`
}

// watch ends the production where records wait and none is acknowledged for the timeout: kgo gives up no idempotent batch that it may
// have sent, as its sequence would be missing, and so waits for a dead broker for ever.
func (p *production) watch(ctx context.Context, client *kgo.Client) {
	ticker := time.NewTicker(max(p.flags.timeout, time.Millisecond))
	defer ticker.Stop()
	for before := -1; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		written := p.mu.written
		p.mu.Unlock()
		waiting := client.BufferedProduceRecords()
		if waiting > 0 && written == before {
			p.fail(fmt.Errorf("nothing was acknowledged for %s; the last %d records may be written or not: %w", p.flags.timeout, waiting, kgo.ErrRecordTimeout))
			return
		}
		if before = written; waiting == 0 {
			before = -1
		}
	}
}

func (p *production) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.err == nil {
		p.mu.err = err
		p.cancel()
	}
}
