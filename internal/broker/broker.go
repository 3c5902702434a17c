// Package broker answers Kafka's requests: one file per API, named by its key.
//
// It owns what a request means: which versions are served, how topics and
// partitions are found, in which order checks are made, fetch sessions, and the
// translation of errors to Kafka's codes, which happens nowhere else. It must not
// know sockets, frames, files, or how a partition keeps its records.
//
// Every handler has two phases. Handle runs on the connection's reader in the order
// of arrival and waits neither for the disk nor for other clients; the Reply it
// returns does that on the connection's writer. A reply never refers to the
// request's frame.
package broker

import (
	"context"
	"log/slog"
	"time"

	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/metrics"
	"ottla/internal/pidstore"
	"ottla/internal/wire"
)

// Limits of what a request may ask for.
const (
	// LoadWaitMax is how long a request waits for a partition that is being
	// recovered, before the client is told to try again.
	LoadWaitMax = 5 * time.Second
	// FetchBytesMaxDefault is Kafka's default of fetch.max.bytes of a broker: 55 MiB.
	FetchBytesMaxDefault = 55 << 20
	// FetchSessionSlotsDefault is Kafka's default of max.incremental.fetch.session.cache.slots.
	FetchSessionSlotsDefault = 1000
)

// Limits are what an operator may set; a zero field means its default.
type Limits struct {
	FetchBytesMax     int32 // fetch.max.bytes: the most record bytes in one answer
	FetchSessionSlots int   // max.incremental.fetch.session.cache.slots
	TelemetryBytesMax int32 // telemetry.max.bytes: the most bytes of metrics in one push
}

// Options say what a broker serves and who it says it is.
type Options struct {
	Catalog   *catalog.Catalog
	Producers *pidstore.Store
	IDs       *pidstore.IDs
	// Groups hosts consumer groups; nil: their APIs are not served.
	Groups    *coordinator.Coordinator
	NodeID    int32
	ClusterID string
	Rack      string // empty: none
	// Advertised gives the address that clients of a listener are told to use.
	Advertised func(listener string) (host string, port int32)
	// AutoCreate says whether auto.create.topics.enable is in force now. Nil: never.
	AutoCreate func() bool
	DataDir    string
	Limits     Limits
	Metrics    *metrics.Metrics
	Logger     *slog.Logger
}

// Broker serves Kafka's APIs over a catalog of partitions. It implements
// wire.Handler and is safe for concurrent use.
type Broker struct {
	o         Options
	log       *slog.Logger
	handlers  map[int16]api
	apis      []wire.API
	sessions  *sessionCache
	telemetry *telemetry
	failures  failureLog
	// transactions are the requests for what is not served.
	transactions failureLog
}

// New returns a broker. It starts nothing.
func New(o Options) *Broker {
	if o.Limits.FetchBytesMax <= 0 {
		o.Limits.FetchBytesMax = FetchBytesMaxDefault
	}
	if o.Limits.FetchSessionSlots <= 0 {
		o.Limits.FetchSessionSlots = FetchSessionSlotsDefault
	}
	if o.Limits.TelemetryBytesMax <= 0 {
		o.Limits.TelemetryBytesMax = TelemetryBytesMaxDefault
	}
	if o.AutoCreate == nil {
		o.AutoCreate = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{
		o:         o,
		log:       o.Logger,
		handlers:  make(map[int16]api, len(apiTable)),
		sessions:  newSessionCache(o.Limits.FetchSessionSlots, sessionPartitionsMax),
		telemetry: newTelemetry(),
	}
	for _, a := range apiTable {
		if a.groups && o.Groups == nil {
			continue
		}
		b.handlers[a.key] = a
		b.apis = append(b.apis, wire.API{Key: a.key, Min: a.min, Max: a.max, FrameBytesMax: a.frameBytesMax})
	}
	return b
}

// APIs lists what the broker serves, by ascending key.
func (b *Broker) APIs() []wire.API { return b.apis }

// Handle answers one request. The request's key and version are among APIs, but for
// ApiVersions, which is answered in every version.
func (b *Broker) Handle(ctx context.Context, r *wire.Request) wire.Reply {
	a, found := b.handlers[r.Key]
	known := r.Body != nil && r.Version >= a.min && r.Version <= a.max
	if !found || (!known && (!r.Unsupported || r.Key != keyAPIVersions)) {
		return wire.Close() // the server refuses these; a caller that does not gets no answer
	}
	return b.loggingChanges(r, a.handle(b, ctx, r))
}

// replyFunc is a reply that is computed on the connection's writer.
type replyFunc func(ctx context.Context) (wire.Response, error)

// Wait computes the answer.
func (f replyFunc) Wait(ctx context.Context) (wire.Response, error) { return f(ctx) }
