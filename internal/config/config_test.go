package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

// TestLoad runs testdata/load: each "load" block gives the layers, one item a line, and shows what
// differs from the defaults, or the error.
func TestLoad(t *testing.T) {
	datadriven.RunTest(t, "testdata/load", func(t *testing.T, d *datadriven.TestData) string {
		in := Input{FileName: "server.properties"}
		for line := range strings.SplitSeq(d.Input, "\n") {
			layer, rest, _ := strings.Cut(line, " ")
			switch layer {
			case "file":
				in.File = append(in.File, rest+"\n"...)
			case "env":
				in.Environ = append(in.Environ, rest)
			case "set":
				in.Set = append(in.Set, rest)
			case "flag":
				name, value, _ := strings.Cut(rest, "=")
				if in.Flags == nil {
					in.Flags = map[string]string{}
				}
				in.Flags[name] = value
			case "":
			default:
				d.Fatalf(t, "unknown layer %q", layer)
			}
		}
		c, err := Load(in)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		return describe(c)
	})
}

func describe(c *Config) string {
	var b strings.Builder
	for _, v := range c.Values() {
		if v.Origin != FromDefault {
			fmt.Fprintf(&b, "%s=%s (%s)\n", v.Key.Name, v.Text, v.Origin)
		}
	}
	for _, l := range c.Listeners() {
		fmt.Fprintf(&b, "listen %s %s loopback=%t\n", l.Name, l.Addr(), l.Loopback())
	}
	for _, l := range c.Advertised() {
		fmt.Fprintf(&b, "advertise %s %s\n", l.Name, l.Addr())
	}
	if len(c.NotApplicable()) > 0 {
		fmt.Fprintf(&b, "not applicable: %s\n", strings.Join(c.NotApplicable(), " "))
	}
	for _, note := range c.Adjusted() {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	return b.String()
}

func TestTableIsSound(t *testing.T) {
	kafka := map[string]bool{}
	eachKafkaKey(func(name string) bool { kafka[name] = true; return false })
	if len(kafka) < 350 {
		t.Fatalf("only %d keys of Kafka's are known: the embedded list is damaged", len(kafka))
	}
	environment := map[string]string{}
	for i := range table {
		k := &table[i]
		if k.Default != "" {
			canonical, note, err := k.check(k.Default)
			if err != nil || note != "" || canonical != k.Default {
				t.Errorf("%s: default %q becomes %q, note %q, error %v", k.Name, k.Default, canonical, note, err)
			}
		} else if !k.Nullable {
			t.Errorf("%s has no default and is not nullable", k.Name)
		}
		if k.Kafka != kafka[k.Name] {
			t.Errorf("%s: the table says Kafka=%t, Kafka's own list says %t", k.Name, k.Kafka, kafka[k.Name])
		}
		if k.Doc == "" || (k.KafkaDefault == "") != (k.Why == "") {
			t.Errorf("%s: documentation is missing", k.Name)
		}
		for _, alias := range k.Aliases {
			if !kafka[alias] {
				t.Errorf("%s: alias %s is not a key of Kafka's", k.Name, alias)
			}
		}
		if other, taken := environment[k.Env()]; taken {
			t.Errorf("%s and %s have the same environment variable", k.Name, other)
		}
		environment[k.Env()] = k.Name
		if injectedByKubernetes(k.Env()) || k.Env() == EnvConfigFile {
			t.Errorf("%s: its environment variable means something else", k.Name)
		}
	}
}

// TestRangeEnds takes each integer key to both ends of its range and one step past them.
func TestRangeEnds(t *testing.T) {
	for _, k := range Keys() {
		if k.Type != Int && k.Type != Long || k.OneBroker != "" {
			continue
		}
		low, high := k.bounds()
		for _, n := range []int64{low, high} {
			if _, _, err := k.check(fmt.Sprint(n)); err != nil {
				t.Errorf("%s=%d: %v", k.Name, n, err)
			}
		}
		for _, text := range []string{fmt.Sprint(low - 1), fmt.Sprint(uint64(high) + 1), "1.5", "1k", "0x10", "99999999999999999999"} {
			_, _, err := k.check(text)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), k.Name) || !strings.Contains(err.Error(), fmt.Sprint(low)) {
				t.Errorf("%s=%s: got %v, want an error that names key and range", k.Name, text, err)
			}
		}
	}
}

func TestDoubles(t *testing.T) {
	ratio, rate := byName["log.cleaner.min.cleanable.ratio"], byName["log.cleaner.io.max.bytes.per.second"]
	for _, x := range []struct {
		key  *Key
		text string
		ok   bool
	}{
		{ratio, "0", true}, {ratio, "1", true}, {ratio, "0.25", true}, {ratio, "1.01", false}, {ratio, "-0.1", false},
		{ratio, "NaN", false}, {ratio, "half", false}, {rate, "1e6", true}, {rate, "Inf", false}, {rate, "-1", false}, {rate, "1e400", false},
	} {
		got, _, err := x.key.check(x.text)
		if x.ok != (err == nil) || x.ok && got != x.text || !x.ok && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s=%s: %q, %v", x.key.Name, x.text, got, err)
		}
	}
	if got := Default().Float("log.cleaner.min.cleanable.ratio"); got != 0.5 {
		t.Errorf("got %v", got)
	}
	if got := Default().List("group.consumer.assignors"); len(got) != 2 || got[0] != "uniform" || got[1] != "range" {
		t.Errorf("got %v", got)
	}
}

func TestDocumentIsFresh(t *testing.T) {
	name := filepath.Join("..", "..", "docs", "configuration.md")
	want := Markdown()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go generate ./internal/config", name)
	}
}

func TestHelpNamesEveryKey(t *testing.T) {
	help := Help()
	for _, k := range Keys() {
		if !strings.Contains(help, "  "+k.Name) {
			t.Errorf("help does not mention %s", k.Name)
		}
	}
	for line := range strings.SplitSeq(help, "\n") {
		if strings.HasPrefix(line, "      ") && len(line) > helpWidth {
			t.Errorf("line too long: %q", line)
		}
	}
}

func TestUnknownKeyReadPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("reading a key that does not exist must panic")
		}
	}()
	Default().Text("no.such.key")
}

// FuzzLoad: no file and no value may make Load panic, and what it accepts must load again from its own output.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("num.partitions=3\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n"), "node.id=3")
	f.Add([]byte("a\\\n b\n! c\n# d\n\\u0041:x\n= y"), "log.dirs=a,b")
	f.Add([]byte(`listeners=PLAINTEXT://[::1]:0`), "http.listener=off")
	f.Fuzz(func(t *testing.T, file []byte, set string) {
		c, err := Load(Input{FileName: "f", File: file, Set: []string{set}})
		if err != nil {
			return
		}
		var again Input
		for _, v := range c.Values() {
			again.Set = append(again.Set, v.Key.Name+"="+v.Text)
		}
		second, err := Load(again)
		if err != nil {
			t.Fatalf("what was accepted does not load again: %v", err)
		}
		for _, v := range c.Values() {
			if got := second.Text(v.Key.Name); got != v.Text {
				t.Fatalf("%s: %q became %q", v.Key.Name, v.Text, got)
			}
		}
	})
}
