// Package bed owns the test bed of the side-by-side benchmark: it builds, starts, stops and kills the brokers that are
// compared, runs the perf tools of librdkafka and of Apache Kafka as their clients, and reads what a process cost. It must
// not know what is measured with it (bench/rows) nor what becomes of the numbers (bench/results).
package bed

import (
	"context"
	"io"
	"time"

	"ottla/bench/results"
)

// Bed is the machine's set of tools and directories. Its methods may be called from several goroutines.
type Bed struct {
	Work       string    // a directory of this run, removed at its end: data of brokers, configurations, samples
	OttlaBin   string    // the binary under test, built by Prepare
	KafkaLibs  string    // the directory of Apache Kafka's jars
	RdkafkaBin string    // librdkafka's rdkafka_performance, built from its source
	Log        io.Writer // progress, a line each

	root     string // of the module
	benchBin string // this harness, which has the null server in it
	children *children
	names    names
}

// Options of one broker.
type Options struct {
	Heap string // Kafka's -Xmx and -Xms, such as "256m"; empty is 1g
	// Config has further lines of server.properties; for Ottla, --set KEY=VALUE; the null servers know only "partitions",
	// how many each of its topics has (12), and "record.bytes" of the values that it gives to consumers (1024).
	Config map[string]string
	Data   string // an existing data directory; empty is a new one
}

// Broker is a running broker.
type Broker struct {
	Kind results.Broker
	Addr string // host:port of the Kafka protocol
	HTTP string // host:port of Ottla's metrics; empty for others
	PID  int
	Data string
	Opts Options
	// ReadyAfter is how long the process took from its start to its first answer to ApiVersions and Metadata.
	ReadyAfter time.Duration
	// LogFile has what the process wrote to stdout and stderr.
	LogFile string

	process *process
}

// Tool is the outcome of one client tool.
type Tool struct {
	Stdout, Stderr string
	Took           time.Duration // wall time, the tool's own start included
	Exit           int
}

// Prepare builds Ottla and librdkafka's tool and fetches Kafka's jars into the cache of test/compat, whatever of it is
// missing. It needs Go, a C compiler, Java, Maven and npm. Processes that the bed starts end with Close, and when the context
// does. It is called within the module.
func Prepare(ctx context.Context, log io.Writer) (*Bed, error) { return prepare(ctx, log) }
