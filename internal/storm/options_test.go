package storm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math"
	"math/big"
	"testing"
	"time"
)

// serverTLS makes a certificate of its own.
func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options { o := Defaults(); o.Bootstrap = []string{"127.0.0.1:9092"}; return o }
	o := good()
	if err := o.Check(); err != nil || o.Mode != Fast {
		t.Fatalf("%v, mode %q", err, o.Mode)
	}
	o = good()
	o.AB = true
	if err := o.Check(); err != nil || o.Mode != Faithful || o.Rate != abRate {
		t.Fatalf("%v, mode %q, rate %v", err, o.Mode, o.Rate)
	}
	for name, set := range map[string]func(*Options){
		"no broker":        func(o *Options) { o.Bootstrap = nil },
		"mode":             func(o *Options) { o.Mode = "slow" },
		"ab of control":    func(o *Options) { o.AB, o.Mode = true, Control },
		"no-close of fast": func(o *Options) { o.NoClose = true },
		"pipeline 0":       func(o *Options) { o.Pipeline = 0 },
		"rate -1":          func(o *Options) { o.Rate = -1 },
		"rate NaN":         func(o *Options) { o.Rate = math.NaN() },
		"6 batches":        func(o *Options) { o.Batches = 6 },
		"acks 0":           func(o *Options) { o.Acks = 0 },
		"record -1":        func(o *Options) { o.RecordBytes = -1 },
		"record too large": func(o *Options) { o.RecordBytes = RecordBytesMax + 1 },
		"wide and large":   func(o *Options) { o.Mode, o.Partitions, o.RecordBytes = Wide, 1000, 100_000 },
		"foreign topic":    func(o *Options) { o.Topic = "orders" },
		"long topic":       func(o *Options) { o.Topic = TopicPrefix + string(make([]byte, 200)) },
		"reuse of nothing": func(o *Options) { o.ReuseTopic = true },
		"config of a reused topic": func(o *Options) {
			o.ReuseTopic, o.Topic, o.TopicConfig = true, TopicPrefix+"a", map[string]string{"a": "b"}
		},
		"0 partitions":              func(o *Options) { o.Partitions = 0 },
		"replication 0":             func(o *Options) { o.Replication = 0 },
		"sample of control":         func(o *Options) { o.Mode, o.RetrySample = Control, 1 },
		"sample too large":          func(o *Options) { o.RetrySample = SampleMax + 1 },
		"sample of a deleted topic": func(o *Options) { o.RetrySample, o.SampleOut = 1, "file" },
		"sample of no size":         func(o *Options) { o.Keep, o.SampleOut = true, "file" },
		"retry and storm":           func(o *Options) { o.Retry, o.RetrySample = "file", 1 },
		"exact without a sample":    func(o *Options) { o.RequireExact = true },
		"0 rounds":                  func(o *Options) { o.RetryRounds = 0 },
		"no producers and no probe": func(o *Options) { o.MaxProducers = 0 },
		"no bytes":                  func(o *Options) { o.MaxBytes = 0 },
		"no time":                   func(o *Options) { o.MaxDuration = 0 },
		"no connections":            func(o *Options) { o.Connections = 0 },
		"more connections than cap": func(o *Options) { o.MaxConnections = o.Connections - 1 },
		"cap above all caps":        func(o *Options) { o.MaxConnections = ConnectionsMax + 1 },
		"no stall":                  func(o *Options) { o.Stall = 0 },
		"probe into the past":       func(o *Options) { o.Probe = -1 },
	} {
		o := good()
		set(&o)
		if err := o.Check(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
