package diagnose

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// The configuration keys that decide how long an entry lives, and how many there may be.
const (
	keyProducerExpiration      = "producer.id.expiration.ms"
	keyTransactionalExpiration = "transactional.id.expiration.ms"
	keyRedpandaProducers       = "max_concurrent_producer_ids"
	keyRedpandaExpiration      = "transactional_id_expiration_ms"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	// checkInterval is how often brokers look for idle producers: LogManager.ProducerIdExpirationCheckInterval, which later
	// became producer.id.expiration.check.interval.ms. An entry outlives its time by at most this.
	checkInterval = 10 * time.Minute
	// lifeMax keeps nonsense in configurations from overflowing times.
	lifeMax = 100 * 365 * day
)

// life is what the rules need beyond what is shown.
type life struct {
	StateLife
	read       bool  // the configuration was read
	entriesMax int64 // what a broker remembers at most, where it forgets the rest (Redpanda); 0: no limit
}

// lifeOf goes down the ladder. Configurations that were read decide over the version: a broker that names
// producer.id.expiration.ms has the rule of 3.4 (KIP-854), one that was asked and does not name it has an older one.
func lifeOf(c *evidence.Cluster, brokers []evidence.Broker, given evidence.Given) life {
	switch c.Vendor {
	case evidence.VendorRedpanda:
		return redpandaLife(brokers)
	case evidence.VendorOttla:
		l := kafkaLife(releases{least: newest, most: newest}, brokers, keyProducerExpiration, day)
		l.Bounded = "Ottla keeps what it remembers of producers in one memory budget and the rest on disk: memory does not grow with producers"
		l.Rule = "idle for " + keyProducerExpiration + " and its data gone; idle is measured by the broker's clock"
		return l
	case evidence.VendorWarpStream:
		return life{StateLife: StateLife{
			Seconds: day.Seconds(), Key: keyProducerExpiration, Source: "assumed: WarpStream does not say",
			Rule: "not known for WarpStream; taken as Kafka's default of 1 d",
		}}
	}
	v := releasesOf(c, given)
	dynamicKey, asked := valueOf(brokers, keyProducerExpiration), valueOf(brokers, keyTransactionalExpiration)
	switch {
	case dynamicKey.found && !(v.given && v.allBelow(3, 4)):
		return kafkaLife(v, brokers, keyProducerExpiration, day)
	case v.allBelow(3, 4), asked.found && (v.someBelow(3, 4) || !v.least.known()):
		return kafkaLife(v, brokers, keyTransactionalExpiration, week)
	}
	return kafkaLife(v, brokers, keyProducerExpiration, day)
}

func kafkaLife(v releases, brokers []evidence.Broker, key string, byDefault time.Duration) life {
	l := life{StateLife: StateLife{Seconds: byDefault.Seconds(), Key: key, Dynamic: key == keyProducerExpiration}}
	if value := valueOf(brokers, key); value.found {
		l.read = true
		l.Seconds, l.Source = value.number/1000, fmt.Sprintf("%s: %s of broker %d (%s)", evidence.SourceConfigs, key, value.broker, value.source)
	} else {
		l.Source = fmt.Sprintf("default of %s in Kafka %s; the configuration was not read", key, v)
		key = fmt.Sprintf("%s, by default %s (the configuration was not read)", key, phrase.SpanInWords(l.Seconds))
	}
	switch {
	case l.Dynamic:
		l.Rule = "3.4 and later: idle for " + key + ", looked for every 10 minutes; trimming the log frees nothing"
	case v.allBelow(2, 4):
		l.TrimmingHelps = true
		l.Rule = "0.11 to 2.3: until the log's start passes the producer's last offset, or idle for " + key
	default:
		l.Rule = "2.4 to 3.3: idle for " + key + ", looked for every 10 minutes; trimming the log frees nothing (KAFKA-7190)"
	}
	return l
}

// redpandaLife: the oldest producers are forgotten beyond a limit, and idle ones after a time.
func redpandaLife(brokers []evidence.Broker) life {
	l := life{StateLife: StateLife{
		Seconds: week.Seconds(), Key: keyRedpandaExpiration, Dynamic: true,
		Rule:    "Redpanda: idle for " + keyRedpandaExpiration + ", or the longest idle beyond " + keyRedpandaProducers,
		Source:  "default of " + keyRedpandaExpiration + "; the configuration was not read",
		Bounded: "Redpanda forgets the longest idle producers beyond " + keyRedpandaProducers + ": memory is bounded, but an idle producer that writes again gets an out-of-order error",
	}}
	for _, key := range []string{keyRedpandaExpiration, keyTransactionalExpiration} {
		if v := valueOf(brokers, key); v.found {
			l.read = true
			l.Seconds, l.Key, l.Source = v.number/1000, key, evidence.SourceConfigs+": "+key
			break
		}
	}
	if !l.read {
		l.Rule += fmt.Sprintf("; by default %s (the configuration was not read)", phrase.SpanInWords(l.Seconds))
	}
	if v := valueOf(brokers, keyRedpandaProducers); v.found && v.number < 1e15 {
		l.entriesMax = int64(v.number)
	} else if v.found {
		l.Bounded = "" // a limit of 2^64-1, the default of older versions, is none
	}
	return l
}

type configured struct {
	found  bool
	number float64
	broker int32
	source string
}

// valueOf is the largest positive value of a key on any broker: brokers may disagree, and the worst counts.
func valueOf(brokers []evidence.Broker, key string) configured {
	var out configured
	for i := range brokers {
		v, named := brokers[i].Configs[key]
		if !named {
			continue
		}
		n, err := strconv.ParseFloat(v.Value, 64)
		if err != nil || math.IsNaN(n) || n <= 0 {
			continue
		}
		if n = math.Min(n, 1e20); key != keyRedpandaProducers {
			n = math.Min(n, float64(lifeMax.Milliseconds()))
		}
		if !out.found || n > out.number {
			out = configured{true, n, brokers[i].ID, v.Source}
		}
	}
	return out
}

// of is how long the entries of one topic live: below 2.4 they go with the topic's data.
func (l *life) of(t *evidence.Topic) float64 {
	if !l.TrimmingHelps || t == nil {
		return l.Seconds
	}
	if compacted(t) && t.Configs["cleanup.policy"].Value == "compact" {
		return l.Seconds
	}
	if n, err := strconv.ParseFloat(t.Configs["retention.ms"].Value, 64); err == nil && n > 0 {
		return math.Min(l.Seconds, n/1000)
	}
	return l.Seconds
}

// Stay is the longest that an entry stays on the heap: its life and the wait for the next check.
func (l StateLife) Stay() time.Duration {
	return time.Duration(l.Seconds*float64(time.Second)) + checkInterval
}

// stay is how long an entry stays on the heap: its life and the wait for the next check.
func (l *life) stay(t *evidence.Topic) float64 { return l.of(t) + checkInterval.Seconds() }
