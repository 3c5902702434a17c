package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"ottla/internal/cli"
	"ottla/internal/disk"
	"ottla/internal/metrics"
)

// Metrics of other programs, by whose documentation and source they are called so.
var foreign = []string{
	"jvm_memory_max_bytes", "jvm_memory_bytes_max", "jvm_memory_pool_collection_used_bytes", // jmx_exporter
	"vectorized_kafka_handler_requests_completed_total", "vectorized_cluster_producer_state_manager_evicted_producers",
	"vectorized_cluster_producer_state_manager_producer_manager_total_active_producers", // Redpanda /metrics
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: %v %v", pattern, out, err)
	}
	return out
}

// known is every series that an expression may name.
func known(t *testing.T) map[string]bool {
	out := map[string]bool{}
	for _, name := range foreign {
		out[name] = true
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		metrics.New().Registry().Describe(descs)
		close(descs)
	}()
	for d := range descs {
		out[regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]] = true
	}
	for _, m := range regexp.MustCompile(`"(ottla_investigate_\w+)"`).FindAllStringSubmatch(read(t, "../internal/investigate/watch/metrics.go"), -1) {
		out[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^    name: (\S+)$`).FindAllStringSubmatch(read(t, "prometheus/jmx_exporter.yml"), -1) {
		out[m[1]] = true
	}
	for _, path := range files(t, "prometheus/*.rules.yml") {
		for _, m := range regexp.MustCompile(`- record: (\S+)`).FindAllStringSubmatch(read(t, path), -1) {
			out[m[1]] = true
		}
	}
	return out
}

// series are the names in an expression that are series: what is in braces, in parentheses after by and the like, in strings,
// and what is called, is none.
func series(expr string) []string {
	for _, not := range []string{`\{[^}]*\}`, `"[^"]*"`, `\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`, `\b[a-z_]+\s*\(`, `\[[^\]]*\]`, `\boffset\s+\w+`, `\b\d[\w.]*\b`} {
		expr = regexp.MustCompile(not).ReplaceAllString(expr, " ")
	}
	var out []string
	for _, word := range regexp.MustCompile(`[A-Za-z_][\w:]*`).FindAllString(expr, -1) {
		if !slices.Contains([]string{"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "group_left", "group_right"}, word) {
			out = append(out, word)
		}
	}
	return out
}

func TestEverySeriesExists(t *testing.T) {
	exist, found := known(t), 0
	check := func(path, expr string) {
		for _, name := range series(expr) {
			found++
			if !exist[name] {
				t.Errorf("%s: there is no series %s (in %s)", path, name, expr)
			}
		}
	}
	for _, path := range files(t, "prometheus/*.rules.yml") {
		for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(read(t, path), -1) {
			check(path, m[1])
		}
	}
	for _, path := range files(t, "grafana/*.json") {
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal([]byte(read(t, path)), &dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, p := range dashboard.Panels {
			for _, target := range p.Targets {
				check(path+": "+p.Title, target.Expr)
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d series were found: the test reads too little", found)
	}
}

func TestSeriesOfAnExpression(t *testing.T) {
	got := series(`sum without (shard) (rate(a:b_c{x="y", z=~"w.*"}[15m])) / on (cluster) group_left () (d_e offset 1w > 0) > 7 * 86400 and up == 1`)
	if want := []string{"a:b_c", "d_e", "up"}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// Every alert is tested to fire, and to keep quiet; its runbook exists.
func TestEveryAlertIsTested(t *testing.T) {
	fires := regexp.MustCompile(`alertname: (\w+)\n\s+exp_alerts:\s*\n\s+- exp_labels`)
	quiet := regexp.MustCompile(`alertname: (\w+),? *\n?\s*exp_alerts: \[\]`)
	count := func(re *regexp.Regexp, text, name string) (n int) {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			if m[1] == name {
				n++
			}
		}
		return n
	}
	var tests string
	for _, path := range files(t, "prometheus/tests/*.test.yml") {
		tests += read(t, path)
	}
	for _, path := range files(t, "prometheus/*.rules.yml") {
		rules := read(t, path)
		for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
			if count(fires, tests, m[1]) == 0 {
				t.Errorf("%s: no test in which %s fires", path, m[1])
			}
			if count(quiet, tests, m[1]) == 0 {
				t.Errorf("%s: no test in which %s is silent", path, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`runbook: (\S+)`).FindAllStringSubmatch(rules, -1) {
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

// command is a call of ottla in text: up to what ends a shell's word list.
var command = regexp.MustCompile("(?m)(?:^|[ `\"])(?:ottla|\"\\$ottla\") (investigate|autopsy|storm)((?: [^\\s`;|&()#>]+)*)")

// Every command line of ottla in what is shipped is one that this ottla understands: with --help behind it, it does nothing.
func TestCommandsExist(t *testing.T) {
	var lines [][]string
	paths := slices.Concat(files(t, "*/*.yml"), files(t, "*/*.sh"), files(t, "../docs/runbooks/*.md"), files(t, "../internal/investigate/explain/pages/*.md"))
	for _, path := range paths {
		text := strings.ReplaceAll(read(t, path), "\\\n", " ")
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			lines = append(lines, append([]string{path, m[1]}, strings.Fields(m[2])...))
		}
		for _, m := range regexp.MustCompile(`(?m)^ +args:\n((?: +- .*\n)+)`).FindAllStringSubmatch(text, -1) {
			line := []string{path}
			for _, arg := range regexp.MustCompile(`(?m)^ +- (.*)$`).FindAllStringSubmatch(m[1], -1) {
				line = append(line, arg[1])
			}
			lines = append(lines, line)
		}
	}
	if len(lines) < 20 {
		t.Errorf("only %d command lines were found", len(lines))
	}
	for _, line := range lines {
		args := words(line[1:])
		var out bytes.Buffer
		if code := cli.Run(context.Background(), cli.Env{Args: append(args, "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, FS: disk.OS()}); code != 0 {
			t.Errorf("%s: ottla %s: exit code %d: %.300s", line[0], strings.Join(args, " "), code, out.String())
		}
	}
}

// words puts something plain where a shell would put a value; prose behind a command ends it.
func words(line []string) []string {
	out := []string{line[0]}
	for i, w := range line[1:] {
		w = strings.Trim(w, `"',.:`)
		flag := strings.HasPrefix(w, "-")
		if strings.Contains(w, "$") || strings.Contains(w, "{") {
			w = "5s"
			if i > 0 && line[i] == "--heap" {
				w = "6g"
			}
		}
		if !flag && !strings.HasPrefix(line[i], "-") && !slices.Contains([]string{"watch", "explain"}, w) && regexp.MustCompile(`^[a-z]+$`).MatchString(w) {
			break
		}
		if w != "" {
			out = append(out, w)
		}
	}
	return out
}
