package collect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ottla/internal/investigate/evidence"
)

// Limits of metrics endpoints.
const (
	metricsURLsMax   = 2_000
	metricsBodyMax   = 32 << 20 // bytes; jmx_exporter of a large broker gives some ten MB
	metricsLineMax   = 64 << 10 // bytes; longer lines are passed over
	metricsTimeout   = 10 * time.Second
	metricsRedirects = 3
)

var sourceMetrics = source{
	name:        evidence.SourceMetrics,
	what:        "heap and producer counts from the metrics endpoints that were given",
	permissions: "none of Kafka's: HTTP GET on the endpoints",
	run:         runMetrics,
	most: func(s *step) (int64, int64) {
		n := int64(len(s.o.MetricsURLs))
		return n, n * metricsBodyMax
	},
}

func runMetrics(ctx context.Context, s *step) error {
	urls := s.given(s.o.MetricsURLs, metricsURLsMax, "no URL of a metrics endpoint was given", "%d endpoints were not asked")
	if len(urls) == 0 {
		return nil
	}
	client := &http.Client{
		Timeout: min(s.o.Timeout, metricsTimeout),
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) >= metricsRedirects {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
	defer client.CloseIdleConnections()
	series := 0
	for _, u := range urls {
		m, err := s.scrape(ctx, client, u)
		s.did()
		if err != nil {
			s.trouble(err, "")
			continue
		}
		s.ok()
		s.write(func(scan *evidence.Scan) {
			series += len(m.Values)
			if series <= evidence.MetricSeriesMax {
				scan.Metrics = append(scan.Metrics, m)
			}
		})
	}
	return nil
}

// scrape reads one endpoint. Credentials in the URL are used and not kept.
func (s *step) scrape(ctx context.Context, client *http.Client, address string) (evidence.BrokerMetrics, error) {
	shown := shownURL(address)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return evidence.BrokerMetrics{}, fmt.Errorf("%s is not a URL", shown)
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	req.Header.Set("User-Agent", ClientID)
	if err := s.budget.reserve(metricsLineMax); err != nil {
		return evidence.BrokerMetrics{}, err
	}
	defer s.budget.giveBack(metricsLineMax)
	resp, err := client.Do(req)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) { // its text has the URL, which may have a password
			err = why.Err
		}
		return evidence.BrokerMetrics{}, fmt.Errorf("%s: %w", shown, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return evidence.BrokerMetrics{}, fmt.Errorf("%s: answered %s", shown, resp.Status)
	}
	body := &io.LimitedReader{R: resp.Body, N: min(metricsBodyMax, s.budget.left())}
	m := evidence.BrokerMetrics{Broker: s.brokerAt(address), URL: shown, At: s.now().UTC()}
	most := body.N
	m.Values, err = readMetrics(body)
	s.budget.charge(most-body.N, 1)
	switch {
	case err != nil:
		return m, fmt.Errorf("%s: %w", shown, err)
	case len(m.Values) == 0:
		return m, fmt.Errorf("%s: none of its series is about heap or producers", shown)
	case body.N == 0:
		s.leftOut(shown + " was not read to its end")
	}
	return m, nil
}

func shownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the metrics URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// brokerAt is the broker on the endpoint's host, -1 if there is none or more than one.
func (s *step) brokerAt(address string) int32 {
	u, err := url.Parse(address)
	if err != nil {
		return -1
	}
	broker := int32(-1)
	for i := range s.scan.Brokers {
		if b := &s.scan.Brokers[i]; strings.EqualFold(b.Host, u.Hostname()) {
			if broker >= 0 {
				return -1
			}
			broker = b.ID
		}
	}
	return broker
}

// metricRule says what one kind of series is kept as. Exporters name the same bean in many ways: words are looked for in the
// series' name and labels, in lower case and without underscores.
type metricRule struct {
	as    string
	words []string
	not   []string
	most  bool // of several series the largest counts, not the sum
}

