package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"ottla/internal/investigate/collect"
	"ottla/internal/investigate/phrase"
)

// lineError is a mistake in the list and where it is.
type lineError struct {
	line int
	err  error
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e lineError) Unwrap() error { return e.err }

func at(n *yaml.Node, format string, args ...any) error {
	return lineError{n.Line, fmt.Errorf(format, args...)}
}

// problemsMax is how many mistakes are told at once.
const problemsMax = 20

// parser collects mistakes, so that a list is not repaired one line a run.
type parser struct {
	dir      string
	env      map[string]string
	problems []error
}

func (p *parser) wrong(err error) {
	if len(p.problems) < problemsMax {
		p.problems = append(p.problems, err)
	}
}

// Parse reads a list. dir is where relative paths begin. Keys that mean nothing are refused: a mistyped budget would be no budget.
func Parse(text []byte, dir string, environ []string) (*Config, error) {
	if len(text) > FileBytesMax {
		return nil, fmt.Errorf("more than %d bytes", FileBytesMax)
	}
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the list is empty")
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document: a fleet is one")
	}
	p := &parser{dir: dir, env: map[string]string{}}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			p.env[name] = value
		}
	}
	c := p.config(&doc)
	if len(p.problems) > 0 {
		return nil, errors.Join(p.problems...)
	}
	return c, nil
}

func (p *parser) config(doc *yaml.Node) *Config {
	out := &Config{Concurrency: DefaultConcurrency}
	top := p.fields(resolve(doc), "the list", []string{"defaults", "clusters", "concurrency"})
	base := Cluster{Level: LevelFull, Timeout: DefaultTimeout, BytesMax: DefaultBytesMax}
	for _, f := range top { // whatever their order
		switch f.key {
		case "defaults":
			p.cluster(&base, resolve(f.value), defaultKeys)
		case "concurrency":
			out.Concurrency = int(p.number(f.value, f.key, 1, ConcurrencyMax))
		}
	}
	for _, f := range top {
		if f.key == "clusters" {
			out.Clusters = p.clusters(&base, resolve(f.value))
			return out
		}
	}
	if len(p.problems) == 0 {
		p.wrong(errors.New("no `clusters:`"))
	}
	return out
}

func (p *parser) clusters(base *Cluster, list *yaml.Node) []Cluster {
	if list.Kind != yaml.SequenceNode {
		p.wrong(at(list, "clusters: want a list"))
		return nil
	}
	if len(list.Content) == 0 || len(list.Content) > ClustersMax {
		p.wrong(at(list, "clusters: want 1 to %d, got %d", ClustersMax, len(list.Content)))
		return nil
	}
	var out []Cluster
	lines := map[string]int{}
	for _, item := range list.Content {
		if len(p.problems) == problemsMax {
			return nil
		}
		c := *base
		c.Line = item.Line
		p.cluster(&c, resolve(item), clusterKeys)
		switch first, seen := lines[strings.ToLower(c.Name)]; {
		case c.Name == "":
			p.wrong(at(item, "a cluster without a name"))
		case seen:
			p.wrong(at(item, "cluster %q is also in line %d; names differ by more than upper and lower case", c.Name, first))
		case len(c.Bootstrap) == 0 && c.Config == "" && !slices.ContainsFunc(c.X, namesBrokers):
			p.wrong(at(item, "cluster %q: no bootstrap address, and no config that might have one", c.Name))
		}
		lines[strings.ToLower(c.Name)] = item.Line
		out = append(out, c)
	}
	return out
}

func namesBrokers(x string) bool {
	key, _, _ := strings.Cut(x, "=")
	return key == "brokers" || key == "bootstrap" || key == "bootstrap.servers"
}

var (
	defaultKeys = []string{"config", "x", "heap", "version", "compact-headers", "labels", "level", "timeout", "max-bytes", "max-requests", "interval", "topics", "skip"}
	clusterKeys = append([]string{"name", "bootstrap", "metrics"}, defaultKeys...)
)

func (p *parser) cluster(c *Cluster, n *yaml.Node, keys []string) {
	for _, f := range p.fields(n, "a cluster", keys) {
		p.set(c, f)
	}
}

func (p *parser) set(c *Cluster, f field) {
	v := f.value
	switch f.key {
	case "name":
		c.Name = p.name(v)
	case "bootstrap":
		c.Bootstrap = p.list(v, f.key)
	case "metrics":
		c.Metrics = p.list(v, f.key)
	case "config":
		if c.Config = p.text(v, f.key); c.Config != "" && !filepath.IsAbs(c.Config) {
			c.Config = filepath.Join(p.dir, c.Config)
		}
	case "x":
		c.X = append(slices.Clone(c.X), p.options(v)...)
	case "heap":
		c.Given.HeapBytes = p.size(v, f.key, phrase.ParseHeap)
	case "version":
		c.Given.Version = p.text(v, f.key)
	case "compact-headers":
		c.Given.CompactHeaders = p.boolean(v, f.key)
	case "labels":
		c.Labels = p.labels(c.Labels, v)
	case "level":
		c.Level = int(p.number(v, f.key, LevelSweep, LevelFull))
	case "timeout":
		c.Timeout = p.duration(v, f.key, time.Second, 24*time.Hour)
	case "interval":
		c.Interval = p.duration(v, f.key, time.Second, time.Hour)
	case "max-bytes":
		c.BytesMax = p.size(v, f.key, phrase.ParseSize)
	case "max-requests":
		c.Requests = p.number(v, f.key, 1, 1<<31)
	case "topics":
		c.Topics = p.list(v, f.key)
	case "skip":
		c.Skip = p.list(v, f.key)
		for _, name := range c.Skip {
			if !slices.Contains(collect.SourceNames(), name) {
				p.wrong(at(v, "skip: no source is called %q: there are %s", name, strings.Join(collect.SourceNames(), ", ")))
			}
		}
	}
}

