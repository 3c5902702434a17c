// Package node is the composition root: it builds a broker from a checked configuration and a filesystem, and owns the order in
// which the parts start and stop. It must not know requests, records or producers: it only wires.
//
// Start order: lock the data directory, bind the listeners, take the clean marker away, catalog, cold store, log, producer
// store, live partitions, groups, broker, accept. Everything that takes longer the more data there is happens after that, in the
// background. Stop is the reverse; the log's final pass comes before the producer store's, because what is durable in the log is
// what the producer store may write.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ottla/internal/broker"
	"ottla/internal/catalog"
	"ottla/internal/coldstate"
	"ottla/internal/config"
	"ottla/internal/coordinator"
	"ottla/internal/disk"
	"ottla/internal/metrics"
	"ottla/internal/pidstore"
	"ottla/internal/seglog"
	"ottla/internal/server"
)

// Options say what a node is made of.
type Options struct {
	Config *config.Config
	FS     disk.FS
	Logger *slog.Logger // nil: nothing is logged
	Banner io.Writer    // where to say what is served, once it is; nil: nowhere
	// Version is shown in the banner.
	Version string
	// Killable makes Kill possible, for tests.
	Killable bool
}

// Node is a running broker.
type Node struct {
	config  *config.Config
	fs      disk.FS
	dir     string
	logger  *slog.Logger
	version string
	started time.Time
	faults  *disk.Faults // nil unless killable

	metrics   *metrics.Metrics
	directory *directory
	bound     []net.Listener
	httpBound net.Listener

	catalog    *catalog.Catalog
	cold       *coldstate.Store
	logs       *seglog.Store
	ids        *pidstore.IDs
	producers  *pidstore.Store
	groupsCold *coldstate.Store
	groups     *coordinator.Coordinator
	server     *server.Server
	http       *http.Server
	index      *partitionIndex

	advertised map[string]config.Listener // by listener name, complete
	recovered  recovery

	offline struct {
		sync.Mutex
		err   error // why; nil while online
		parts []func(error)
	}

	background struct {
		sync.WaitGroup
		cancel     context.CancelFunc // ends loops at their next step
		load       context.Context    // bounds the recovery of one partition
		cancelLoad context.CancelFunc
	}
	stopping sync.Once
	stopErr  error
}

// Start builds a node and returns when it accepts connections. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Node, error) {
	n := &Node{config: o.Config, fs: o.FS, dir: o.Config.Text("log.dirs"), logger: o.Logger, version: o.Version,
		started: time.Now(), metrics: metrics.New()}
	n.recovered.over = make(chan struct{})
	if n.logger == nil {
		n.logger = slog.New(slog.DiscardHandler)
	}
	if o.Killable {
		n.faults = disk.NewFaults()
		n.fs = disk.NewFaulty(o.FS, n.faults)
	}
	n.index = &partitionIndex{topics: func() []*catalog.Topic { return n.catalog.Topics() }}
	for _, step := range []func() error{n.lockDirectory, n.bind, n.openState, n.openProducers, n.attach, n.openGroups, n.serve, n.serveHTTP} {
		err := ctx.Err()
		if err == nil {
			err = step()
		}
		if err != nil {
			return nil, errors.Join(err, n.Stop(context.Background()))
		}
	}
	n.startBackground()
	n.announce(o.Banner)
	return n, nil
}

func (n *Node) lockDirectory() error {
	d, err := openDirectory(n.fs, n.dir)
	n.directory = d
	return err
}

// bind takes the addresses before anything in the data directory is touched, so that a port in use leaves a clean directory clean.
func (n *Node) bind() error {
	for _, l := range n.config.Listeners() {
		bound, err := net.Listen(network(l.Host), l.Addr())
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w (another one: --listen HOST:PORT)", l.Addr(), err)
		}
		n.bound = append(n.bound, bound)
	}
	addr, on, err := n.config.HTTP()
	if err != nil || !on {
		return err
	}
	if n.httpBound, err = net.Listen("tcp", addr); err != nil {
		return fmt.Errorf("cannot serve metrics on %s: %w (another address: --http HOST:PORT; none: --http off)", addr, err)
	}
	return nil
}

