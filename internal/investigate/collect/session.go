package collect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"ottla/internal/investigate/evidence"
)

// Limits of a session.
const (
	seedsMax = 64 // bootstrap addresses that are tried
	// brokersAtOnce is how many brokers are asked at the same time. Each is asked one thing at a time: the patient may be at 97 % of
	// its heap.
	brokersAtOnce = 32
	// timeoutsMax and failuresMax are how many requests in a row a broker may leave unanswered, or answer by closing the connection,
	// before it is not asked any more. Waiting costs time; a closed connection may be about one API only.
	timeoutsMax = 2
	failuresMax = 12
	// answerMax bounds one answer in memory, in bytes; kgo drops the connection above it. The metadata of PartitionsMax partitions and the
	// producers of DefaultSetMax fit. setBytes is what one producer adds where SetMax asks for more.
	answerMax = 32 << 20
	setBytes  = 40
	answerTop = 1 << 30 // kgo's own limit
	// firstTimeout bounds the first words with a broker: who does not even say its API versions is not waited for again.
	firstTimeout = 10 * time.Second
	dialTimeout  = 5 * time.Second
	// fetchVersionMost keeps to the last version that names topics by their names.
	fetchVersionMost = 12
	progressEvery    = 100 * time.Millisecond
	waitTick         = 250 * time.Millisecond
	// progressWaiting stands where a source's name stands while the second readings are waited for.
	progressWaiting = "waiting, seconds"
)

var (
	errTimeMax = errors.New("the time for the whole scan is over")
	errSilent  = errors.New("the broker did not answer before, so it was not asked again")
)

// errUnsupported: the broker does not offer the API.
type errUnsupported struct{ api string }

func (e errUnsupported) Error() string { return "the broker does not offer " + e.api }

// session is one scan's way to the cluster: the client, the budget, and what is known of each broker's manners.
type session struct {
	o       Options
	client  *kgo.Client
	budget  *budget
	now     func() time.Time
	started time.Time
	scan    *evidence.Scan // guarded by mu while a source runs

	mu       sync.Mutex
	brokers  map[int32]*manners
	reported struct {
		sync.Mutex
		last time.Time
	}
}

// manners is how a broker behaves. Guarded by session.mu.
type manners struct {
	versions map[int16]int16 // highest version by API key; nil: not known
	timeouts int             // in a row, and so the next
	failures int
	silent   bool
}

// open finds a seed that answers and learns the brokers from it.
func open(ctx context.Context, o Options) (*session, error) {
	s := &session{
		o: o, now: time.Now, brokers: map[int32]*manners{},
		budget: &budget{bytesMax: o.BytesMax, requestsMax: o.RequestsMax},
	}
	s.started = s.now()
	s.scan = &evidence.Scan{
		Schema: evidence.SchemaVersion, Tool: o.Tool, Started: s.started.UTC(), Bootstrap: o.Bootstrap, Given: o.Given,
		Cluster: evidence.Cluster{Controller: -1, Vendor: evidence.VendorUnknown, TransactionVersion: -1},
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), fetchVersionMost)
	software, version := "ottla-investigate", "0"
	if name, v, found := strings.Cut(o.Tool, " "); found {
		software, version = name, v
	}
	opts := append([]kgo.Opt{kgo.SeedBrokers(o.Bootstrap...), kgo.DialTimeout(dialTimeout)}, o.Client...)
	client, err := kgo.NewClient(append(opts,
		kgo.ClientID(ClientID), kgo.SoftwareNameAndVersion(clientWord(software), clientWord(version)),
		kgo.MaxVersions(versions), kgo.DisableClientMetrics(),
		kgo.RequestTimeoutOverhead(min(max(o.Timeout, 100*time.Millisecond), 15*time.Minute)),
		kgo.RequestRetries(1), kgo.RetryTimeout(o.Timeout),
		kgo.BrokerMaxReadBytes(int32(min(max(answerMax, o.SetMax*setBytes), answerTop))), kgo.FetchMaxBytes(answerMax), kgo.WithHooks(meter{s.budget}),
		kgo.MetadataMaxAge(time.Hour),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	s.client = client
	if err := s.bootstrap(ctx); err != nil {
		s.close()
		return nil, &ErrConnect{err}
	}
	return s, nil
}

// clientWord keeps to what KIP-511 allows in a software's name and version; brokers refuse the rest.
func clientWord(s string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return '-'
	}, s)
	if out = strings.Trim(out, "-."); out == "" {
		return "0"
	}
	return out
}

func (s *session) close() { s.client.Close() }

// bootstrap tries the seeds one by one, so that dead ones cost their time once, and then learns all brokers.
func (s *session) bootstrap(ctx context.Context) error {
	var errs []string
	seeds := s.client.SeedBrokers()
	for i, seed := range seeds[:min(len(seeds), seedsMax)] {
		limited, cancel := context.WithTimeout(ctx, min(s.o.Timeout, firstTimeout))
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{} // none: brokers only
		_, err := seed.Request(limited, req)
		cancel()
		if err == nil && len(s.o.Bootstrap) == len(seeds) {
			if err = s.client.UpdateSeedBrokers(s.o.Bootstrap[i]); err != nil {
				return err
			}
		}
		if err == nil {
			return s.learnBrokers(ctx)
		}
		errs = append(errs, s.seedName(i, len(seeds))+": "+firstAnswer(err))
	}
	if len(errs) == 0 {
		return errors.New("no address to connect to")
	}
	return errors.New(strings.Join(errs, "; "))
}