// field is one key of a mapping.
type field struct {
	key   string
	value *yaml.Node
}

// fields are the keys of a mapping. `<<` takes those of another, one step deep.
func (p *parser) fields(n *yaml.Node, what string, keys []string) []field {
	if n.Kind != yaml.MappingNode {
		p.wrong(at(n, "%s: want `key: value` lines", what))
		return nil
	}
	var merged, out []field
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, p.merge(value, keys)...)
		case seen[key.Value]:
			p.wrong(at(key, "%s is said twice", quoted(key.Value)))
		case key.Kind != yaml.ScalarNode || !slices.Contains(keys, key.Value):
			p.wrong(at(key, "unknown key %s: there are %s", quoted(key.Value), strings.Join(keys, ", ")))
		default:
			seen[key.Value] = true
			out = append(out, field{key.Value, value})
		}
	}
	for _, f := range merged {
		if !seen[f.key] {
			seen[f.key] = true
			out = append(out, f)
		}
	}
	return out
}

func (p *parser) merge(n *yaml.Node, keys []string) []field {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		p.wrong(at(n, "<<: want one mapping"))
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			p.wrong(at(n.Content[i], "<<: one step deep only"))
			return nil
		}
	}
	return p.fields(n, "<<", keys)
}

// resolve follows an alias, and takes a document's content.
func resolve(n *yaml.Node) *yaml.Node {
	for range 4 {
		switch {
		case n.Kind == yaml.AliasNode && n.Alias != nil:
			n = n.Alias
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		default:
			return n
		}
	}
	return n
}

func (p *parser) text(n *yaml.Node, key string) string {
	line := n
	if n = resolve(n); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.wrong(at(line, "%s: want one value", key))
		return ""
	}
	if strings.ContainsFunc(n.Value, unicode.IsControl) {
		p.wrong(at(line, "%s: control characters", key))
		return ""
	}
	return n.Value
}

func (p *parser) name(n *yaml.Node) string {
	name := p.text(n, "name")
	if len(name) > NameBytesMax || strings.TrimSpace(name) != name {
		p.wrong(at(n, "name %s: at most %d bytes, no spaces around it", quoted(name), NameBytesMax))
	}
	return name
}

func (p *parser) list(n *yaml.Node, key string) []string {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode {
		if s := p.text(n, key); s != "" {
			return []string{s}
		}
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > listMax {
		p.wrong(at(n, "%s: want a value or a list of at most %d", key, listMax))
		return nil
	}
	var out []string
	for _, item := range n.Content {
		if s := p.text(item, key); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// options are those of x: a list of KEY=VALUE, or a mapping.
func (p *parser) options(n *yaml.Node) []string {
	n = resolve(n)
	var out []string
	if n.Kind != yaml.MappingNode {
		for _, s := range p.list(n, "x") {
			if !strings.Contains(s, "=") {
				p.wrong(at(n, "x: want KEY=VALUE")) // what is there may be a password
				continue
			}
			out = append(out, p.expand(n, s))
		}
		return out
	}
	if len(n.Content) > 2*listMax {
		p.wrong(at(n, "x: at most %d keys", listMax))
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out = append(out, p.text(n.Content[i], "x")+"="+p.expand(n.Content[i+1], p.text(n.Content[i+1], "x")))
	}
	return out
}

// expand puts the environment's values where ${NAME} stands, so that a list can be kept without its secrets.
func (p *parser) expand(n *yaml.Node, s string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := p.env[name]
		if !closed || !known {
			p.wrong(at(n, "x: ${%s}: no such variable in the environment", printable(name)))
			return ""
		}
		out.WriteString(value)
		s = after
	}
}

func (p *parser) labels(base map[string]string, n *yaml.Node) map[string]string {
	n = resolve(n)
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*listMax {
		p.wrong(at(n, "labels: want at most %d `key: value` lines", listMax))
		return base
	}
	out := make(map[string]string, len(base)+len(n.Content)/2)
	for k, v := range base {
		out[k] = v
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[p.text(n.Content[i], "labels")] = p.text(n.Content[i+1], "labels")
	}
	return out
}

func (p *parser) number(n *yaml.Node, key string, least, most int64) int64 {
	v, err := strconv.ParseInt(p.text(n, key), 10, 64)
	if err != nil || v < least || v > most {
		p.wrong(at(n, "%s: want a number from %d to %d", key, least, most))
		return least
	}
	return v
}

func (p *parser) boolean(n *yaml.Node, key string) bool {
	switch p.text(n, key) {
	case "true":
		return true
	case "false":
		return false
	}
	p.wrong(at(n, "%s: want true or false", key))
	return false
}

func (p *parser) duration(n *yaml.Node, key string, least, most time.Duration) time.Duration {
	v, err := time.ParseDuration(p.text(n, key))
	if err != nil || v < least || v > most {
		p.wrong(at(n, "%s: want a time from %s to %s, as in 90s or 2m", key, least, most))
		return least
	}
	return v
}

func (p *parser) size(n *yaml.Node, key string, parse func(string) (int64, error)) int64 {
	v, err := parse(p.text(n, key))
	if err != nil {
		p.wrong(at(n, "%s: %w", key, err))
	}
	return v
}

func quoted(s string) string { return strconv.Quote(printable(s)) }

// printable is a short form of what may be anything.
func printable(s string) string {
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// readLimited reads all of r, which has at most most bytes.
func readLimited(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b, err
}