// network keeps a listener on an IPv4 address to IPv4: Go would open 0.0.0.0 for IPv6 too.
func network(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return "tcp4"
	}
	return "tcp"
}

func (n *Node) openState() error {
	if err := n.directory.begin(); err != nil {
		return err
	}
	var err error
	n.catalog, err = catalog.Open(catalog.Options{
		FS: n.fs, Dir: n.dir, NodeID: int32(n.config.Int("node.id")), Static: staticConfigs(n.config),
		Metrics: n.metrics.Partitions, Logger: n.logger,
	})
	if errors.Is(err, catalog.ErrForeignDirectory) {
		return fmt.Errorf("%w (data of Kafka, or of something else? another directory: --data DIR)", err)
	} else if err != nil {
		return fmt.Errorf("data directory %s: %w", n.dir, err)
	}
	if err := n.catalog.BeginRun(n.directory.clean); err != nil {
		return fmt.Errorf("data directory %s: %w", n.dir, err)
	}
	return n.openCold()
}

// openCold opens the store of producer entries.
func (n *Node) openCold() (err error) {
	n.cold, err = n.openStore(producersDir, n.shares().ColdBytes, n.metrics.Cold,
		"the store of producer entries is damaged: it was moved aside and is rebuilt from the logs; partitions are slow to answer until then")
	return err
}

// openStore opens a cold store in a directory of its own. One that is damaged is moved aside, with the words of damaged in the log: the
// logs hold everything it had.
func (n *Node) openStore(name string, memoryBytes int64, m *metrics.Cold, damaged string) (*coldstate.Store, error) {
	dir := filepath.Join(n.dir, name)
	if err := n.fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	o := coldstate.Options{FS: n.fs, Dir: dir, MemoryBytes: memoryBytes, OnFatal: n.goOffline, Metrics: m, Logger: n.logger}
	store, err := coldstate.Open(o)
	if !errors.Is(err, coldstate.ErrCorrupt) {
		return store, err
	}
	aside, moveErr := coldstate.MoveAside(n.fs, dir)
	if moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	n.logger.Error(damaged, "error", err, "moved_to", aside)
	if err := n.fs.MkdirAll(dir); err != nil {
		return nil, err
	}
	return coldstate.Open(o)
}

func (n *Node) shares() pidstore.Shares {
	return pidstore.Split(n.config.Int("producer.state.memory.bytes"))
}

