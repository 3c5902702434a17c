package node

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"ottla/internal/catalog"
	"ottla/internal/config"
	"ottla/internal/disk"
	"ottla/internal/seglog"
)

// staticConfigs hands the configuration to the catalog, which shows it to clients and derives the defaults of topics from it.
func staticConfigs(c *config.Config) []catalog.StaticConfig {
	var out []catalog.StaticConfig
	for _, v := range c.Values() {
		out = append(out, catalog.StaticConfig{
			Name: v.Key.Name, Value: v.Text, Default: v.Key.Default,
			Explicit: v.Origin != config.FromDefault, Null: v.Text == "", NoValue: v.Key.Default == "",
			Type: configType(v.Key.Type), Doc: v.Key.Doc,
			Dynamic: v.Key.Name == cleanerBackoff || v.Key.Name == cleanerRate, Check: inRange(v.Key),
		})
	}
	return out
}

// The keys that can be changed while the node runs, beside the defaults of topics. (Kafka's others of the cleaner are its memory and
// threads.)
const (
	cleanerBackoff = "log.cleaner.backoff.ms"
	cleanerRate    = "log.cleaner.io.max.bytes.per.second"
)

// inRange checks a number as the start does.
func inRange(k *config.Key) func(value string) error {
	return func(value string) error {
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
			return err
		case !(n >= float64(k.Min)): // NaN too
			return fmt.Errorf("Value must be at least %d", k.Min)
		case math.IsInf(n, 0) || k.Max != 0 && n > float64(k.Max):
			return errors.New("Value is too large")
		}
		return nil
	}
}

// number is the value in force of a key that can be changed while the node runs. What another version has stored and cannot be read
// counts as not there.
func number[T any](n *Node, key string, atStart func(string) T, parse func(string) (T, error)) T {
	if v, err := parse(n.catalog.BrokerValue(key)); err == nil {
		return v
	}
	return atStart(key)
}

func parseInt(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }

func configType(t config.Type) catalog.ConfigType {
	switch t {
	case config.String:
		return catalog.TypeString
	case config.Boolean:
		return catalog.TypeBoolean
	case config.Int:
		return catalog.TypeInt
	case config.Long:
		return catalog.TypeLong
	case config.Double:
		return catalog.TypeDouble
	case config.List:
		return catalog.TypeList
	}
	panic("BUG: a configuration type that clients cannot be told")
}

// openFilesMax is log.open.files.max, or else what the process may open beside its connections.
func openFilesMax(c *config.Config) int {
	if n := c.Int("log.open.files.max"); n > 0 {
		return int(n)
	}
	limit, err := disk.OpenFiles()
	if err != nil {
		limit = 1024 // what systems allow that allow little
	}
	return segmentFilesMax(int64(limit), c.Int("max.connections"))
}

// segmentFilesMax is how many segment files may stay open of a process that may open limit files: what all connections and
// the files of everything else leave. Where they leave little, connections are rarely all there, and the store gives way
// when they are.
func segmentFilesMax(limit, connections int64) int {
	const others, least = 512, 512
	n := max(limit-connections-others, min(least, limit/4), 1)
	return int(min(n, seglog.OpenFilesMaxDefault))
}

// journalBytes is the size of each of the journal's two files; below zero there is none.
func journalBytes(c *config.Config) int64 {
	if n := c.Int("log.journal.bytes"); n > 0 {
		return max(n/2, 1)
	}
	return -1
}

// freeBytesMin translates "no minimum", which the log writes as a negative number.
func freeBytesMin(c *config.Config) int64 {
	if n := c.Int("log.free.disk.min.bytes"); n > 0 {
		return n
	}
	return -1
}
