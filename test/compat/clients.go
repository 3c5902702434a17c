package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client is one implementation of the protocol, with its default settings; codec "" is its default too.
type client interface {
	name() string
	records(seed uint64) []record
	produce(ctx context.Context, topic, codec string, recs []record) error
	consume(ctx context.Context, topic string) ([]record, error)
}

func (s *suite) clients() []client { return []client{&javaClient{s}, &kcatClient{s}, &franzClient{s}} }

type javaClient struct{ s *suite }

func (c *javaClient) name() string                 { return "java" }
func (c *javaClient) records(seed uint64) []record { return manyShapes(seed, false) }

func (c *javaClient) produce(ctx context.Context, topic, codec string, recs []record) error {
	file := c.s.path("java-produce-" + topic)
	if err := writeRecords(file, recs); err != nil {
		return err
	}
	properties := map[string]string{}
	if codec != "" {
		properties["compression.type"] = codec
	}
	a, err := c.s.jvm.call(ctx, map[string]any{"command": "produce", "bootstrap": c.s.broker.bootstrap, "topic": topic, "file": file, "properties": properties})
	if err == nil && int(a.Records) != len(recs) {
		err = fmt.Errorf("%d records sent of %d", a.Records, len(recs))
	}
	return err
}

func (c *javaClient) consume(ctx context.Context, topic string) ([]record, error) {
	file := c.s.path("java-consume-" + topic)
	_, err := c.s.jvm.call(ctx, map[string]any{"command": "consume", "bootstrap": c.s.broker.bootstrap, "topic": topic, "file": file})
	if err != nil {
		return nil, err
	}
	return readRecords(file)
}

// kcatClient is librdkafka, as Debian ships it.
type kcatClient struct{ s *suite }

// kcat's delimiters; no record of its set has them in a key.
const (
	kcatMessageEnd = "<\x1e>"
	kcatKeyEnd     = "<\x1f>"
	kcatHeadersEnd = "<\x1d>"
	// Larger values go from a file each, as do those that hold a delimiter.
	kcatStdinBytesMax = 64 << 10
)

func (c *kcatClient) name() string                 { return "kcat" }
func (c *kcatClient) records(seed uint64) []record { return manyShapes(seed, true) }

// How kcat gets a record: runs of records in the same way share an invocation.
type kcatWay struct {
	partition          int32
	headers            string
	keyNull, valueNull bool
	file               bool
}

func (r record) kcatWay() kcatWay {
	file := len(r.value) > kcatStdinBytesMax || bytes.Contains(r.value, []byte(kcatMessageEnd))
	return kcatWay{r.partition, kcatHeaders(r.headers), r.key == nil, r.value == nil, file}
}

