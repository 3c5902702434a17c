// Command compat is the black-box suite: it starts a broker as its users do and lets other people's clients and tools
// judge it. run.sh fetches what it needs and starts it. It knows the broker only by command line, port and data directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	suiteMax = 25 * time.Minute // then everything is killed
	slowMax  = 75 * time.Minute // if clients are compiled
	checkMax = 4 * time.Minute
)

// errSkip, wrapped, makes a check neither passed nor failed.
var errSkip = errors.New("skipped")

type options struct {
	cache, ottla, bootstrap, data string
	reference, keep, verbose      bool
	drivers, results              string
	slow                          bool
	only, clients, parts          *regexp.Regexp
}

// suite counts and prints; its checks may run at the same time.
type suite struct {
	options options
	results *recorder
	known   []string // lines of known-failures.txt
	// Versions of the clients that the suite plays itself, by name.
	versions map[string]string
	broker   *broker
	jvm      *jvm
	dir      string // for files of the suite itself
	started  time.Time

	mu struct {
		sync.Mutex
		passed, failed, skipped, known int
	}
}

// check runs f and tells whether it passed.
func (s *suite) check(ctx context.Context, name string, f func(ctx context.Context) error) bool {
	if s.options.only != nil && !s.options.only.MatchString(name) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, checkMax)
	defer cancel()
	start := time.Now()
	err := f(ctx)
	took := time.Since(start).Round(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.knownFailure(name)
	if err == nil && known != "" {
		err = fmt.Errorf("passes, though known-failures.txt says: %s", known)
		known = ""
	}
	res := result{subject: s.subjectOf(ctx, name), What: name, OK: err == nil, Skip: errors.Is(err, errSkip)}
	if err != nil {
		res.Why = strings.TrimPrefix(known+": "+err.Error(), ": ")
	}
	s.results.add(res)
	switch {
	case err != nil && known != "":
		s.mu.known++
		fmt.Printf("known %s: fails, for %s\n", name, known)
	case err == nil:
		s.mu.passed++
		fmt.Printf("ok    %-58s %8v\n", name, took)
	case errors.Is(err, errSkip):
		s.mu.skipped++
		fmt.Printf("skip  %s: %v\n", name, err)
	default:
		s.mu.failed++
		fmt.Printf("FAIL  %s (%v): %v\n", name, took, err)
	}
	return err == nil
}

// knownFailure is why this broker is known to fail a check; Apache Kafka is not.
func (s *suite) knownFailure(name string) string {
	if s.options.reference {
		return ""
	}
	for _, line := range s.known {
		pattern, why, _ := strings.Cut(line, ": ")
		if regexp.MustCompile(pattern).MatchString(name) {
			return why
		}
	}
	return ""
}

// path is a fresh file name in the suite's directory.
func (s *suite) path(name string) string { return filepath.Join(s.dir, name) }

func main() {
	// Children die with the thread that started them (see broker.go): this one stays.
	runtime.LockOSThread()
	os.Exit(run())
}

func run() int {
	var o options
	only := flag.String("run", "", "run only the checks whose name matches this `regexp`; many need the topics of others")
	clients := flag.String("clients", "", "play only the drivers whose client matches this `regexp`")
	parts := flag.String("parts", "", "run only the parts whose name matches this `regexp`: "+strings.Join(partNames(), ", "))
	flag.StringVar(&o.drivers, "drivers", "test/compat/clients", "directory of the drivers")
	flag.BoolVar(&o.slow, "slow", false, "play the drivers too whose installation takes minutes")
	flag.StringVar(&o.results, "results", "", "append the results to this `file`, in JSON lines")
	flag.StringVar(&o.cache, "cache", "test/compat/.cache", "where run.sh put jars and classes")
	flag.StringVar(&o.ottla, "ottla", "", "the broker's binary")
	flag.BoolVar(&o.reference, "reference", false, "test Apache Kafka instead")
	flag.StringVar(&o.bootstrap, "bootstrap", "", "test a broker that runs already, at HOST:PORT")
	flag.StringVar(&o.data, "data", "", "data directory of that broker")
	flag.BoolVar(&o.keep, "keep", false, "keep the data directory and the broker's log")
	flag.BoolVar(&o.verbose, "v", false, "print what the tools print")
	flag.Parse()
	for text, to := range map[*string]**regexp.Regexp{only: &o.only, clients: &o.clients, parts: &o.parts} {
		if *text != "" {
			*to = regexp.MustCompile(*text)
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	limit := suiteMax
	if o.slow {
		limit = slowMax
	}
	ctx, cancelLate := context.WithTimeout(ctx, limit)
	defer cancelLate()
	s, stop, err := setUp(ctx, o)
	defer stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		fmt.Println("0 passed, 1 failed")
		return 1
	}
	s.all(ctx)
	return s.summary()
}

// setUp starts broker and JVM. stop is never nil and undoes what was done.
func setUp(ctx context.Context, o options) (s *suite, stop func(), err error) {
	dir, err := os.MkdirTemp("", "ottla-compat-")
	if err != nil {
		return nil, func() {}, err
	}
	s = &suite{options: o, dir: dir, started: time.Now(), versions: clientVersions(o.cache),
		known: fileLines(filepath.Join(o.drivers, "..", "known-failures.txt"))}
	if s.results, err = openRecorder(o.results); err != nil {
		return s, func() {}, err
	}
	stop = func() {
		if s.jvm != nil {
			s.jvm.stop()
		}
		if s.broker != nil {
			s.broker.kill()
		}
		if o.keep {
			fmt.Println("kept:", dir)
			return
		}
		_ = os.RemoveAll(dir)
	}
	if s.jvm, err = startJVM(o.cache); err != nil {
		return s, stop, err
	}
	s.broker, err = newBroker(ctx, s)
	return s, stop, err
}

// part is a group of checks that needs no other.
type part struct {
	name string
	run  func(s *suite, ctx context.Context)
}

func parts() []part {
	return []part{
		{"base", (*suite).base},
		{"tools", (*suite).tools},
		{"world", (*suite).world},
		{"end", (*suite).end},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func (s *suite) all(ctx context.Context) {
	for _, p := range parts() {
		if s.options.parts == nil || s.options.parts.MatchString(p.name) {
			p.run(s, ctx)
		}
	}
}

// base is what a producer, an assigned consumer and the tools of topics need.
func (s *suite) base(ctx context.Context) {
	s.matrix(ctx)
	s.brokerSide(ctx)
	s.topicTools(ctx)
	s.dataTools(ctx)
	s.habits(ctx)
	s.performance(ctx)
	s.crash(ctx)
}

// tools are those of groups and of the cluster.
func (s *suite) tools(ctx context.Context) {
	s.groupTools(ctx)
	s.clusterTools(ctx)
}

// end stops the broker and looks at what it leaves: logs that were recovered, too.
func (s *suite) end(ctx context.Context) {
	s.check(ctx, "broker stops on SIGTERM", func(context.Context) error { return s.broker.terminate() })
	s.dumpLog(ctx)
}

func (s *suite) summary() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed > 0 {
		s.broker.printLog()
	}
	fmt.Printf("%d skipped, %d fail as is known, %v, broker: %s\n", s.mu.skipped, s.mu.known, time.Since(s.started).Round(time.Second), s.broker.name)
	fmt.Printf("%d passed, %d failed\n", s.mu.passed, s.mu.failed)
	if s.mu.failed > 0 || s.mu.passed == 0 {
		return 1
	}
	return 0
}
