package broker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// CreateTopics, versions 2 to 7.
//
// The rules and their order are ControllerApis.createTopics and
// ReplicationControlManager.createTopics: a name that is there twice is refused as a
// whole, and every other topic succeeds or fails on its own; all that succeed are one
// atomic step. From version 5 the answer has the layout and the configuration
// (KIP-525), from version 7 the topic id.
//
// Skipped: the timeout, because the answer comes when the topics are durable; create
// policies; quotas.

func (b *Broker) handleCreateTopics(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.createTopics(req), nil })
}

func (b *Broker) createTopics(req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	names := make([]string, len(req.Topics))
	for i := range req.Topics {
		names[i] = req.Topics[i].Topic
	}
	single, twice := splitDuplicates(names)
	var specs []catalog.TopicSpec
	for i := range req.Topics {
		if single[req.Topics[i].Topic] {
			specs = append(specs, topicSpec(&req.Topics[i]))
		}
	}
	shared := map[*catalog.ConfigEntry][]kmsg.CreateTopicsResponseTopicConfig{}
	for i, c := range b.o.Catalog.CreateTopics(specs, req.ValidateOnly) {
		out := b.createdTopic(specs[i].Name, c)
		if c.Err == nil {
			out.Configs = createdConfig(shared, c.Config)
		}
		resp.Topics = append(resp.Topics, out)
	}
	for _, name := range twice {
		err := catalog.Refuse(catalog.ErrInvalidRequest, "Duplicate topic name.")
		resp.Topics = append(resp.Topics, b.createdTopic(name, catalog.Created{Err: err}))
	}
	return resp
}

// splitDuplicates tells the names that are there once from those that are there more
// often, each of these named once, in order.
func splitDuplicates(names []string) (single map[string]bool, twice []string) {
	single = make(map[string]bool, len(names))
	for _, name := range names {
		once, seen := single[name]
		switch {
		case !seen:
			single[name] = true
		case once:
			single[name] = false
			twice = append(twice, name)
		}
	}
	return single, twice
}

func topicSpec(t *kmsg.CreateTopicsRequestTopic) catalog.TopicSpec {
	spec := catalog.TopicSpec{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	for i := range t.ReplicaAssignment {
		a := &t.ReplicaAssignment[i]
		spec.Assignments = append(spec.Assignments, catalog.Assignment{Partition: a.Partition, Brokers: a.Replicas})
	}
	if len(t.Configs) > 0 {
		spec.Configs = make(map[string]*string, len(t.Configs))
	}
	for i := range t.Configs {
		spec.Configs[t.Configs[i].Name] = t.Configs[i].Value
	}
	return spec
}

func (b *Broker) createdTopic(name string, c catalog.Created) kmsg.CreateTopicsResponseTopic {
	out := kmsg.NewCreateTopicsResponseTopic()
	out.Topic = name
	out.ErrorCode = b.code("create topic "+name, c.Err)
	out.ErrorMessage = clientMessage(out.ErrorCode, c.Err)
	if c.Err != nil {
		return out
	}
	out.TopicID, out.NumPartitions, out.ReplicationFactor = c.ID, c.Partitions, 1
	return out
}

// createdConfig translates a list once for all topics that share it: thousands of topics in one answer do not have
// thousands of copies.
func createdConfig(shared map[*catalog.ConfigEntry][]kmsg.CreateTopicsResponseTopicConfig, config []catalog.ConfigEntry) []kmsg.CreateTopicsResponseTopicConfig {
	if len(config) == 0 {
		return nil
	}
	if out, found := shared[&config[0]]; found {
		return out
	}
	out := make([]kmsg.CreateTopicsResponseTopicConfig, len(config))
	for i := range config {
		e, x := &config[i], &out[i]
		x.Default()
		x.Name, x.Value, x.Source = e.Name, configValue(e), int8(e.Source)
		x.ReadOnly, x.IsSensitive = e.ReadOnly, e.Sensitive
	}
	shared[&config[0]] = out
	return out
}
