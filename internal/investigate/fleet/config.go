package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/connection"
	"ottla/internal/investigate/evidence"
)

// Limits of a fleet's list.
const (
	FileBytesMax   = 16 << 20
	ClustersMax    = 20_000
	NameBytesMax   = 80 // of a cluster's name: it is also a directory's
	listMax        = 100
	ConcurrencyMax = 256
)

// The defaults of what the list may say.
const (
	DefaultConcurrency = 8
	DefaultTimeout     = 2 * time.Minute
	DefaultBytesMax    = 64 << 20
)

// Levels of a scan, as in the list.
const (
	LevelSweep = 0 // one InitProducerId to each broker
	LevelFull  = 1
)

// Config is the list of clusters.
type Config struct {
	Concurrency int // clusters at the same time
	Clusters    []Cluster
}

// Cluster is one cluster of the list, completed by the defaults.
type Cluster struct {
	Name      string
	Line      int // of the list, for messages
	Bootstrap []string
	Config    string   // path of a client.properties; relative paths are relative to the list
	X         []string // KEY=VALUE as after -X
	Labels    map[string]string
	Level     int           // LevelSweep or LevelFull
	Timeout   time.Duration // for one scan of the cluster
	Given     evidence.Given
	BytesMax  int64
	Requests  int64         // most requests; 0: collect's default
	Interval  time.Duration // between the two readings of a full scan; 0: collect's default
	Topics    []string
	Metrics   []string // URLs
	Skip      []string // sources that are not asked
}

// Load reads a list from a file. environ resolves ${NAME} in values of x. Its errors name lines.
func Load(path string, environ []string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readLimited(file, FileBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c, err := Parse(text, filepath.Dir(path), environ)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Settings says how to connect. It reads the cluster's client.properties.
func (c *Cluster) Settings() (*connection.Settings, error) {
	s := &connection.Settings{}
	if c.Config != "" {
		if err := s.File(c.Config); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	for _, x := range c.X {
		if err := s.Flag(x); err != nil {
			return nil, fmt.Errorf("x: %w", err)
		}
	}
	if len(c.Bootstrap) > 0 {
		s.Brokers = nil
		for _, b := range c.Bootstrap {
			one := connection.Settings{}
			one.Bootstrap(b)
			s.Brokers = append(s.Brokers, one.Brokers...)
		}
	}
	return s, nil
}

// Options are what collect is asked for at a level.
func (c *Cluster) Options(level int, tool string) (collect.Options, error) {
	s, err := c.Settings()
	if err != nil {
		return collect.Options{}, err
	}
	client, err := s.Options()
	if err != nil {
		return collect.Options{}, err
	}
	given := c.Given
	given.ClientConfig = c.Config
	return collect.Options{
		Bootstrap: s.Brokers, Client: client, Tool: tool, Given: given, BytesMax: c.BytesMax, RequestsMax: c.Requests,
		Timeout: min(collect.DefaultTimeout, c.Timeout), TimeMax: c.Timeout, Interval: c.Interval,
		Skip: c.Skip, CounterOnly: level == LevelSweep, Topics: c.Topics, MetricsURLs: c.Metrics,
	}, nil
}
