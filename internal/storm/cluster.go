package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// prepareMax bounds everything before the load: connecting, making topics, waiting for leaders.
	prepareMax = 2 * time.Minute
	// connectMax bounds how long one connection may take.
	connectMax = 10 * time.Second
	// pollEvery is how often it is asked whether something is there yet.
	pollEvery = 100 * time.Millisecond
	// cleanupMax bounds deleting the topics.
	cleanupMax = 30 * time.Second
)

// cluster is the way to all brokers. The client is for control, the data has connections of its own.
type cluster struct {
	o       *Options
	client  *kgo.Client
	admin   *kadm.Client
	id      string
	brokers map[int32]*brokerInfo
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	// negotiated are the brokers that loads talk to.
	negotiated []*brokerInfo
	open       atomic.Int64 // connections for data
	answers    atomic.Int64 // on all of them
}

// brokerInfo is what has to be known of a broker. versions is filled by negotiate, before any load runs.
type brokerInfo struct {
	id       int32
	addr     string
	versions versions
}

// versions are what a storm speaks with a broker; -1: the broker does not know the request.
type versions struct {
	init, produce, metadata, addPartitions, endTxn, findCoordinator int16
}

// connect finds the brokers and passes the guard rails: nothing is written before.
func connect(ctx context.Context, o *Options) (*cluster, error) {
	c := &cluster{o: o, brokers: map[int32]*brokerInfo{}, dial: o.Dial}
	if c.dial == nil {
		dialer := &net.Dialer{Timeout: connectMax}
		if o.ClusterID == "" {
			dialer.Control = LoopbackOnly
		}
		c.dial = dialer.DialContext
	}
	if o.ClusterID == "" {
		if err := onlyLoopback(ctx, o.Bootstrap); err != nil {
			return nil, err
		}
		c.dial = loopbackDial(c.dial)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Bootstrap...), kgo.Dialer(c.dial), kgo.ClientID(clientID), kgo.SoftwareNameAndVersion(clientID, "1"),
		kgo.RetryTimeout(connectMax), kgo.RequestRetries(3), kgo.MetadataMinAge(pollEvery),
	}
	if len(o.SASL) > 0 {
		opts = append(opts, kgo.SASL(o.SASL...))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	c.client, c.admin = client, kadm.NewClient(client)
	if err := c.identify(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) close() { c.client.Close() }

// identify reads the cluster's id and brokers, and refuses clusters that were not named.
func (c *cluster) identify(ctx context.Context) error {
	meta, err := c.admin.BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", strings.Join(c.o.Bootstrap, ", "), err)
	}
	c.id = meta.Cluster
	var addrs []string
	for _, b := range meta.Brokers {
		addr := net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
		c.brokers[b.NodeID] = &brokerInfo{id: b.NodeID, addr: addr}
		addrs = append(addrs, addr)
	}
	if c.o.ClusterID == "" {
		return onlyLoopback(ctx, addrs)
	}
	if c.o.ClusterID != c.id {
		return fmt.Errorf("%w: this is cluster %q, named was %q", ErrRefused, c.id, c.o.ClusterID)
	}
	return nil
}

// onlyLoopback is the guard rail for clusters that were not named: a storm kills brokers.
func onlyLoopback(ctx context.Context, addrs []string) error {
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("broker %q: %w", addr, err)
		}
		ips := []string{host}
		if net.ParseIP(host) == nil {
			if ips, err = net.DefaultResolver.LookupHost(ctx, host); err != nil {
				return fmt.Errorf("broker %s: %w", addr, err)
			}
		}
		for _, ip := range ips {
			if parsed := net.ParseIP(ip); parsed == nil || !parsed.IsLoopback() {
				return fmt.Errorf("%w: broker %s is not on this machine's loopback interface; a storm can kill a cluster, so name the one you mean by its id", ErrRefused, addr)
			}
		}
	}
	return nil
}

// LoopbackOnly is a net.Dialer's Control for clusters that were not named. It refuses addresses that are not on the loopback interface before
// anything is sent to them, a TLS handshake too.
func LoopbackOnly(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%w: %s is not on the loopback interface", ErrRefused, address)
	}
	return nil
}

// loopbackDial keeps the promise of onlyLoopback for brokers that appear, or names that change their meaning, afterwards, whoever dials.
func loopbackDial(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
			_ = conn.Close()
			return nil, fmt.Errorf("%w: %s is %s, not on the loopback interface", ErrRefused, addr, tcp)
		}
		return conn, nil
	}
}

// errCap: a storm never has more connections than its cap.
var errCap = errors.New("the cap on connections is reached")

