// Package storm reproduces the disease that idempotent producers can give to a Kafka cluster: a new producer for every push. It makes
// the load in several forms, remembers a sample of what was acknowledged, sends it again, and says how the broker bore it.
//
// It speaks Kafka's public protocol and works against any broker; versions are negotiated. It owns its guard rails: which clusters
// and topics it may touch, and its caps. It must not know how its results are shown, nor anything of the inside of a broker.
package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
)

// Mode is a form of the disease.
type Mode string

// The modes.
const (
	// Fast makes many producers over few pipelined connections.
	Fast Mode = "fast"
	// Faithful does for each push what a client does: connect, ApiVersions, Metadata, InitProducerId, Produce, close.
	Faithful Mode = "faithful"
	// Wide lets each producer write to all partitions, in one request for each leader.
	Wide Mode = "wide"
	// FutureTimestamps is Fast with records dated ahead, which keeps entries alive where idleness is counted from the record.
	FutureTimestamps Mode = "future-timestamps"
	// TxnChurn makes a transaction with a transactional id of its own for each push.
	TxnChurn Mode = "txn-churn"
	// Control writes the same data at the same rate with a single producer: the healthy client.
	Control Mode = "control"
)

// Modes lists all modes.
func Modes() []Mode { return []Mode{Fast, Faithful, Wide, FutureTimestamps, TxnChurn, Control} }

// Limits of the options.
const (
	// TopicPrefix begins the name of every topic that a storm may write to.
	TopicPrefix = "ottla-storm-"
	// BatchesMax is how many batches of a producer a broker has to remember (Kafka's ProducerStateEntry.NUM_BATCHES_TO_RETAIN).
	BatchesMax = 5
	// RecordBytesMax is the largest value of a record, in bytes.
	RecordBytesMax = 512 << 10
	// ConnectionsMax is the most connections that a storm can be allowed to open.
	ConnectionsMax = 100_000
	// PartitionsMax is the most partitions of a storm's topic.
	PartitionsMax = 200_000
	// SampleMax is the most producers that a sample may hold.
	SampleMax = 1_000_000
	// wideRequestBytesMax bounds the request of one producer to all partitions; Kafka's socket.request.max.bytes is 100 MiB.
	wideRequestBytesMax = 64 << 20
)

// Options say what storm to make. The zero value of a cap means none of it: start from Defaults.
type Options struct {
	Bootstrap []string // HOST:PORT
	// ClusterID must be the cluster's id where it is not on the loopback interface; checked wherever it is given.
	ClusterID string
	// Dial opens connections, with TLS if that is wanted; nil: plain TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// SASL are the mechanisms to authenticate with; the first is used for the data.
	SASL []sasl.Mechanism

	Mode Mode // "": Fast, or Faithful with AB
	// AB also makes a Control load at the same rate, on a topic of its own.
	AB bool

	Topic       string // "": a name of its own
	ReuseTopic  bool   // write to a topic that exists; it is not deleted
	Keep        bool   // do not delete the topics
	Partitions  int    // each producer writes to one of them, except Wide
	Replication int    // -1: the broker's default
	TopicConfig map[string]string

	Rate        float64 // producers a second, at most; 0: as many as the broker takes
	Connections int     // connections at work at the same time
	Pipeline    int     // producers in flight on each connection (Fast)
	Batches     int     // batches of each producer, 1 to BatchesMax
	RecordBytes int     // value of the one record in each batch
	Acks        int     // -1 (all) or 1
	Ahead       time.Duration
	NoClose     bool          // Faithful leaves connections open, up to MaxConnections
	Probe       time.Duration // 0: none; else one steady producer writes at this interval

	RetrySample  int    // producers whose batches are sent again at the end
	SampleOut    string // file to save the sample in
	Retry        string // file of a sample to retry, instead of making a storm
	RetryRounds  int    // how often the sample is sent
	RequireExact bool   // it is an error if a retry was not recognised

	MaxProducers   int64
	MaxBytes       int64 // of Produce requests
	MaxDuration    time.Duration
	MaxConnections int           // open at the same time
	Stall          time.Duration // a broker that owes answers and gives none for so long has stopped

	BrokerPID int // process of the broker; 0: found by its port if it is on this machine
}

// Defaults are options with every cap set.
func Defaults() Options {
	return Options{
		Partitions: 1, Replication: -1, Connections: 16, Pipeline: 64, Batches: 1, RecordBytes: 100, Acks: -1, RetryRounds: 1,
		MaxProducers: 100_000, MaxBytes: 4 << 30, MaxDuration: 5 * time.Minute, MaxConnections: 1000, Stall: 60 * time.Second,
	}
}

// yearsAhead is the default distance of FutureTimestamps.
const yearsAhead = 10 * 365 * 24 * time.Hour

// abRate is the rate of AB where none is given, in producers a second.
const abRate = 100

// Check completes the options and says what is wrong with them.
func (o *Options) Check() error {
	if o.Mode == "" {
		o.Mode = Fast
		if o.AB {
			o.Mode = Faithful
		}
	}
	if o.Mode == FutureTimestamps && o.Ahead == 0 {
		o.Ahead = yearsAhead
	}
	if o.AB && o.Rate == 0 {
		o.Rate = abRate
	}
	if len(o.Bootstrap) == 0 {
		return errors.New("no broker to connect to")
	}
	return errors.Join(o.checkLoad(), o.checkTopic(), o.checkSample(), o.checkCaps())
}