// firstAnswer is plain, with what else may listen there if what came back is not a Kafka broker's answer.
func firstAnswer(err error) string {
	var early *kgo.ErrFirstReadEOF
	var tlsRecord tls.RecordHeaderError
	strange := classify(err) == evidence.Unsupported || errors.As(err, &early) || errors.As(err, &tlsRecord) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
	for _, words := range notKafka {
		strange = strange || strings.Contains(err.Error(), words)
	}
	if !strange {
		return plain(err)
	}
	return plain(err) + " (or is this a KRaft controller's, a TLS or an HTTP port?)"
}

// notKafka are words of kgo's errors on answers that are not Kafka's; kgo exports no names for them.
var notKafka = []string{"correlation ID mismatch", "did not contain enough data", "invalid large response size", "invalid negative response size"}

func (s *session) seedName(i, seeds int) string {
	if len(s.o.Bootstrap) == seeds {
		return s.o.Bootstrap[i]
	}
	return fmt.Sprintf("address %d", i+1)
}

// learnBrokers asks for the brokers through the client, which from then on knows their addresses.
func (s *session) learnBrokers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(s.o.Timeout, firstTimeout))
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	if len(resp.Brokers) == 0 {
		return errors.New("the cluster names no brokers")
	}
	for i := range resp.Brokers {
		b := &resp.Brokers[i]
		if len(s.scan.Brokers) == evidence.BrokersMax || s.brokers[b.NodeID] != nil {
			continue
		}
		rack := ""
		if b.Rack != nil {
			rack = *b.Rack
		}
		s.scan.Brokers = append(s.scan.Brokers, evidence.Broker{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: rack})
		s.brokers[b.NodeID] = &manners{}
	}
	s.scan.Cluster.Controller = resp.ControllerID
	if resp.ClusterID != nil {
		s.scan.Cluster.ID = *resp.ClusterID
	}
	return nil
}

// meter charges the budget with what goes over the wire, also with what the client asks on its own.
type meter struct{ budget *budget }

func (m meter) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, _ error) {
	m.budget.charge(0, 1)
}

func (m meter) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	m.budget.charge(int64(n), 0)
}

// ask sends one request to one broker and waits for its answer. most is the most that the answer can have, in bytes. Errors are
// those of the network, the budget, the broker's manners; error codes in the answer are the caller's to read. The caller
// hands the error to trouble, once.
func (s *session) ask(ctx context.Context, broker int32, req kmsg.Request, most int64) (kmsg.Response, error) {
	return s.askWithin(ctx, s.o.Timeout, broker, req, most)
}