// lane opens a connection for data. It is closed when ctx ends.
func (c *cluster) lane(ctx context.Context, broker *brokerInfo, readBytes int) (*lane, error) {
	if c.open.Add(1) > int64(c.o.MaxConnections) {
		c.open.Add(-1)
		return nil, errCap
	}
	dialCtx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	conn, err := c.dial(dialCtx, "tcp", broker.addr)
	if err != nil {
		c.open.Add(-1)
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	l := newLane(conn, readBytes, &c.answers)
	l.closed = func() { stop(); c.open.Add(-1) }
	if err := l.authenticate(ctx, c.o, broker.addr); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// negotiate asks brokers for the versions they know, each on a connection of its own.
func (c *cluster) negotiate(ctx context.Context, ids []int32) error {
	for _, id := range ids {
		b := c.brokers[id]
		if slices.Contains(c.negotiated, b) {
			continue
		}
		l, err := c.lane(ctx, b, shortReadBytes)
		if err == nil {
			b.versions, err = l.askVersions()
			l.close()
		}
		if err != nil {
			return fmt.Errorf("broker %s: %w", b.addr, err)
		}
		c.negotiated = append(c.negotiated, b)
	}
	return nil
}

// askVersions asks with version 0, which every broker understands.
func (l *lane) askVersions() (versions, error) {
	request := kmsg.NewPtrApiVersionsRequest()
	answer, err := l.call(request)
	if err != nil {
		return versions{}, err
	}
	r := answer.(*kmsg.ApiVersionsResponse)
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		return versions{}, fmt.Errorf("ApiVersions: %w", err)
	}
	pick := func(key kmsg.Key, lowest, highest int16) int16 {
		for _, k := range r.ApiKeys {
			if k.ApiKey == int16(key) && k.MinVersion <= highest && k.MaxVersion >= lowest {
				return min(k.MaxVersion, highest)
			}
		}
		return -1
	}
	v := versions{
		init: pick(kmsg.InitProducerID, 0, initVersionMax), produce: pick(kmsg.Produce, produceVersionMin, produceVersionMax),
		metadata: pick(kmsg.Metadata, 1, 12), addPartitions: pick(kmsg.AddPartitionsToTxn, 0, 3), endTxn: pick(kmsg.EndTxn, 0, 3),
		findCoordinator: pick(kmsg.FindCoordinator, 1, 3),
	}
	if v.init < 0 || v.produce < 0 {
		return v, errors.New("this broker has no idempotent producers (InitProducerId, Produce 3 to 9)")
	}
	return v, nil
}

// aliveMax bounds how long a broker may take to prove that it lives.
const aliveMax = 5 * time.Second

// alive says whether all leaders of a topic still take connections and answer on them.
func (c *cluster) alive(ctx context.Context, t *topic) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveMax)
	defer cancel()
	for _, id := range t.leaderIDs() {
		l, err := c.lane(ctx, c.brokers[id], shortReadBytes)
		if err != nil {
			return false
		}
		_, err = l.askVersions()
		l.close()
		if err != nil {
			return false
		}
	}
	return true
}

// topic is a topic and where its partitions are.
type topic struct {
	name    string
	leaders []int32 // by partition
	made    bool    // by this storm: it may delete it
}

// onLeader groups the partitions by their leader.
func (t *topic) onLeader() map[int32][]int32 {
	out := map[int32][]int32{}
	for partition, leader := range t.leaders {
		out[leader] = append(out[leader], int32(partition))
	}
	return out
}

// leaderIDs lists the brokers that lead partitions.
func (t *topic) leaderIDs() []int32 {
	out := slices.Clone(t.leaders)
	slices.Sort(out)
	return slices.Compact(out)
}

// make makes the topic, or finds it if that is allowed, and waits until its leaders answer for it. What was made is to be deleted
// also after an error.
func (c *cluster) make(ctx context.Context, t *topic, partitions int, config map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, prepareMax)
	defer cancel()
	exists, err := c.exists(ctx, t.name)
	if err == nil && !exists {
		err = c.create(ctx, t, partitions, config)
	} else if err == nil && !c.o.ReuseTopic {
		err = errExists(t.name)
	}
	if err != nil {
		return err
	}
	return c.awaitLeaders(ctx, t, partitions)
}

func errExists(topic string) error {
	return fmt.Errorf("%w: topic %s exists and this storm did not make it", ErrRefused, topic)
}

func (c *cluster) exists(ctx context.Context, name string) (bool, error) {
	topics, err := c.admin.ListTopics(ctx, name)
	if err == nil && topics[name].Err != nil && !errors.Is(topics[name].Err, kerr.UnknownTopicOrPartition) {
		err = topics[name].Err
	}
	if err != nil {
		return false, fmt.Errorf("whether topic %s exists is not known: %w", name, err)
	}
	return topics.Has(name), nil
}

// create makes a topic that was seen not to exist.
func (c *cluster) create(ctx context.Context, t *topic, partitions int, config map[string]string) error {
	values := map[string]*string{}
	for k, v := range config {
		values[k] = &v
	}
	c.admin.SetTimeoutMillis(int32(prepareMax.Milliseconds() / 2))
	responses, err := c.admin.CreateTopics(ctx, int32(partitions), c.replication(ctx), values, t.name)
	if err != nil {
		t.made = true // it may have been, and nobody else's was there
		return fmt.Errorf("making topic %s: %w", t.name, err)
	}
	r := responses[t.name]
	switch {
	case errors.Is(r.Err, kerr.TopicAlreadyExists):
		return errExists(t.name)
	case r.Err != nil && r.ErrMessage != "":
		return fmt.Errorf("making topic %s: %w: %s", t.name, r.Err, r.ErrMessage)
	case r.Err != nil:
		return fmt.Errorf("making topic %s: %w", t.name, r.Err)
	}
	t.made = true
	return nil
}

