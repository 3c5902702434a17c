package collect

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

// Configuration keys that tell vendors and versions apart.
const (
	keyExpiration = "producer.id.expiration.ms"
	keyOttla      = "producer.state.memory.bytes"
	keyAutoMQ     = "elasticstream.enable"
)

// brokerKeys and topicKeys are all that is asked for: a broker's other configuration is nobody's business. Each vendor and version
// answers those that it has.
var (
	brokerKeys = []string{
		keyExpiration, "producer.id.expiration.check.interval.ms",
		"transactional.id.expiration.ms", "transaction.remove.expired.transaction.cleanup.interval.ms", "transaction.max.timeout.ms",
		"log.retention.ms", "log.retention.minutes", "log.retention.hours", "log.retention.bytes", "log.retention.check.interval.ms",
		"log.cleanup.policy", "log.segment.bytes", "log.roll.ms", "log.roll.hours", "log.message.timestamp.type",
		"log.message.timestamp.difference.max.ms", "log.message.timestamp.after.max.ms",
		"default.replication.factor", "num.partitions", "auto.create.topics.enable",
		"authorizer.class.name", "inter.broker.protocol.version", "process.roles",
		keyOttla, keyAutoMQ,
	}
	topicKeys = []string{
		"retention.ms", "retention.bytes", "cleanup.policy", "message.timestamp.type", "segment.ms", "segment.bytes", "delete.retention.ms",
		"message.timestamp.difference.max.ms", "message.timestamp.after.max.ms", "remote.storage.enable",
		"redpanda.remote.read",
	}
)

const (
	configTopicsAtOnce = 250 // topics in one request
	configValueBytes   = 150 // most of one key, its value and its source in an answer
	configValueMax     = 500 // bytes of one value that are kept
)

var sourceConfigs = source{
	name:        evidence.SourceConfigs,
	what:        "named configuration keys of each broker and topic: state life, retention, replication",
	permissions: "DESCRIBE_CONFIGS on Cluster, DESCRIBE_CONFIGS on the topics",
	run:         askConfigs,
	most: func(s *step) (int64, int64) {
		b, t := int64(len(s.scan.Brokers)), int64(len(s.scan.Topics))
		return b + (t+configTopicsAtOnce-1)/configTopicsAtOnce, configValueBytes * (b*int64(len(brokerKeys)) + t*int64(len(topicKeys)))
	},
}

func askConfigs(ctx context.Context, s *step) error {
	askBrokerConfigs(ctx, s)
	s.write(identify)
	askTopicConfigs(ctx, s)
	s.write(identify)
	return nil
}

// askBrokerConfigs asks each broker about itself: another would not know its static configuration.
func askBrokerConfigs(ctx context.Context, s *step) {
	brokers := map[int32]*evidence.Broker{}
	for i := range s.scan.Brokers {
		brokers[s.scan.Brokers[i].ID] = &s.scan.Brokers[i]
	}
	perBroker(ctx, s, oneEach(s.answering()), func(ctx context.Context, id int32, _ struct{}) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Resources = []kmsg.DescribeConfigsRequestResource{resource(kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id)), brokerKeys)}
		resp, err := req.RequestWith(ctx, s.at(id, configValueBytes*int64(len(brokerKeys))))
		if err != nil {
			s.trouble(err, "")
			return
		}
		if len(resp.Resources) == 0 {
			s.trouble(fmt.Errorf("configuration of broker %d: %w", id, errNothing), "")
			return
		}
		for i := range resp.Resources {
			r := &resp.Resources[i]
			if err := coded(r.ErrorCode); err != nil {
				s.trouble(fmt.Errorf("configuration of broker %d: %w", id, err), "DESCRIBE_CONFIGS on Cluster")
				continue
			}
			values := configValues(r.Configs, brokerKeys)
			s.write(func(*evidence.Scan) { brokers[id].Configs = values })
			s.ok()
		}
	})
}

// askTopicConfigs spreads topics in batches over the brokers: any of them knows all topics.
func askTopicConfigs(ctx context.Context, s *step) {
	topics := map[string]*evidence.Topic{}
	var batches [][]string
	for i := range s.scan.Topics {
		t := &s.scan.Topics[i]
		topics[t.Name] = t
		if i%configTopicsAtOnce == 0 {
			batches = append(batches, nil)
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], t.Name)
	}
	brokers := s.answering()
	if len(brokers) == 0 {
		return
	}
	work := map[int32][][]string{}
	for i, b := range batches {
		id := brokers[i%len(brokers)]
		work[id] = append(work[id], b)
	}
	perBroker(ctx, s, work, func(ctx context.Context, id int32, names []string) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range names {
			req.Resources = append(req.Resources, resource(kmsg.ConfigResourceTypeTopic, name, topicKeys))
		}
		resp, err := req.RequestWith(ctx, s.at(id, configValueBytes*int64(len(topicKeys)*len(names))))
		if err != nil {
			s.trouble(err, "")
			return
		}
		if len(resp.Resources) == 0 {
			s.trouble(fmt.Errorf("configuration of %d topics: %w", len(names), errNothing), "")
		}
		for i := range resp.Resources {
			s.keepTopicConfig(topics, &resp.Resources[i])
		}
	})
}

func (s *step) keepTopicConfig(topics map[string]*evidence.Topic, r *kmsg.DescribeConfigsResponseResource) {
	err := coded(r.ErrorCode)
	t := topics[r.ResourceName]
	switch {
	case err == nil && t == nil:
		err = errors.New("an answer about a topic that was not asked for")
	case err == nil:
		s.write(func(*evidence.Scan) { t.Configs = configValues(r.Configs, topicKeys) })
		s.ok()
		return
	}
	s.trouble(fmt.Errorf("configuration of topics: %w", err), "DESCRIBE_CONFIGS on Topic")
}

func resource(kind kmsg.ConfigResourceType, name string, keys []string) kmsg.DescribeConfigsRequestResource {
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, keys
	return r
}

// configValues keeps what was asked for: some vendors answer more.
func configValues(in []kmsg.DescribeConfigsResponseResourceConfig, keys []string) map[string]evidence.Value {
	asked := map[string]bool{}
	for _, k := range keys {
		asked[k] = true
	}
	out := map[string]evidence.Value{}
	for i := range in {
		c := &in[i]
		if !asked[c.Name] || c.Value == nil || c.IsSensitive || len(*c.Value) > configValueMax {
			continue
		}
		out[c.Name] = evidence.Value{Value: *c.Value, Source: configSource(c)}
	}
	return out
}

func configSource(c *kmsg.DescribeConfigsResponseResourceConfig) string {
	switch c.Source {
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "dynamic-topic"
	case kmsg.ConfigSourceDynamicBrokerConfig:
		return "dynamic-broker"
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return "dynamic-default-broker"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "static"
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	}
	if c.IsDefault { // version 0 says only this
		return "default"
	}
	return "unknown"
}
