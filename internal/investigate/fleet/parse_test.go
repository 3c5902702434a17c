package fleet

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodList = `
defaults: &base
  timeout: 90s
  max-bytes: 32MiB
  x: {user: reader, pass: "${SECRET}", sasl.mechanism: SCRAM-SHA-512}
  labels: {site: north}
concurrency: 3
clusters:
  - name: payments
    bootstrap: [kafka1.example.com:9092, kafka2.example.com]
    heap: 6g
    version: 3.6.2
    labels: {team: payments}
  - <<: {level: 0, interval: 5s}
    name: logs
    config: logs.properties
    timeout: 10s
    x: [sasl.mechanism=PLAIN]
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(goodList), "/lists", []string{"SECRET=a=b"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Concurrency != 3 || len(c.Clusters) != 2 {
		t.Fatalf("got %+v", c)
	}
	p, l := &c.Clusters[0], &c.Clusters[1]
	if p.Name != "payments" || len(p.Bootstrap) != 2 || p.Given.HeapBytes != 6<<30 || p.Given.Version != "3.6.2" || p.Level != LevelFull || p.Line != 9 {
		t.Errorf("payments: %+v", p)
	}
	if p.Timeout != 90*time.Second || p.BytesMax != 32<<20 || strings.Join(p.X, " ") != "user=reader pass=a=b sasl.mechanism=SCRAM-SHA-512" {
		t.Errorf("the defaults of payments: %+v", p)
	}
	if p.Labels["site"] != "north" || p.Labels["team"] != "payments" || len(l.Labels) != 1 {
		t.Errorf("labels: %v, %v", p.Labels, l.Labels)
	}
	if l.Config != filepath.Join("/lists", "logs.properties") || l.Timeout != 10*time.Second || l.Level != LevelSweep || l.Interval != 5*time.Second || len(l.X) != 4 {
		t.Errorf("logs: %+v", l)
	}
	s, err := p.Settings()
	if err != nil || strings.Join(s.Brokers, " ") != "kafka1.example.com:9092 kafka2.example.com:9092" {
		t.Errorf("brokers %v, %v", s, err)
	}
	o, err := p.Options(LevelSweep, "ottla test")
	if err != nil || !o.CounterOnly || o.TimeMax != 90*time.Second || o.BytesMax != 32<<20 {
		t.Errorf("options %+v, %v", o, err)
	}
}

func TestParseRefuses(t *testing.T) {
	one := func(rest string) string { return "clusters:\n  - name: a\n    bootstrap: b.example.com:9092\n" + rest }
	for _, test := range []struct{ list, want string }{
		{"", "the list is empty"},
		{"clusters: [", "line "},
		{"[]", "line 1: the list: want `key: value` lines"},
		{"concurrency: 3", "no `clusters:`"},
		{"clusters: {}", "line 1: clusters: want a list"},
		{"clusters: []", "want 1 to 20000, got 0"},
		{"cluster: []", `line 1: unknown key "cluster"`},
		{"clusters:\n  - bootstrap: b:1", "line 2: a cluster without a name"},
		{"clusters:\n  - name: a", `cluster "a": no bootstrap address`},
		{one("    heap: 6x"), "line 4: heap: a size is a number"},
		{one("    heap: 0"), "line 4: heap"},
		{one("    heep: 6g"), `line 4: unknown key "heep"`},
		{one("    level: 2"), "line 4: level: want a number from 0 to 1"},
		{one("    timeout: 90"), "line 4: timeout: want a time"},
		{one("    timeout: 90s\n    timeout: 91s"), `line 5: "timeout" is said twice`},
		{one("    x: [secretvalue]"), "line 4: x: want KEY=VALUE"},
		{one("    x: ['pass=${NOT_THERE}']"), "line 4: x: ${NOT_THERE}: no such variable"},
		{one("    skip: [sun]"), `line 4: skip: no source is called "sun"`},
		{one("    labels: [a]"), "line 4: labels"},
		{one("    compact-headers: perhaps"), "line 4: compact-headers"},
		{one("    config: [a, b]"), "line 4: config: want one value"},
		{one("  - name: A\n    bootstrap: c:1"), `line 4: cluster "A" is also in line 2`},
		{one("    <<: [{level: 1}]"), "line 4: <<: want one mapping"},
		{one("    <<: &x {<<: *x}"), "line 4"},
		{one("---\nclusters: []"), "more than one YAML document"},
		{"concurrency: 1000\n" + one(""), "line 1: concurrency: want a number from 1 to 256"},
		{"defaults: {name: a}\n" + one(""), `line 1: unknown key "name"`},
		{"clusters:\n  - {name: \"a\\u0007b\", bootstrap: b}", "control characters"},
		{"clusters:\n  - {name: " + strings.Repeat("n", 81) + ", bootstrap: b}", "at most 80 bytes"},
	} {
		_, err := Parse([]byte(test.list), ".", nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.list, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secretvalue") {
			t.Errorf("%q: the error shows what may be a secret: %v", test.list, err)
		}
	}
}

func TestParseTellsSeveralMistakesAtOnce(t *testing.T) {
	_, err := Parse([]byte("clusters:\n"+strings.Repeat("  - {nome: a}\n", 1000)), ".", nil)
	if n := strings.Count(err.Error(), "\n") + 1; n != problemsMax {
		t.Errorf("%d mistakes told, want %d", n, problemsMax)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodList))
	f.Add([]byte("clusters: &a [*a]"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nclusters: [*b,*b]"))
	f.Add([]byte("clusters:\n - {name: a, bootstrap: b, <<: *x}"))
	f.Add([]byte("defaults: &d {x: {a: b}}\nclusters: [{<<: *d, name: a, bootstrap: b}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse(text, "dir", []string{"A=b"})
		if err != nil {
			return
		}
		if len(c.Clusters) == 0 || c.Concurrency < 1 || c.Concurrency > ConcurrencyMax {
			t.Fatalf("accepted: %+v", c)
		}
		for _, one := range c.Clusters {
			if one.Name == "" || len(FileName(one.Name)) > 255 || one.Timeout <= 0 || one.BytesMax <= 0 || one.Level < LevelSweep || one.Level > LevelFull {
				t.Fatalf("accepted: %+v", one)
			}
		}
	})
}

func TestHeapOfNoBroker(t *testing.T) {
	if _, err := Parse([]byte("clusters:\n- {name: a, bootstrap: b, heap: 6}\n"), ".", nil); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "6g?") {
		t.Errorf("got %v", err)
	}
}
