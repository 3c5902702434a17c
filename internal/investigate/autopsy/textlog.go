package autopsy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ottla/internal/investigate/phrase"
)

// lineBytesMax is how much of a line is looked at, in bytes.
const lineBytesMax = 16 << 10

// text reads a text file: histograms, logs of a broker or controller, logs of the garbage collector, in any order.
func (r *reader) text(f *file, walked bool) error {
	h, err := f.open()
	if err != nil {
		r.problem(f.path, "%v", err)
		return nil
	}
	log, hists, err := readText(f.path, h, f.mod, func() error { return r.ctx.Err() })
	_ = h.Close() // read only
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if err != nil {
		r.problem(f.path, "%v", err)
	}
	for _, one := range hists {
		if one.Cut {
			r.problem(f.path, "histogram %d has no Total line: it is cut, its counts are lower bounds", one.Index+1)
		}
	}
	r.out.Histograms = append(r.out.Histograms, hists[:min(len(hists), HistogramsMax-len(r.out.Histograms))]...)
	if log.told() {
		r.bound(log)
		r.out.Logs = append(r.out.Logs, *log)
	} else if len(hists) == 0 && !walked {
		r.problem(f.path, "a text in which nothing was recognised: no histogram, no line of a broker or garbage collector")
	}
	return nil
}

// bound keeps the points of all logs together within PointsMax: of a log that comes later, the first and the last of each
// partition, and when there is no room for those, none.
func (r *reader) bound(log *TextLog) {
	kept := log.Partitions[:0]
	for _, p := range log.Partitions {
		n := int64(len(p.Points))
		if r.points+n > PointsMax && n > 2 {
			p.Points = []Point{p.Points[0], p.Points[n-1]}
			log.LeftOut += n - 2
			n = 2
		}
		if r.points+n > 2*PointsMax {
			log.LeftOut += n
			continue
		}
		r.points += n
		kept = append(kept, p)
	}
	if log.Partitions = kept; len(kept) == 0 {
		log.Partitions = nil
	}
	if log.LeftOut > 0 {
		r.problem(log.Path, "%d lines about snapshots and blocks of ids were left out: there are too many", log.LeftOut)
	}
}

// told says whether the log is one of a broker or its virtual machine.
func (t *TextLog) told() bool {
	return !t.First.IsZero() || t.Version != "" || t.OutOfMem > 0 || len(t.Partitions) > 0 || len(t.Blocks) > 0 || t.FullPauses > 0 || t.HeapMax > 0 || len(t.Configs) > 0
}

// textParser takes the lines of one text.
type textParser struct {
	log   *TextLog
	hist  *histogramParser
	byTP  map[string]*LoggedPartition
	now   time.Time // of the last line that had a time
	total int
}

func readText(path string, in io.Reader, mod time.Time, alive func() error) (*TextLog, []Histogram, error) {
	p := &textParser{log: &TextLog{Path: path}, hist: &histogramParser{path: path, fallback: mod}, byTP: map[string]*LoggedPartition{}}
	br := bufio.NewReaderSize(in, lineBytesMax)
	if bom, _ := br.Peek(2); bytes.Equal(bom, []byte{0xff, 0xfe}) || bytes.Equal(bom, []byte{0xfe, 0xff}) {
		br = bufio.NewReaderSize(narrow{br}, lineBytesMax)
	}
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			p.line(bytes.TrimRight(line, "\r\n"))
		}
		if p.log.Lines++; p.log.Lines&0xffff == 0 && alive() != nil {
			return p.log, nil, alive()
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of an overlong line
			if _, err = br.ReadSlice('\n'); alive() != nil {
				return p.log, nil, alive()
			}
		}
		if err != nil {
			p.hist.end()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return p.log, p.hist.out, err
		}
	}
}

// narrow takes the zero bytes and the byte order mark out of UTF-16 that is ASCII in truth.
type narrow struct{ r io.Reader }

