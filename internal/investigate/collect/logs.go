package collect

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"ottla/internal/investigate/evidence"
)

// Limits of log files.
const (
	logFilesMax = 1_000
	logLineMax  = 1 << 20 // bytes; longer lines are passed over
	// logClientsMax is how many clients are counted at a time. When there are more, the half with the fewest requests is forgotten: who
	// leaks asks most.
	logClientsMax = 16 * evidence.AttributionsMax
	logNameMax    = 200 // bytes of a name that is kept
	logCheckLines = 4096
)

var sourceLogs = source{
	name:        evidence.SourceLogs,
	what:        "which clients asked for producer ids, by the request and authorizer logs that were given",
	permissions: "none of Kafka's: read access to the files",
	run:         runLogs,
}

func runLogs(ctx context.Context, s *step) error {
	files := s.given(s.o.LogFiles, logFilesMax, "no request or authorizer log was given", "%d files were not read")
	if len(files) == 0 {
		return nil
	}
	c := newLogCounter(newbornTopics(s.scan))
	for i := range s.scan.Topics {
		c.names[s.scan.Topics[i].ID] = s.scan.Topics[i].Name
	}
	for _, name := range files {
		lines, err := c.readFile(ctx, name)
		s.did()
		switch {
		case err != nil:
			s.trouble(err, "")
		case lines == 0:
			s.trouble(fmt.Errorf("%s: none of its lines is of a request or an authorizer", filepath.Base(name)), "")
		default:
			s.ok()
		}
		if ctx.Err() != nil {
			break
		}
	}
	if c.long > 0 {
		s.leftOut(fmt.Sprintf("%d lines longer than %d bytes", c.long, logLineMax))
	}
	found, left := c.attributions()
	if c.forgotten += left; c.forgotten > 0 {
		s.leftOut(fmt.Sprintf("%d clients with few requests", c.forgotten))
	}
	s.write(func(scan *evidence.Scan) { scan.Attributions = append(scan.Attributions, found...) })
	return nil
}

// newbornTopics are the topics in which newborn producers were seen, by producer id.
func newbornTopics(scan *evidence.Scan) map[int64]string {
	out := map[int64]string{}
	for i := range scan.Tails {
		for _, p := range scan.Tails[i].Producers {
			if p.Born {
				out[p.PID] = scan.Tails[i].Topic
			}
		}
	}
	return out
}

// client is who sent a request, as the log has it.
type client struct{ from, clientID, principal, address, software string }

// clientCount is what one client did.
type clientCount struct {
	inits, produces, matched int64
	topic                    string // of its producer ids in tails, else the only one it wrote to
	several                  bool   // it wrote to several
}

// logCounter counts requests by client, in bounded memory.
type logCounter struct {
	topics    map[int64]string  // of newborn producers
	names     map[string]string // of topics, by id
	counts    map[client]*clientCount
	spans     map[string]*span // by file
	long      int64
	forgotten int64
}

type span struct{ first, last time.Time }

func newLogCounter(topics map[int64]string) *logCounter {
	return &logCounter{topics: topics, names: map[string]string{}, counts: map[client]*clientCount{}, spans: map[string]*span{}}
}

// readFile reads a file, plain or gzip, and says how many of its lines were understood.
func (c *logCounter) readFile(ctx context.Context, name string) (lines int64, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // else a pipe would wait for its writer
	if err != nil {
		return 0, err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // files have none, and always answer
	defer stop()
	in := bufio.NewReaderSize(f, logLineMax)
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		defer z.Close()
		in = bufio.NewReaderSize(z, logLineMax)
	}
	lines, err = c.read(ctx, filepath.Base(name), in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%s: after %d lines: %w", filepath.Base(name), lines, err)
	}
	return lines, err
}

func (c *logCounter) read(ctx context.Context, name string, in *bufio.Reader) (understood int64, err error) {
	for n := 0; ; n++ {
		if n%logCheckLines == 0 && ctx.Err() != nil {
			return understood, context.Cause(ctx)
		}
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			c.long++
			for errors.Is(err, bufio.ErrBufferFull) && ctx.Err() == nil { // it may have no end
				_, err = in.ReadSlice('\n')
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				return understood, context.Cause(ctx)
			}
			line = nil
		}
		if r, ok := parseLogLine(line); ok {
			understood++
			c.count(name, r)
		}
		if errors.Is(err, io.EOF) {
			return understood, nil
		}
		if err != nil {
			return understood, err
		}
	}
}

func (c *logCounter) count(name string, r request) {
	who := client{"log " + name, short(family(r.clientID)), short(r.principal), short(r.address), short(r.software)}
	n := c.counts[who]
	if n == nil {
		if len(c.counts) >= logClientsMax {
			c.forget()
		}
		n = &clientCount{}
		c.counts[who] = n
	}
	topic := cmp.Or(r.topic, c.names[r.topicID])
	if r.init {
		n.inits++
		if seen, known := c.topics[r.pid]; known && r.pid >= 0 {
			n.matched++
			topic = seen
		}
	} else {
		n.produces++
	}
	switch {
	case topic == "" || n.several:
	case n.topic == "":
		n.topic = short(topic)
	case n.topic != short(topic):
		n.topic, n.several = "", true
	}
	if r.at.IsZero() {
		return
	}
	s := c.spans[who.from]
	if s == nil {
		s = &span{r.at, r.at}
		c.spans[who.from] = s
	}
	if r.at.Before(s.first) {
		s.first = r.at
	}
	if r.at.After(s.last) {
		s.last = r.at
	}
}

// forget drops the half of the clients that did least.
func (c *logCounter) forget() {
	for _, who := range c.byRequests()[logClientsMax/2:] {
		delete(c.counts, who)
		c.forgotten++
	}
}

// byRequests sorts clients by how many producer ids they asked for, then by produces.
func (c *logCounter) byRequests() []client {
	out := make([]client, 0, len(c.counts))
	for who := range c.counts {
		out = append(out, who)
	}
	slices.SortFunc(out, func(a, b client) int {
		x, y := c.counts[a], c.counts[b]
		return cmp.Or(cmp.Compare(y.matched, x.matched), cmp.Compare(y.inits, x.inits), cmp.Compare(y.produces, x.produces), cmp.Compare(a.from, b.from),
			cmp.Compare(a.clientID, b.clientID), cmp.Compare(a.principal, b.principal), cmp.Compare(a.address, b.address), cmp.Compare(a.software, b.software))
	})
	return out
}

// attributions are the clients that did most; left is how many more there are.
func (c *logCounter) attributions() (out []evidence.Attribution, left int64) {
	for _, who := range c.byRequests() {
		if len(out) >= evidence.AttributionsMax {
			left++
			continue
		}
		n := c.counts[who]
		a := evidence.Attribution{
			From: who.from, ClientID: who.clientID, Principal: who.principal, Address: who.address, Software: who.software,
			Topic: n.topic, Inits: n.inits, Produces: n.produces, Matched: n.matched,
		}
		if s := c.spans[who.from]; s != nil {
			a.Seconds = s.last.Sub(s.first).Seconds()
		}
		out = append(out, a)
	}
	return out, left
}

// short bounds what is kept of a name and makes a copy: a line is far longer.
func short(s string) string { return printable([]byte(s), logNameMax) }
