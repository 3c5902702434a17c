package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
)

// subject is whom a check is about: group is the section of the report card.
type subject struct {
	Group   string `json:"group"`
	Client  string `json:"client"`
	Version string `json:"version"`
	Area    string `json:"area,omitempty"`   // what many similar checks are about, for the report card
	Remark  string `json:"remark,omitempty"` // what the reader of the report card should know of the client
}

// result is a line of the results file, which report/ makes the report card of.
type result struct {
	subject
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Skip bool   `json:"skip,omitempty"` // neither passed nor failed: Why says why
	Why  string `json:"why"`
}

const whyBytesMax = 1000

type subjectKey struct{}

// about makes the checks under ctx count for whom they are about.
func about(ctx context.Context, who subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, who)
}

// subjectOf tells whom a check is about: what ctx says, or else what its name begins with, where that is a client or a
// tool; "GROUP: tool" is about the tool.
func (s *suite) subjectOf(ctx context.Context, check string) subject {
	if who, ok := ctx.Value(subjectKey{}).(subject); ok {
		return who
	}
	name := check
	if _, rest, found := strings.Cut(name, ": "); found {
		name = rest
	}
	first, rest, _ := strings.Cut(name, " ")
	first = strings.TrimSuffix(first, ",")
	switch {
	case strings.HasPrefix(first, "kafka-"):
		return subject{Group: "tools", Client: first, Version: s.versions["java"]}
	case s.versions[first] != "":
		return subject{Group: "clients", Client: inProcess[first], Version: s.versions[first], Area: areaOf(rest)}
	}
	return subject{Group: "broker", Client: "suite"}
}

// inProcess are the clients that the first part plays without a driver, by the names of their drivers.
var inProcess = map[string]string{"java": "java-4.3", "kcat": "kcat", "franz-go": "franz-go"}

// areaOf names what many similar checks are about.
func areaOf(what string) string {
	switch {
	case strings.HasPrefix(what, "reads what"), strings.Contains(what, "produces to "):
		return "every codec, produced and read by every other, record by record"
	case strings.HasPrefix(what, "reads crash-"):
		return "logs written while the broker was killed"
	}
	return ""
}

// clientVersions are those of the clients that need no driver.
func clientVersions(cache string) map[string]string {
	out := map[string]string{"java": "", "kcat": "", "franz-go": ""}
	if jars, err := filepath.Glob(filepath.Join(cache, "libs", "kafka-clients-*.jar")); err == nil && len(jars) > 0 {
		out["java"] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(jars[0]), "kafka-clients-"), ".jar")
	}
	if text, err := exec.Command("kcat", "-V").Output(); err == nil {
		if m := regexp.MustCompile(`Version (\S+) .*librdkafka (\S+)`).FindSubmatch(text); m != nil {
			out["kcat"] = fmt.Sprintf("%s, librdkafka %s", m[1], m[2])
		}
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, d := range build.Deps {
			if d.Path == "github.com/twmb/franz-go" {
				out["franz-go"] = d.Version
			}
		}
	}
	return out
}

// recorder appends results to a file; other programs append to it too.
type recorder struct {
	mu   sync.Mutex
	file *os.File // nil: nobody wants them
}

func openRecorder(name string) (*recorder, error) {
	if name == "" {
		return &recorder{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &recorder{file: f}, err
}

func (r *recorder) add(res result) {
	if r.file == nil {
		return
	}
	res.Why = res.Why[:min(len(res.Why), whyBytesMax)]
	line, err := json.Marshal(res)
	if err == nil {
		r.mu.Lock()
		_, err = r.file.Write(append(line, '\n'))
		r.mu.Unlock()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat: results:", err)
	}
}