func (n narrow) Read(b []byte) (int, error) {
	for {
		got, err := n.r.Read(b)
		kept := 0
		for _, c := range b[:got] {
			if c != 0 && c != 0xff && c != 0xfe {
				b[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

func (p *textParser) line(b []byte) {
	if p.hist.line(b) {
		return
	}
	if t, ok := lineTime(b); ok {
		if p.now = t; p.log.First.IsZero() && bytes.ContainsAny(b, "]I W E") && len(b) > dateOnlyMax {
			p.log.First = t
		}
		if len(b) > dateOnlyMax {
			p.log.Last = t
		} else {
			p.hist.printed = t
		}
	}
	p.broker(b)
	p.machine(b)
}

// dateOnlyMax: a line that begins with a date and is not longer is nothing but a date, in bytes.
const dateOnlyMax = 40

var dateLayouts = []string{
	"2006-01-02 15:04:05,000", "2006-01-02T15:04:05,000", "2006-01-02 15:04:05.000", "2006-01-02T15:04:05.000Z0700", "2006-01-02T15:04:05.000-0700",
	time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.UnixDate, time.RFC1123Z, time.RFC1123, "Mon Jan _2 03:04:05 PM MST 2006",
}

// lineTime reads the time that a line begins with, in brackets or not.
func lineTime(b []byte) (time.Time, bool) {
	b = bytes.TrimLeft(b, "[ ")
	if len(b) < 19 || b[0] > '9' && (len(b) > dateOnlyMax || !weekday(b)) {
		return time.Time{}, false
	}
	s := string(b[:min(len(b), dateOnlyMax)])
	if b[0] <= '9' {
		if end := strings.IndexByte(s, ']'); end > 0 {
			s = s[:end]
		}
		if date, rest, found := strings.Cut(s, " "); found && len(date) == 10 {
			clock, _, _ := strings.Cut(rest, " ")
			s = date + " " + clock
		} else {
			s = date
		}
	}
	s = strings.TrimSpace(s)
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func weekday(b []byte) bool {
	return strings.Contains("Mon Tue Wed Thu Fri Sat Sun", string(b[:3]))
}

var (
	wroteSnapshot = regexp.MustCompile(`ProducerStateManager partition=(.+?)\].*Wrote producer snapshot at offset \d+ with (\d+) producer ids`)
	number        = `(?:=|:\s*)(\d+)`
	blockNext     = regexp.MustCompile(`nextProducerId` + number)
	blockFirst    = regexp.MustCompile(`(?:firstProducerId|producerIdStart|blockStartProducerId)` + number)
	blockSize     = regexp.MustCompile(`(?:\bsize|producerIdLen)` + number)
	blockEnd      = regexp.MustCompile(`blockEndProducerId` + number)
	blockBroker   = regexp.MustCompile(`(?:assignedBrokerId|brokerId)` + number)
	kafkaVersion  = regexp.MustCompile(`Kafka version ?: ?(\d+\.\d+[0-9A-Za-z.\-]*)`)
	memoryMax     = regexp.MustCompile(`environment:os\.memory\.max=(\d+)MB`)
	flagXmx       = regexp.MustCompile(`-Xmx(\d+[kKmMgG]?)\b`)
	maxHeapSize   = regexp.MustCompile(`MaxHeapSize=(\d+)`)
	gcHeapMax     = regexp.MustCompile(`(?:Heap Max Capacity|Max Capacity): (\d+)([KMG])`)
	gcFull        = regexp.MustCompile(`(?:Pause Full|Full GC)[^\d]*(?:\([^)]*\) *)*.*?(\d+)([KMG])->(\d+)([KMG])\((\d+)([KMG])\)`)
	configLine    = regexp.MustCompile(`^\s*([a-z][a-z.]+[a-z]) = (\S+)`)
)

// keptConfigs are the settings that a broker prints when it starts and that the rules use.
var keptConfigs = map[string]bool{
	"producer.id.expiration.ms": true, "transactional.id.expiration.ms": true, "broker.id": true, "node.id": true, "log.retention.ms": true,
	"log.retention.hours": true, "inter.broker.protocol.version": true, "producer.id.expiration.check.interval.ms": true,
}

// broker reads what brokers and controllers log (ProducerStateManager, ProducerIdManager, ProducerIdControlManager,
// AppInfoParser, KafkaConfig).
func (p *textParser) broker(b []byte) {
	switch {
	case bytes.Contains(b, []byte("Wrote producer snapshot at offset")):
		if m := wroteSnapshot.FindSubmatch(b); m != nil {
			p.point(string(m[1]), atoi(m[2]))
		}
	case bytes.Contains(b, []byte("Replaying ProducerIdsRecord")):
		if next, ok := find(blockNext, b); ok {
			p.block(b, next)
		}
	case bytes.Contains(b, []byte("Acquired new producerId block")), bytes.Contains(b, []byte("Got next producer ID block")):
		p.acquired(b)
	case bytes.Contains(b, []byte("Kafka version")):
		if m := kafkaVersion.FindSubmatch(b); m != nil {
			p.log.Version = string(m[1])
			p.log.Starts++
		}
	case bytes.Contains(b, []byte("environment:os.memory.max=")):
		if mb, ok := find(memoryMax, b); ok {
			p.log.HeapMax = mb << 20
		}
	case len(b) > 2 && (b[0] == '\t' || b[0] == ' ') && bytes.Contains(b, []byte(" = ")):
		if m := configLine.FindSubmatch(b); m != nil && keptConfigs[string(m[1])] {
			if p.log.Configs == nil {
				p.log.Configs = map[string]string{}
			}
			p.log.Configs[string(m[1])] = string(m[2])
		}
	}
}

func (p *textParser) acquired(b []byte) {
	if end, ok := find(blockEnd, b); ok {
		p.block(b, end+1)
		return
	}
	first, ok1 := find(blockFirst, b)
	size, ok2 := find(blockSize, b)
	if ok1 && ok2 && first < 1<<62 && size < 1<<31 {
		p.block(b, first+size)
	}
}

func (p *textParser) block(b []byte, next int64) {
	if len(p.log.Blocks) >= BlocksMax || p.now.IsZero() {
		p.log.LeftOut++
		return
	}
	broker, ok := find(blockBroker, b)
	if !ok {
		broker = -1
	}
	p.log.Blocks = append(p.log.Blocks, Block{At: p.now, Broker: int32(min(broker, 1<<31-1)), Next: next})
}

func (p *textParser) point(name string, entries int64) {
	tp := p.byTP[name]
	if tp == nil && len(name) > topicNameMax+len("-2147483647") {
		return
	}
	if p.total >= PointsMax {
		if p.log.LeftOut++; tp != nil { // the newest is the number of entries
			tp.Points[len(tp.Points)-1] = Point{p.now, entries}
		}
		return
	}
	if tp == nil {
		tp = &LoggedPartition{Name: name}
		p.byTP[name] = tp
		p.log.Partitions = append(p.log.Partitions, tp)
	}
	tp.Points = append(tp.Points, Point{p.now, entries})
	p.total++
}

// machine reads what the virtual machine says of its memory.
func (p *textParser) machine(b []byte) {
	if i := bytes.Index(b, []byte("OutOfMemoryError")); i >= 0 {
		p.log.OutOfMem++
		if p.log.OutFirst.IsZero() {
			p.log.OutFirst = p.now
		}
		if kind := string(bytes.TrimLeft(b[i+len("OutOfMemoryError"):min(len(b), i+80)], ": ")); p.log.OutKind == "" {
			p.log.OutKind = kind
		}
	}
	switch {
	case bytes.Contains(b, []byte("Pause Full")), bytes.Contains(b, []byte("Full GC")):
		if m := gcFull.FindSubmatch(b); m != nil {
			p.log.FullPauses++
			p.log.LiveBytes = atoi(m[3]) * unit(m[4])
		}
	case bytes.Contains(b, []byte("Max Capacity")):
		if m := gcHeapMax.FindSubmatch(b); m != nil {
			p.log.HeapMax = atoi(m[1]) * unit(m[2])
		}
	case bytes.Contains(b, []byte("-Xmx")):
		if m := flagXmx.FindSubmatch(b); m != nil {
			if n, err := phrase.ParseSize(string(m[1])); err == nil {
				p.log.HeapMax = n
			}
		}
	case bytes.Contains(b, []byte("MaxHeapSize=")):
		if n, ok := find(maxHeapSize, b); ok {
			p.log.HeapMax = n
		}
	}
}

func find(re *regexp.Regexp, b []byte) (int64, bool) {
	m := re.FindSubmatch(b)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	return n, err == nil
}

// atoi reads digits; what is too large for a number of bytes or entries is cut.
func atoi(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n > 1<<52 {
		return 1 << 52
	}
	return n
}

func unit(b []byte) int64 {
	n, _ := phrase.ParseSize("1" + string(b))
	return n
}