// replication is -1, the default, only for brokers that know what it means: Kafka 2.4 with CreateTopics 4 (KIP-464).
func (c *cluster) replication(ctx context.Context) int16 {
	if c.o.Replication != -1 {
		return int16(c.o.Replication)
	}
	all, err := c.admin.ApiVersions(ctx)
	if err != nil {
		return 1
	}
	const knowsDefault = 4
	for _, broker := range all {
		if most, ok := broker.KeyMaxVersion(int16(kmsg.CreateTopics)); !ok || most < knowsDefault {
			return 1
		}
	}
	return -1
}

// awaitLeaders returns when every partition has a leader that answers for it: the metadata knows earlier than the leader does.
func (c *cluster) awaitLeaders(ctx context.Context, t *topic, partitions int) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := c.findLeaders(ctx, t, partitions)
		if err == nil {
			err = c.offsetsAnswered(ctx, t)
		}
		if err == nil || errors.Is(err, errPartitions) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s is not ready: %w", t.name, err)
		case <-ticker.C:
		}
	}
}

var errPartitions = errors.New("too few partitions")

func (c *cluster) findLeaders(ctx context.Context, t *topic, partitions int) error {
	request := kmsg.NewPtrMetadataRequest()
	requested := kmsg.NewMetadataRequestTopic()
	requested.Topic = kmsg.StringPtr(t.name)
	request.Topics = append(request.Topics, requested)
	meta, err := request.RequestWith(ctx, c.client)
	if err != nil {
		return err
	}
	for _, b := range meta.Brokers {
		if c.brokers[b.NodeID] == nil {
			c.brokers[b.NodeID] = &brokerInfo{id: b.NodeID, addr: net.JoinHostPort(b.Host, fmt.Sprint(b.Port))}
		}
	}
	if len(meta.Topics) != 1 {
		return fmt.Errorf("%w: Metadata for %d topics, one was asked for", errAnswer, len(meta.Topics))
	}
	found := meta.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return err
	}
	if len(found.Partitions) < partitions {
		return fmt.Errorf("%w: topic %s has %d, %d are asked for", errPartitions, t.name, len(found.Partitions), partitions)
	}
	t.leaders = make([]int32, partitions)
	for i := range t.leaders {
		t.leaders[i] = -1
	}
	for _, p := range found.Partitions {
		if p.Partition >= 0 && int(p.Partition) < partitions && c.brokers[p.Leader] != nil {
			t.leaders[p.Partition] = p.Leader
		}
	}
	if at := slices.Index(t.leaders, -1); at >= 0 {
		return fmt.Errorf("partition %d has no leader", at)
	}
	return nil
}

func (c *cluster) offsetsAnswered(ctx context.Context, t *topic) error {
	ends, err := c.admin.ListEndOffsets(ctx, t.name)
	if err != nil {
		return err
	}
	return ends.Error()
}

// delete deletes the topics that this storm made and says which are left.
func (c *cluster) delete(ctx context.Context, topics []*topic) (left []string, err error) {
	var names []string
	for _, t := range topics {
		switch {
		case t.made && !c.o.Keep:
			names = append(names, t.name)
		case t.made:
			left = append(left, t.name)
		}
	}
	if len(names) == 0 {
		return left, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupMax)
	defer cancel()
	c.admin.SetTimeoutMillis(int32(cleanupMax.Milliseconds()))
	responses, err := c.admin.DeleteTopics(ctx, names...)
	if err != nil {
		return append(left, names...), fmt.Errorf("deleting %s: %w", strings.Join(names, ", "), err)
	}
	var errs []error
	for _, r := range responses.Sorted() {
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			left = append(left, r.Topic)
			errs = append(errs, fmt.Errorf("deleting %s: %w", r.Topic, r.Err))
		}
	}
	return left, errors.Join(errs...)
}

// anyBroker picks a broker as a client's bootstrap does.
func (c *cluster) anyBroker() *brokerInfo { return c.negotiated[rand.IntN(len(c.negotiated))] }

// lowest is what all brokers that a load talks to know.
func (c *cluster) lowest(version func(versions) int16) int16 {
	out := int16(1<<15 - 1)
	for _, b := range c.negotiated {
		out = min(out, version(b.versions))
	}
	return out
}

// set names all partitions of the topic.
func (t *topic) set() kadm.TopicsSet {
	out := kadm.TopicsSet{}
	for partition := range t.leaders {
		out.Add(t.name, int32(partition))
	}
	return out
}
