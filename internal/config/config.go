// Package config owns the configuration of one broker process: a single table of keys (keys.go) from which
// command-line flags, environment variables, the properties file, the text of `ottla serve --help`
// and docs/configuration.md are all made, and the rules by which their values are
// checked and override each other. It must not know what any key is used for: node reads the values
// and builds the broker from them.
package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Errors of Load. Each names the key, the value and what would be allowed.
var (
	ErrUnknownKey = errors.New("unknown configuration key")
	ErrInvalid    = errors.New("invalid configuration value")
	ErrSyntax     = errors.New("malformed configuration")
)

// Origin says which layer a value came from. A later origin overrides an earlier one.
type Origin uint8

// The layers, weakest first.
const (
	FromDefault Origin = iota
	FromFile
	FromEnv
	FromSet
	FromFlag
)

// String names the layer as error messages and the log show it.
func (o Origin) String() string {
	return [...]string{"default", "file", "environment", "--set", "flag"}[o]
}

// Value is one key with the value in force.
type Value struct {
	Key    *Key
	Text   string // canonical text; empty means not set
	Origin Origin
}

// Input is everything a process was told, still unparsed.
type Input struct {
	FileName string            // named in messages only
	File     []byte            // content of a properties file, nil if there is none
	Environ  []string          // as os.Environ: NAME=value
	Set      []string          // key=value, in order; the last of a key wins
	Flags    map[string]string // key name -> value given by the key's own flag
}

// Config is a checked configuration. It is immutable.
type Config struct {
	values        map[string]Value
	listeners     []Listener
	advertised    []Listener
	notApplicable []string
	adjusted      []string
	problems      []error
}

// problemsMax is how many problems one error names.
const problemsMax = 20

// Load merges the layers and checks every value. Its error names each problem that was found, on a line of its own, up to twenty; what concerns
// more than one key is looked at where the keys themselves are right.
func Load(in Input) (*Config, error) {
	c := &Config{values: make(map[string]Value, len(table))}
	for i := range table {
		k := &table[i]
		c.values[k.Name] = Value{Key: k, Text: k.Default}
	}
	for _, layer := range []func(Input){c.applyFile, c.applyEnv, c.applySet, c.applyFlags} {
		layer(in)
	}
	c.resolve(len(c.problems) == 0)
	if n := len(c.problems) - problemsMax; n > 0 {
		c.problems = append(c.problems[:problemsMax], fmt.Errorf("and %d more", n))
	}
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return c, nil
}

// problem notes an error, if it is one.
func (c *Config) problem(err error) {
	if err != nil {
		c.problems = append(c.problems, err)
	}
}

// Default is the configuration of a process that was told nothing.
func Default() *Config {
	c, err := Load(Input{})
	if err != nil {
		panic("BUG: the default configuration does not load: " + err.Error())
	}
	return c
}

func (c *Config) applyFile(in Input) {
	properties, err := parseProperties(in.File)
	if err != nil {
		c.problem(fmt.Errorf("%s: %w", in.FileName, err))
	}
	for _, p := range properties {
		if err := c.put(p.name, p.value, FromFile); err != nil {
			c.problem(fmt.Errorf("%s:%d: %w", in.FileName, p.line, err))
		}
	}
}

