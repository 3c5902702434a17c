package broker

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTelemetryHandlers(t *testing.T) {
	s := newStack(t)
	get := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	sub := s.do(get, 0).(*kmsg.GetTelemetrySubscriptionsResponse)
	if sub.ErrorCode != 0 || reservedUUID(sub.ClientInstanceID) || len(sub.RequestedMetrics) != 0 || sub.PushIntervalMillis != 300_000 ||
		sub.TelemetryMaxBytes != TelemetryBytesMaxDefault || len(sub.AcceptedCompressionTypes) != 4 || !sub.DeltaTemporality {
		t.Fatalf("got %+v", sub)
	}
	get.ClientInstanceID = sub.ClientInstanceID
	if again := s.do(get, 0).(*kmsg.GetTelemetrySubscriptionsResponse); again.ErrorCode != codeThrottlingQuotaExceeded {
		t.Errorf("asking again at once: %+v", again)
	}
	push := kmsg.NewPtrPushTelemetryRequest()
	push.ClientInstanceID, push.SubscriptionID, push.Metrics = sub.ClientInstanceID, sub.SubscriptionID, []byte("metrics")
	if resp := s.do(push, 0).(*kmsg.PushTelemetryResponse); resp.ErrorCode != 0 {
		t.Errorf("got %+v", resp)
	}
	push.ClientInstanceID = [16]byte{}
	if resp := s.do(push, 0).(*kmsg.PushTelemetryResponse); resp.ErrorCode != codeInvalidRequest {
		t.Errorf("a push of nobody: %+v", resp)
	}
}

// TestTelemetryClient follows one client, step by step (ClientMetricsManager, ClientMetricsInstance).
func TestTelemetryClient(t *testing.T) {
	tel := newTelemetry()
	now := time.Unix(1000, 0)
	id := newUUID()
	get := func(want int16) {
		t.Helper()
		if got, code := tel.subscribe(now, id); code != want || got != id {
			t.Errorf("get: code %d, want %d", code, want)
		}
	}
	push := func(change func(*kmsg.PushTelemetryRequest), want int16) {
		t.Helper()
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID, req.Metrics = id, subscriptionOf(id), make([]byte, 10)
		if change != nil {
			change(req)
		}
		if code := tel.push(now, req, 10); code != want {
			t.Errorf("push: code %d, want %d", code, want)
		}
	}
	get(0)
	now = now.Add(time.Minute)
	push(nil, 0) // the first one may come early
	push(nil, codeThrottlingQuotaExceeded)
	get(codeThrottlingQuotaExceeded)
	now = now.Add(telemetryInterval)
	push(func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 11) }, codeTelemetryTooLarge)
	now = now.Add(telemetryInterval)
	push(func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 5 }, codeUnsupportedCompression)
	now = now.Add(time.Second)
	get(0) // who was told that something is wrong may ask at once
	push(func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }, codeUnknownSubscriptionID)
	now = now.Add(time.Second)
	get(0)
	push(func(r *kmsg.PushTelemetryRequest) { r.Terminating = true }, 0)
	push(nil, codeInvalidRequest) // nothing comes after that
}

// TestTelemetryIsBounded: clients beyond the limit, and those that went silent, are forgotten.
func TestTelemetryIsBounded(t *testing.T) {
	tel := newTelemetry()
	now := time.Unix(1000, 0)
	id := func(i int) (id [16]byte) {
		binary.BigEndian.PutUint32(id[:], uint32(i+1))
		return id
	}
	for i := range telemetryInstancesMax + 100 {
		tel.subscribe(now, id(i))
	}
	if n := len(tel.mu.byID); n != telemetryInstancesMax || tel.mu.recent.Len() != n {
		t.Fatalf("%d clients, %d in the list", n, tel.mu.recent.Len())
	}
	if _, code := tel.subscribe(now, id(50)); code != 0 {
		t.Errorf("the one that was heard of first is still known: code %d", code)
	}
	if _, code := tel.subscribe(now, id(telemetryInstancesMax)); code != codeThrottlingQuotaExceeded {
		t.Errorf("a recent one is forgotten: code %d", code)
	}
	if n := len(tel.mu.byID); n != telemetryInstancesMax {
		t.Errorf("%d clients", n)
	}
	now = now.Add(telemetryExpiry)
	tel.subscribe(now, id(0))
	if n := len(tel.mu.byID); n != 1 {
		t.Errorf("%d clients are left", n)
	}
}