func (s *session) askWithin(ctx context.Context, timeout time.Duration, broker int32, req kmsg.Request, most int64) (kmsg.Response, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.mayAsk(broker, req.Key()); err != nil {
		return nil, err
	}
	if err := s.budget.reserve(most); err != nil {
		return nil, err
	}
	defer s.budget.giveBack(most)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.client.Broker(int(broker)).Request(limited, req)
	if kgo.IsRetryableBrokerErr(err) && s.failedBefore(broker) {
		// The client says that a request has failed before it puts the connection away: what is asked at once after
		// may have been given to the dying one, and says nothing about itself.
		resp, err = s.client.Broker(int(broker)).Request(limited, req)
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.judge(broker, err)
	if err != nil {
		return nil, fmt.Errorf("broker %d, %s: %w", broker, kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

// mayAsk refuses requests that cannot work.
func (s *session) mayAsk(broker int32, key int16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.brokers[broker]
	switch {
	case m == nil:
		return fmt.Errorf("broker %d is not among the cluster's brokers", broker)
	case m.silent:
		return fmt.Errorf("broker %d: %w", broker, errSilent)
	case m.versions != nil:
		if _, ok := m.versions[key]; !ok {
			return errUnsupported{kmsg.NameForKey(key)}
		}
	}
	return nil
}

// failedBefore says whether the last request to the broker failed for a reason of the network's.
func (s *session) failedBefore(broker int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.brokers[broker]
	return m != nil && m.failures > 0
}

// judge remembers whether the broker answers.
func (s *session) judge(broker int32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.brokers[broker]
	switch {
	case err == nil:
		m.failures, m.timeouts = 0, 0
	case classify(err) != evidence.Failed:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isDial(err):
		m.timeouts++
	default:
		m.failures++
	}
	m.silent = m.silent || m.timeouts >= timeoutsMax || m.failures >= failuresMax
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// asker makes one broker a kmsg.Requestor, for RequestWith and its typed answers.
type asker struct {
	s      *session
	broker int32
	most   int64
}

// at is how to ask a broker with typed answers: req.RequestWith(ctx, s.at(broker, most)).
func (s *session) at(broker int32, most int64) asker { return asker{s, broker, most} }

// Request implements kmsg.Requestor.
func (a asker) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return a.s.ask(ctx, a.broker, req, a.most)
}

// version is the highest version of an API that the broker offers, -1 if it does not.
func (s *session) version(broker int32, key kmsg.Key) int16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.brokers[broker]; m != nil {
		if v, ok := m.versions[int16(key)]; ok {
			return v
		}
	}
	return -1
}

// answering lists the brokers that may still be asked, in the order of their ids in the scan.
func (s *session) answering() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int32
	for i := range s.scan.Brokers {
		if id := s.scan.Brokers[i].ID; !s.brokers[id].silent {
			out = append(out, id)
		}
	}
	return out
}

func (s *session) anybody() bool { return len(s.answering()) > 0 }

// unreachable says why no broker could be asked although the cluster named them.
func (s *session) unreachable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	why := ""
	for i := range s.scan.Brokers[:min(len(s.scan.Brokers), 5)] {
		b := &s.scan.Brokers[i]
		names = append(names, net.JoinHostPort(b.Host, fmt.Sprint(b.Port)))
		why = b.Error
	}
	return fmt.Errorf("the bootstrap address answered, but none of the brokers that it names (%s): %s: are their advertised addresses reachable from here?",
		strings.Join(names, ", "), why)
}

// waitUntil waits and says whether the time has come before the scan's end.
func (s *session) waitUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(t.Sub(s.now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// waitShown is waitUntil with its seconds on the progress bar.
func (s *session) waitShown(ctx context.Context, t time.Time) bool {
	from := s.now()
	total := t.Sub(from)
	for {
		left := t.Sub(s.now())
		if left <= 0 {
			return ctx.Err() == nil
		}
		s.report(progressWaiting, int((total - left).Seconds()), int(total.Seconds()+0.5))
		if !s.waitUntil(ctx, s.now().Add(min(left, waitTick))) {
			return false
		}
	}
}

// report calls Options.Progress, not too often.
func (s *session) report(source string, done, total int) {
	if s.o.Progress == nil {
		return
	}
	s.reported.Lock()
	defer s.reported.Unlock()
	now := s.now()
	if now.Sub(s.reported.last) < progressEvery {
		return
	}
	s.reported.last = now
	used := s.budget.used()
	s.o.Progress(Progress{Source: source, Done: done, Total: total, Bytes: used.Bytes, Requests: used.Requests, BytesMax: used.BytesMax, Elapsed: now.Sub(s.started)})
}

// perBroker runs f for each broker's items, one item of a broker at a time, brokersAtOnce brokers at a time. It returns when
// all are done; f is not called any more once ctx is over. f hands its own errors to trouble.
func perBroker[T any](ctx context.Context, s *step, work map[int32][]T, f func(ctx context.Context, broker int32, item T)) {
	var wg sync.WaitGroup
	room := make(chan struct{}, brokersAtOnce)
	for _, items := range work {
		s.expect(len(items))
	}
	for broker, items := range work {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			for i, item := range items {
				if ctx.Err() != nil {
					s.trouble(fmt.Errorf("broker %d: %d not asked: %w", broker, len(items)-i, context.Cause(ctx)), "")
					return
				}
				f(ctx, broker, item)
				s.did()
			}
		})
	}
	wg.Wait()
}

// oneEach is the work of perBroker that asks every broker once.
func oneEach(brokers []int32) map[int32][]struct{} {
	out := make(map[int32][]struct{}, len(brokers))
	for _, b := range brokers {
		out[b] = make([]struct{}, 1)
	}
	return out
}

// coded turns an error code of an answer into an error, nil for 0.
func coded(code int16) error { return kerr.ErrorForCode(code) }

// classify says which state of a source an error stands for.
func classify(err error) evidence.State {
	var unsupported errUnsupported
	switch {
	case errors.Is(err, errBytes), errors.Is(err, errRequests):
		return evidence.Skipped
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed),
		errors.Is(err, kerr.SaslAuthenticationFailed):
		return evidence.Denied
	case errors.As(err, &unsupported), errors.Is(err, kerr.UnsupportedVersion), errors.Is(err, kerr.SecurityDisabled),
		errors.Is(err, kerr.UnsupportedForMessageFormat), strings.HasSuffix(err.Error(), tooOld):
		return evidence.Unsupported
	}
	return evidence.Failed
}

// tooOld ends kgo's error for an API that a broker has not; kgo has no name for it.
const tooOld = "the broker has already indicated it will not know how to handle the request"

// Interrupted is the reason of sources that were not asked to their end because the caller's context was cancelled.
const Interrupted = "interrupted"

// plain is an error in few words, without what says nothing to an administrator.
func plain(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	text := err.Error()
	if cut, ok := strings.CutSuffix(text, io.ErrUnexpectedEOF.Error()); ok {
		text = cut + "it ended in the middle"
	} else if cut, ok := strings.CutSuffix(text, io.EOF.Error()); ok {
		text = cut + "it was closed"
	}
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