func (n *Node) openProducers() error {
	var err error
	n.logs, err = seglog.OpenStore(seglog.Options{
		FS: n.fs, Dir: n.dir, OpenFilesMax: openFilesMax(n.config),
		FreeBytesMin: freeBytesMin(n.config), JournalBytes: journalBytes(n.config), Metrics: n.metrics.Log, Logger: n.logger,
	})
	if err != nil {
		return fmt.Errorf("data directory %s: %w", n.dir, err)
	}
	n.tellOffline(n.logs.SetOffline)
	if n.ids, err = pidstore.NewIDs(n.catalog, n.metrics.Producers); err != nil {
		return err
	}
	n.catalog.SetIssued(n.ids.Issued)
	shares := n.shares()
	n.metrics.Producers.MemoryBudgetBytes.Set(float64(n.config.Int("producer.state.memory.bytes")))
	n.producers, err = pidstore.Open(pidstore.Options{
		Cold: n.cold, MemoryBytes: shares.HotBytes + shares.OverlayBytes,
		ExpirationMillis: n.config.Int("producer.id.expiration.ms"), IDs: n.ids, SyncLog: n.index.requestSync,
		Metrics: n.metrics.Producers, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.tellOffline(n.producers.SetOffline)
	return nil
}

func (n *Node) attach() error {
	return n.catalog.Attach(n.logs, n.producers, !n.directory.clean)
}

func (n *Node) serve() error {
	n.advertised = n.resolveAdvertised()
	b := broker.New(broker.Options{
		Catalog: n.catalog, Producers: n.producers, IDs: n.ids, Groups: n.groups,
		NodeID: int32(n.config.Int("node.id")), ClusterID: n.catalog.ClusterID(), Rack: n.config.Text("broker.rack"),
		Advertised: n.advertisedAddr,
		AutoCreate: func() bool { return n.catalog.BrokerValue("auto.create.topics.enable") == "true" },
		DataDir:    absolute(n.dir),
		Limits: broker.Limits{
			FetchBytesMax:     int32(n.config.Int("fetch.max.bytes")),
			FetchSessionSlots: int(n.config.Int("max.incremental.fetch.session.cache.slots")),
			TelemetryBytesMax: int32(n.config.Int("telemetry.max.bytes")),
		},
		Metrics: n.metrics, Logger: n.logger,
	})
	o := server.Options{
		Handler:             b,
		ConnectionsMax:      int(n.config.Int("max.connections")),
		ConnectionsPerIPMax: int(n.config.Int("max.connections.per.ip")),
		IdleMax:             time.Duration(n.config.Int("connections.max.idle.ms")) * time.Millisecond,
		InFlightBytesMax:    n.config.Int("queued.max.request.bytes"),
		InFlightRequestsMax: int(n.config.Int("max.requests.per.connection")),
		FrameBytesMax:       int32(n.config.Int("socket.request.max.bytes")),
		Metrics:             n.metrics.Server, Logger: n.logger,
	}
	for i, l := range n.config.Listeners() {
		o.Listeners = append(o.Listeners, server.Listener{Name: l.Name, Addr: l.Addr(), Bound: n.bound[i]})
	}
	var err error
	n.server, err = server.Start(o)
	return err
}

// resolveAdvertised completes what clients are told with what is listened on.
func (n *Node) resolveAdvertised() map[string]config.Listener {
	out := map[string]config.Listener{}
	for i, l := range n.config.Listeners() {
		if tcp, ok := n.bound[i].Addr().(*net.TCPAddr); ok {
			l.Port = tcp.Port
		}
		if l.Wildcard() {
			l.Host = "localhost"
			if name, err := os.Hostname(); err == nil {
				l.Host = name
			}
		}
		out[l.Name] = l
	}
	for _, a := range n.config.Advertised() {
		if a.Port == 0 {
			a.Port = out[a.Name].Port
		}
		out[a.Name] = a
	}
	return out
}

func (n *Node) advertisedAddr(listener string) (host string, port int32) {
	a := n.advertised[listener]
	return a.Host, int32(a.Port)
}

// goOffline is called when a part of the data directory can take no more: everything else stops writing too.
func (n *Node) goOffline(err error) {
	n.offline.Lock()
	defer n.offline.Unlock()
	if n.offline.err != nil {
		return
	}
	n.offline.err = err
	n.logger.Error("the data directory is offline until a restart: nothing is written or acknowledged any more", "dir", n.dir, "error", err)
	for _, tell := range n.offline.parts {
		tell(err)
	}
}

// tellOffline has a part told when the data directory goes offline, at once if it already is: the cold store may fail while
// the parts above it are still being built.
func (n *Node) tellOffline(tell func(error)) {
	n.offline.Lock()
	defer n.offline.Unlock()
	n.offline.parts = append(n.offline.parts, tell)
	if n.offline.err != nil {
		tell(n.offline.err)
	}
}

// Addr is the address of the first listener.
func (n *Node) Addr() string { return n.bound[0].Addr().String() }

// Addrs are the addresses of all listeners, in the order of the configuration.
func (n *Node) Addrs() []string {
	out := make([]string, len(n.bound))
	for i, l := range n.bound {
		out[i] = l.Addr().String()
	}
	return out
}

// HTTPAddr is the address of metrics and health; empty if there is none.
func (n *Node) HTTPAddr() string {
	if n.httpBound == nil {
		return ""
	}
	return n.httpBound.Addr().String()
}

// ClusterID is the id that clients see.
func (n *Node) ClusterID() string { return n.catalog.ClusterID() }

// Metrics are the numbers of this node.
func (n *Node) Metrics() *metrics.Metrics { return n.metrics }

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}