func (c *Config) applyEnv(in Input) {
	for _, entry := range in.Environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || name == EnvConfigFile || injectedByKubernetes(name) {
			continue
		}
		key, ok := keyOfEnv(name)
		if !ok {
			c.problem(fmt.Errorf("environment variable %s: %w%s", name, ErrUnknownKey, suggest(strings.ToLower(strings.ReplaceAll(name[len(envPrefix):], "_", ".")))))
		} else if err := c.put(key, value, FromEnv); err != nil {
			c.problem(fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
}

func (c *Config) applySet(in Input) {
	for _, s := range in.Set {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			c.problem(fmt.Errorf("--set %q: %w: want key=value", s, ErrSyntax))
		} else if err := c.put(strings.TrimSpace(name), value, FromSet); err != nil {
			c.problem(fmt.Errorf("--set: %w", err))
		}
	}
}

func (c *Config) applyFlags(in Input) {
	names := make([]string, 0, len(in.Flags))
	for name := range in.Flags {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := c.put(name, in.Flags[name], FromFlag); err != nil {
			c.problem(fmt.Errorf("--%s: %w", byName[name].Flag, err))
		}
	}
}

// put checks one value and stores it over whatever a weaker layer said. A key of Kafka's without a
// meaning here is only remembered, for the one warning that names them all.
func (c *Config) put(name, text string, from Origin) error {
	k, ok := byName[name]
	if !ok {
		if isKafkaKey(name) {
			c.notApplicable = append(c.notApplicable, name)
			return nil
		}
		return fmt.Errorf("%w %q%s", ErrUnknownKey, name, suggest(name))
	}
	canonical, note, err := k.check(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	if note != "" {
		c.adjusted = append(c.adjusted, note)
	}
	c.values[k.Name] = Value{Key: k, Text: canonical, Origin: from}
	return nil
}

// resolve checks what is more than one key's value; right says that no key's is wrong, so that they can be compared.
func (c *Config) resolve(right bool) {
	c.notApplicable = sortedUnique(c.notApplicable)
	listeners, advertised, err := resolveListeners(c)
	c.listeners, c.advertised = listeners, advertised
	c.problem(err)
	if dirs := splitList(c.Text("log.dirs")); len(dirs) != 1 {
		c.problem(fmt.Errorf("%w: log.dirs=%q: allowed: exactly one directory", ErrInvalid, c.Text("log.dirs")))
	}
	metrics, on, err := c.HTTP()
	c.problem(err)
	c.checkPorts(metrics, on)
	if !right {
		return
	}
	for _, name := range []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"} {
		if c.Text(name) == "0" {
			c.problem(fmt.Errorf("%w: %s=0: allowed: -1, for ever, or at least 1", ErrInvalid, name)) // LogConfig.validateBrokerLogConfigValues
		}
		if c.Text(name) != "" {
			break
		}
	}
	if total, frame := c.Int("queued.max.request.bytes"), c.Int("socket.request.max.bytes"); total < frame {
		c.problem(fmt.Errorf("%w: queued.max.request.bytes=%d is less than socket.request.max.bytes=%d: the largest request could never be read",
			ErrInvalid, total, frame))
	}
	c.checkOrder()
}

// ordered are keys of which the first must not be more than the second, and less where strict
// (Kafka's GroupCoordinatorConfig; for the session timeouts of the classic protocol too, which Kafka does not check).
var ordered = []struct {
	low, high string
	strict    bool
}{
	{low: "group.min.session.timeout.ms", high: "group.max.session.timeout.ms"},
	{low: "group.consumer.min.heartbeat.interval.ms", high: "group.consumer.max.heartbeat.interval.ms"},
	{low: "group.consumer.min.heartbeat.interval.ms", high: "group.consumer.heartbeat.interval.ms"},
	{low: "group.consumer.heartbeat.interval.ms", high: "group.consumer.max.heartbeat.interval.ms"},
	{low: "group.consumer.min.session.timeout.ms", high: "group.consumer.max.session.timeout.ms"},
	{low: "group.consumer.min.session.timeout.ms", high: "group.consumer.session.timeout.ms"},
	{low: "group.consumer.session.timeout.ms", high: "group.consumer.max.session.timeout.ms"},
	{low: "group.consumer.heartbeat.interval.ms", high: "group.consumer.session.timeout.ms", strict: true},
	{low: "log.cleaner.min.compaction.lag.ms", high: "log.cleaner.max.compaction.lag.ms"},
}

func (c *Config) checkOrder() {
	for _, o := range ordered {
		low, high := c.Int(o.low), c.Int(o.high)
		if low > high || o.strict && low == high {
			relation := "more than"
			if o.strict {
				relation = "not less than"
			}
			c.problem(fmt.Errorf("%w: %s=%d is %s %s=%d", ErrInvalid, o.low, low, relation, o.high, high))
		}
	}
}

// Values lists every key with the value in force, in the order of the table.
func (c *Config) Values() []Value {
	out := make([]Value, 0, len(table))
	for i := range table {
		out = append(out, c.values[table[i].Name])
	}
	return out
}

// Lookup answers with the value in force of one key.
func (c *Config) Lookup(name string) (Value, bool) {
	v, ok := c.values[name]
	return v, ok
}

// Text is the value of a key as text; empty when not set.
func (c *Config) Text(name string) string { return c.mustValue(name).Text }

// Int is the value of an integer key, which must have one.
func (c *Config) Int(name string) int64 {
	n, err := strconv.ParseInt(c.mustValue(name).Text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("BUG: configuration key %s read as integer: %v", name, err))
	}
	return n
}

// Float is the value of a key of type Double.
func (c *Config) Float(name string) float64 {
	f, err := strconv.ParseFloat(c.mustValue(name).Text, 64)
	if err != nil {
		panic(fmt.Sprintf("BUG: configuration key %s read as a number: %v", name, err))
	}
	return f
}

// List is the value of a key of type List, without empty items.
func (c *Config) List(name string) []string { return splitList(c.mustValue(name).Text) }

// Bool is the value of a boolean key.
func (c *Config) Bool(name string) bool { return c.mustValue(name).Text == "true" }

func (c *Config) mustValue(name string) Value {
	v, ok := c.values[name]
	if !ok {
		panic("BUG: no configuration key " + name)
	}
	return v
}

// Listeners are the addresses to listen on, with unique names.
func (c *Config) Listeners() []Listener { return c.listeners }

// Advertised are the addresses told to clients, by listener name. A listener may be missing from it, and a
// port may be 0: what it listens on is advertised then.
func (c *Config) Advertised() []Listener { return c.advertised }

// HTTPOff is the value of http.listener that switches it off.
const HTTPOff = "off"

// HTTP is the address for metrics and health; on is false if there shall be none.
func (c *Config) HTTP() (addr string, on bool, err error) {
	text := c.Text("http.listener")
	if strings.EqualFold(text, HTTPOff) {
		return "", false, nil
	}
	l, err := ParseListener(text)
	if err != nil || l.Name != "" {
		return "", false, fmt.Errorf("%w: http.listener=%q: allowed: HOST:PORT or %s", ErrInvalid, text, HTTPOff)
	}
	return l.Addr(), true, nil
}

// NotApplicable names the keys of Kafka's that were given and have no meaning here, sorted.
func (c *Config) NotApplicable() []string { return c.notApplicable }

// NotEnforced are those of NotApplicable by which somebody would be kept from something.
func (c *Config) NotEnforced() []string {
	return slices.DeleteFunc(slices.Clone(c.notApplicable), func(name string) bool {
		return !slices.ContainsFunc(securityPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}

// Adjusted has one sentence for every value that was accepted but is not what is in force.
func (c *Config) Adjusted() []string { return c.adjusted }

func sortedUnique(names []string) []string {
	sort.Strings(names)
	out := names[:0]
	for i, n := range names {
		if i == 0 || n != names[i-1] {
			out = append(out, n)
		}
	}
	return out
}
