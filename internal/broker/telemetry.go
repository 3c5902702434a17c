package broker

import (
	"container/list"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// telemetryInterval is Kafka's default interval.ms of a client metrics subscription.
	telemetryInterval = 5 * time.Minute
	// telemetryInstancesMax is how many clients are remembered: some 3 MiB. Kafka's CM_CACHE_MAX_SIZE.
	telemetryInstancesMax = 16384
	// telemetryExpiry is when a client that says nothing is forgotten: three intervals, as in Kafka.
	telemetryExpiry = 3 * telemetryInterval
	// TelemetryBytesMaxDefault is Kafka's default of telemetry.max.bytes.
	TelemetryBytesMaxDefault = 1 << 20
)

// telemetryCodecs are those that a client may compress with, the preferred first: zstd, lz4, gzip, snappy.
var telemetryCodecs = []int8{4, 3, 1, 2}

// telemetry remembers the clients that asked for a subscription, as far as it takes to tell who comes too often. The longest
// silent one goes when there are too many, and whoever was silent for long.
type telemetry struct {
	mu struct {
		sync.Mutex
		byID   map[[16]byte]*list.Element // of telemetryInstance
		recent list.List                  // the last heard of in front
	}
}

type telemetryInstance struct {
	id                [16]byte
	heard             time.Time // of any request
	lastGet, lastPush time.Time // of requests that were accepted
	terminating       bool
	lastWrong         bool // the last push named an unknown subscription or codec
}

func newTelemetry() *telemetry {
	t := &telemetry{}
	t.mu.byID = map[[16]byte]*list.Element{}
	return t
}

// reservedUUID is one that no client may have (Uuid.RESERVED): zero, one.
func reservedUUID(id [16]byte) bool {
	return id == [16]byte{} || id == [16]byte{15: 1}
}

// newUUID makes a random id of version 4.
func newUUID() (id [16]byte) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// subscriptionOf is the number of the default subscription of a client. It differs from client to client, as KIP-714 wants it.
func subscriptionOf(id [16]byte) int32 {
	sum := crc32.Checksum(binary.BigEndian.AppendUint32([]byte("[]"), uint32(telemetryInterval.Milliseconds())), crc32.MakeTable(crc32.Castagnoli))
	for i := 0; i < len(id); i += 4 {
		sum ^= binary.BigEndian.Uint32(id[i:])
	}
	return int32(sum)
}

// instanceLocked finds or makes a client, and forgets others.
func (t *telemetry) instanceLocked(now time.Time, id [16]byte) *telemetryInstance {
	for e := t.mu.recent.Back(); e != nil; e = t.mu.recent.Back() {
		old := e.Value.(*telemetryInstance)
		if len(t.mu.byID) < telemetryInstancesMax && now.Sub(old.heard) < telemetryExpiry {
			break
		}
		if len(t.mu.byID) >= telemetryInstancesMax && t.mu.byID[id] != nil && now.Sub(old.heard) < telemetryExpiry {
			break // nobody comes in
		}
		t.mu.recent.Remove(e)
		delete(t.mu.byID, old.id)
	}
	e := t.mu.byID[id]
	if e == nil {
		e = t.mu.recent.PushFront(&telemetryInstance{id: id})
		t.mu.byID[id] = e
	}
	t.mu.recent.MoveToFront(e)
	i := e.Value.(*telemetryInstance)
	i.heard = now
	return i
}

// subscribe answers GetTelemetrySubscriptions with the client's id, which is made for one that has none.
func (t *telemetry) subscribe(now time.Time, id [16]byte) ([16]byte, int16) {
	if id == [16]byte{} {
		id = newUUID()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.instanceLocked(now, id)
	last := i.lastGet
	if i.lastPush.After(last) {
		last = i.lastPush
	}
	if now.Sub(last) < telemetryInterval && !i.lastWrong {
		return id, codeThrottlingQuotaExceeded
	}
	i.lastGet, i.lastWrong = now, false
	return id, codeNone
}

// push checks PushTelemetry.
func (t *telemetry) push(now time.Time, req *kmsg.PushTelemetryRequest, bytesMax int32) int16 {
	if reservedUUID(req.ClientInstanceID) {
		return codeInvalidRequest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.instanceLocked(now, req.ClientInstanceID)
	over := i.terminating
	i.terminating = req.Terminating
	if over {
		return codeInvalidRequest
	}
	// The first push after a subscription may come early: clients spread them.
	accepted := i.lastGet.After(i.lastPush) || now.Sub(i.lastPush) >= telemetryInterval
	if accepted {
		i.lastPush = now
	}
	i.lastWrong = false
	switch {
	case !accepted && !req.Terminating:
		return codeThrottlingQuotaExceeded
	case req.SubscriptionID != subscriptionOf(req.ClientInstanceID):
		i.lastWrong = true
		return codeUnknownSubscriptionID
	case req.CompressionType < 0 || req.CompressionType > telemetryCodecs[0]:
		i.lastWrong = true
		return codeUnsupportedCompression
	case len(req.Metrics) > int(bytesMax):
		return codeTelemetryTooLarge
	}
	return codeNone
}