func (c *kcatClient) produce(ctx context.Context, topic, codec string, recs []record) error {
	// Within a partition, order is by way of sending: the caller's slice is put into that order.
	slices.SortStableFunc(recs, func(a, b record) int {
		return strings.Compare(fmt.Sprint(a.kcatWay()), fmt.Sprint(b.kcatWay()))
	})
	for start := 0; start < len(recs); {
		way := recs[start].kcatWay()
		end := start + 1
		for end < len(recs) && recs[end].kcatWay() == way && !(way.file && !bytes.Equal(recs[end].key, recs[start].key)) {
			end++
		}
		if err := c.produceRun(ctx, topic, codec, way, recs[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

func (c *kcatClient) produceRun(ctx context.Context, topic, codec string, way kcatWay, recs []record) error {
	args := []string{"-P", "-t", topic, "-p", strconv.Itoa(int(way.partition))}
	if codec != "" {
		args = append(args, "-z", codec)
	}
	for _, h := range recs[0].headers {
		if h.value == nil {
			args = append(args, "-H", h.key)
		} else {
			args = append(args, "-H", h.key+"="+string(h.value))
		}
	}
	if way.valueNull {
		args = append(args, "-Z")
	}
	var stdin bytes.Buffer
	if way.file {
		if !way.keyNull {
			args = append(args, "-k", string(recs[0].key))
		}
		for i, r := range recs {
			file := c.s.path(fmt.Sprintf("kcat-value-%d", i))
			if err := os.WriteFile(file, r.value, 0o600); err != nil {
				return err
			}
			args = append(args, file)
		}
	} else {
		args = append(args, "-D", kcatMessageEnd)
		if !way.keyNull {
			args = append(args, "-K", kcatKeyEnd)
		}
		for _, r := range recs {
			if !way.keyNull {
				stdin.Write(r.key)
				stdin.WriteString(kcatKeyEnd)
			}
			stdin.Write(r.value)
			stdin.WriteString(kcatMessageEnd)
		}
	}
	_, err := c.run(ctx, &stdin, args...)
	return err
}

func (c *kcatClient) run(ctx context.Context, stdin *bytes.Buffer, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", c.s.broker.bootstrap}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kcat %.200q: %w: %s", args, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// kcatHeaders is how kcat prints headers.
func kcatHeaders(headers []header) string {
	var parts []string
	for _, h := range headers {
		value := string(h.value)
		if h.value == nil {
			value = "NULL"
		}
		parts = append(parts, h.key+"="+value)
	}
	return strings.Join(parts, ",")
}

func (c *kcatClient) consume(ctx context.Context, topic string) ([]record, error) {
	out, err := c.run(ctx, nil, "-C", "-q", "-t", topic, "-o", "beginning", "-e", "-f", "%p %o %T %K %S %h"+kcatHeadersEnd+"%k%s"+kcatMessageEnd)
	if err != nil {
		return nil, err
	}
	var recs []record
	for len(out) > 0 {
		head, rest, found := bytes.Cut(out, []byte(kcatHeadersEnd))
		if !found {
			return nil, fmt.Errorf("kcat printed %.100q", out)
		}
		r := record{}
		var keyBytes, valueBytes int
		if n, err := fmt.Sscanf(string(head), "%d %d %d %d %d ", &r.partition, &r.offset, &r.timestamp, &keyBytes, &valueBytes); n != 5 {
			return nil, fmt.Errorf("kcat printed %.100q: %v", head, err)
		}
		rendered := strings.SplitN(string(head), " ", 6)[5]
		r.rendered = &rendered
		if max(keyBytes, 0)+max(valueBytes, 0)+len(kcatMessageEnd) > len(rest) {
			return nil, fmt.Errorf("kcat's output ends within a record of %d and %d bytes", keyBytes, valueBytes)
		}
		if keyBytes >= 0 {
			r.key, rest = rest[:keyBytes], rest[keyBytes:]
		}
		if valueBytes >= 0 {
			r.value, rest = rest[:valueBytes], rest[valueBytes:]
		}
		if out, found = bytes.CutPrefix(rest, []byte(kcatMessageEnd)); !found {
			return nil, fmt.Errorf("kcat printed %.40q where a record ends", rest)
		}
		recs = append(recs, r)
	}
	return recs, nil
}

type franzClient struct{ s *suite }

func (c *franzClient) name() string                 { return "franz-go" }
func (c *franzClient) records(seed uint64) []record { return manyShapes(seed, false) }

var franzCodecs = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

func (c *franzClient) produce(ctx context.Context, topic, codec string, recs []record) error {
	opts := []kgo.Opt{kgo.SeedBrokers(c.s.broker.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if codec != "" {
		opts = append(opts, kgo.ProducerBatchCompression(franzCodecs[codec]))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var sent []*kgo.Record
	for _, r := range recs {
		k := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestamp)}
		for _, h := range r.headers {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.key, Value: h.value})
		}
		sent = append(sent, k)
	}
	if err := cl.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return err
	}
	next := map[int32]int64{}
	for i, k := range sent {
		if k.Partition != recs[i].partition || k.Offset != next[k.Partition] {
			return fmt.Errorf("record %d was acknowledged at %d-%d, expected %d-%d", i, k.Partition, k.Offset, recs[i].partition, next[recs[i].partition])
		}
		next[k.Partition]++
	}
	return nil
}

func (c *franzClient) consume(ctx context.Context, topic string) ([]record, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.s.broker.bootstrap))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	left, from, err := franzOffsets(ctx, cl, topic)
	if err != nil {
		return nil, err
	}
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	var recs []record
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(k *kgo.Record) {
			recs = append(recs, franzRecord(k))
			if k.Offset+1 >= left[k.Partition] {
				delete(left, k.Partition)
			}
		})
	}
	return recs, nil
}

// franzOffsets are the ends of the partitions that are not empty, and where to begin in each.
func franzOffsets(ctx context.Context, cl *kgo.Client, topic string) (left map[int32]int64, from map[int32]kgo.Offset, err error) {
	a := kadm.NewClient(cl)
	ends, err := a.ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, nil, err
	}
	starts, err := a.ListStartOffsets(ctx, topic)
	if err = errors.Join(err, starts.Error()); err != nil {
		return nil, nil, err
	}
	left, from = map[int32]int64{}, map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		from[o.Partition] = kgo.NewOffset().AtStart()
		if start, _ := starts.Lookup(topic, o.Partition); o.Offset > start.Offset {
			left[o.Partition] = o.Offset
		}
	})
	return left, from, nil
}

func franzRecord(k *kgo.Record) record {
	r := record{partition: k.Partition, offset: k.Offset, timestamp: k.Timestamp.UnixMilli(), timestampType: createTime, key: k.Key, value: k.Value}
	if k.Attrs.TimestampType() == 1 {
		r.timestampType = logAppendTime
	}
	for _, h := range k.Headers {
		r.headers = append(r.headers, header{h.Key, h.Value})
	}
	return r
}