var metricRules = []metricRule{
	// jmx_exporter's own JVM series (client_java 0.x and 1.x), Micrometer's, and the bean java.lang:type=Memory as exported by default.
	{as: evidence.MetricHeapMax, words: []string{"jvmmemory", "max", `area="heap"`}, not: []string{"pool", "nonheap", `id="`}},
	{as: evidence.MetricHeapMax, words: []string{"javalangmemory", "heapmemoryusage", "max"}, not: []string{"nonheap", "pool"}},
	{as: evidence.MetricHeapMax, words: []string{"jvmmemorymaxbytes", `area="heap"`, `id="`}},
	{as: evidence.MetricHeapUsed, words: []string{"jvmmemory", "used", `area="heap"`}, not: []string{"pool", "nonheap", `id="`}},
	{as: evidence.MetricHeapUsed, words: []string{"javalangmemory", "heapmemoryusage", "used"}, not: []string{"nonheap", "pool"}},
	{as: evidence.MetricHeapUsed, words: []string{"jvmmemoryusedbytes", `area="heap"`, `id="`}},
	{as: evidence.MetricHeapAfterGC, words: []string{"jvmmemorypoolcollection", "used", "old"}},
	{as: evidence.MetricHeapAfterGC, words: []string{"jvmgclivedatasizebytes"}},
	// kafka.server:type=ReplicaManager,name=ProducerIdCount, from Kafka 3.5.
	{as: evidence.MetricProducerIDs, words: []string{"replicamanager", "produceridcount"}},
	// kafka.network:type=RequestMetrics,name=RequestsPerSec,request=...,version=...
	{as: evidence.MetricInits, words: []string{"requestmetrics", "requestspersec", "initproducerid"}, not: rates},
	{as: evidence.MetricInits, words: []string{"requestmetricsrequeststotal", "initproducerid"}},
	{as: evidence.MetricProduces, words: []string{"requestmetrics", "requestspersec", `="produce"`}, not: rates},
	{as: evidence.MetricProduces, words: []string{"requestmetricsrequeststotal", `="produce"`}},
	// Redpanda: its public endpoint has memory, its internal one producers.
	{as: evidence.MetricMemoryAvailable, words: []string{"redpandamemoryavailablememory{"}},
	{as: evidence.MetricMemoryUsed, words: []string{"redpandamemoryallocatedmemory{"}},
	{as: evidence.MetricProducerIDs, words: []string{"producerstatemanager", "totalactiveproducers"}},
	{as: evidence.MetricEvicted, words: []string{"producerstatemanager", "evictedproducers"}},
	{as: evidence.MetricInits, words: []string{"redpandakafkahandler", "initproducerid", "receivedtotal"}},
	// Ottla.
	{as: evidence.MetricProducerIDs, words: []string{"ottlaproducerentries{"}, most: true}, // a place may hold what another has too
	{as: evidence.MetricIssued, words: []string{"ottlaproduceridsissuedtotal"}},
	{as: evidence.MetricInits, words: []string{"ottlarequestsecondscount{", `"initproducerid"`}},
	{as: evidence.MetricProduces, words: []string{"ottlarequestsecondscount{", `"produce"`}},
	{as: evidence.MetricMemoryUsed, words: []string{"ottlaproducermemorybytes{"}},
	{as: evidence.MetricMemoryAvailable, words: []string{"ottlaproducermemorybudgetbytes"}},
}

// rates are what a meter exports beside its count.
var rates = []string{"rate", "oneminute", "fiveminute", "fifteenminute", "mean", "eventtype", "created"}

// readMetrics reads the text format of Prometheus line by line and keeps what a rule names. Of one name the first rule that
// finds anything wins, so that a heap exported twice is not counted twice.
func readMetrics(r io.Reader) (map[string]float64, error) {
	sums := make([]float64, len(metricRules))
	hits := make([]int, len(metricRules))
	in := bufio.NewReaderSize(r, metricsLineMax)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			line = nil
		}
		if name, value, ok := metricLine(string(line)); ok {
			for i := range metricRules {
				if metricRules[i].matches(name) {
					hits[i]++
					if metricRules[i].most {
						sums[i] = max(sums[i], value)
					} else {
						sums[i] += value
					}
					break
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	out := map[string]float64{}
	for i, rule := range metricRules {
		if _, has := out[rule.as]; !has && hits[i] > 0 {
			out[rule.as] = sums[i]
		}
	}
	return out, nil
}

func (r *metricRule) matches(name string) bool {
	for _, w := range r.words {
		if !strings.Contains(name, w) {
			return false
		}
	}
	for _, w := range r.not {
		if strings.Contains(name, w) {
			return false
		}
	}
	return true
}

// metricLine takes a line apart: the series with its labels, in lower case and without underscores, and its value. Values that
// are not numbers or negative say "unknown" (a pool without a maximum is -1).
func metricLine(line string) (series string, value float64, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", 0, false
	}
	end := strings.LastIndexByte(line, '}') + 1
	if end == 0 {
		if end = strings.IndexAny(line, " \t"); end < 0 {
			return "", 0, false
		}
	}
	text, _, _ := strings.Cut(strings.TrimSpace(line[end:]), " ") // a time may follow
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= 0) || value > 1e300 {
		return "", 0, false
	}
	return strings.ToLower(strings.ReplaceAll(line[:end], "_", "")), value, true
}