func (o *Options) checkLoad() error {
	known := false
	for _, m := range Modes() {
		known = known || m == o.Mode
	}
	switch {
	case !known:
		return fmt.Errorf("mode %q: allowed: %s", o.Mode, strings.ReplaceAll(strings.Trim(fmt.Sprint(Modes()), "[]"), " ", ", "))
	case o.AB && (o.Mode == Control || o.Mode == TxnChurn):
		return fmt.Errorf("mode %s cannot be compared with the control load", o.Mode)
	case o.NoClose && o.Mode != Faithful:
		return errors.New("only mode faithful can leave connections open")
	case o.Pipeline < 1 || o.Pipeline > 1<<16:
		return fmt.Errorf("pipeline %d: allowed: 1 to %d", o.Pipeline, 1<<16)
	case !(o.Rate >= 0 && o.Rate <= 1e9):
		return fmt.Errorf("rate %v: allowed: 0 to 1e9", o.Rate)
	case o.Batches < 1 || o.Batches > BatchesMax:
		return fmt.Errorf("%d batches for each producer: allowed: 1 to %d", o.Batches, BatchesMax)
	case o.Acks != -1 && o.Acks != 1:
		return fmt.Errorf("acks %d: allowed: -1, 1", o.Acks)
	case o.RecordBytes < 0 || o.RecordBytes > RecordBytesMax:
		return fmt.Errorf("records of %d bytes: allowed: 0 to %d", o.RecordBytes, RecordBytesMax)
	case o.Mode == Wide && o.Partitions*(o.RecordBytes+wideOverhead) > wideRequestBytesMax:
		return fmt.Errorf("%d partitions with records of %d bytes are more than %d bytes in one request", o.Partitions, o.RecordBytes, wideRequestBytesMax)
	}
	return nil
}

func (o *Options) checkTopic() error {
	switch {
	case o.Topic != "" && !strings.HasPrefix(o.Topic, TopicPrefix):
		return fmt.Errorf("topic %q: a storm writes only to topics whose names begin with %q", o.Topic, TopicPrefix)
	case len(o.Topic) > 200: // the control load's topic adds to the name; Kafka allows 249
		return fmt.Errorf("topic: its name has %d bytes, at most 200 are allowed", len(o.Topic))
	case o.ReuseTopic && o.Topic == "":
		return errors.New("to reuse a topic, name it")
	case o.ReuseTopic && len(o.TopicConfig) > 0:
		return errors.New("the configuration of a topic that exists is not changed")
	case o.Partitions < 1 || o.Partitions > PartitionsMax:
		return fmt.Errorf("%d partitions: allowed: 1 to %d", o.Partitions, PartitionsMax)
	case o.Replication != -1 && (o.Replication < 1 || o.Replication > 1<<15-1):
		return fmt.Errorf("replication factor %d: allowed: -1, 1 to %d", o.Replication, 1<<15-1)
	}
	return nil
}

func (o *Options) checkSample() error {
	sampling := o.RetrySample > 0 || o.SampleOut != ""
	switch {
	case o.RetrySample < 0 || o.RetrySample > SampleMax:
		return fmt.Errorf("a sample of %d producers: allowed: 0 to %d", o.RetrySample, SampleMax)
	case sampling && (o.Mode == Control || o.Mode == TxnChurn):
		return fmt.Errorf("mode %s: its batches cannot be retried when all is over: the broker remembers only the last %d of a producer, and none after its transaction", o.Mode, BatchesMax)
	case o.SampleOut != "" && !o.Keep && !o.ReuseTopic:
		return errors.New("a sample for later is of use only if the topic is kept")
	case o.SampleOut != "" && o.RetrySample == 0:
		return errors.New("a sample needs a size")
	case o.Retry != "" && (sampling || o.AB || o.Topic != ""):
		return errors.New("a retry of a saved sample makes no storm: topic, mode and sample come from the file")
	case o.RequireExact && o.Retry == "" && o.RetrySample == 0:
		return errors.New("without a sample nothing can be exact")
	case o.RetryRounds < 1 || o.RetryRounds > 1000:
		return fmt.Errorf("%d rounds of retries: allowed: 1 to 1000", o.RetryRounds)
	}
	return nil
}

func (o *Options) checkCaps() error {
	switch {
	case o.MaxProducers < 0 || o.MaxProducers == 0 && o.Probe <= 0:
		return fmt.Errorf("at most %d producers: at least 1, or none beside a steady producer", o.MaxProducers)
	case o.MaxBytes < 1:
		return fmt.Errorf("at most %d bytes: allowed: 1 and above", o.MaxBytes)
	case o.MaxDuration <= 0:
		return fmt.Errorf("at most %v: allowed: above 0", o.MaxDuration)
	case o.MaxConnections < 1 || o.MaxConnections > ConnectionsMax:
		return fmt.Errorf("at most %d connections: allowed: 1 to %d", o.MaxConnections, ConnectionsMax)
	case o.Connections < 1 || o.Connections > o.MaxConnections:
		return fmt.Errorf("%d connections: allowed: 1 to the cap of %d", o.Connections, o.MaxConnections)
	case o.Stall <= 0:
		return fmt.Errorf("stall %v: allowed: above 0", o.Stall)
	case o.Probe < 0:
		return fmt.Errorf("probe %v: allowed: 0 and above", o.Probe)
	}
	return nil
}

// Errors that callers tell apart.
var (
	// ErrStopped is what a broker is found guilty of that gives no answers any more, or that went away.
	ErrStopped = errors.New("the broker stopped answering")
	// ErrNotExact: a retry was not recognised and Options.RequireExact is set.
	ErrNotExact = errors.New("not all retries were recognised")
	// ErrRefused is the answer of a guard rail. Nothing was written.
	ErrRefused = errors.New("refused")
)
