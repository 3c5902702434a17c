package broker

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// DescribeConfigs, versions 1 to 4.
//
// What is shown is what is in force, with its source and its synonyms (KIP-226), type
// and documentation (KIP-569), as ConfigHelper does. An empty list of keys, or a null
// one, asks for all. The broker's own configuration is asked for by its id, what was
// set for all brokers by the empty name. A group that was told nothing, or does not exist,
// has what the broker gives to all groups (KIP-848, KIP-1043). There are no loggers or client
// metrics to configure: their lists are empty.
//
// Unlike Kafka's, an answer is bounded: resources beyond describedEntriesMax keys are
// refused, and the client may ask for them in another request.

// describedEntriesMax is room for all keys of more than ten thousand topics: some 100 MiB.
const describedEntriesMax = 1 << 18

func (b *Broker) handleDescribeConfigs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	return replyFunc(func(context.Context) (wire.Response, error) { return b.describeConfigs(req), nil })
}

func (b *Broker) describeConfigs(req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	left := describedEntriesMax
	for i := range req.Resources {
		rr := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		entries, err := b.configOf(catalog.ResourceType(rr.ResourceType), rr.ResourceName)
		if left -= len(entries); left < 0 {
			entries, err = nil, errTooManyConfigs
		}
		out.ErrorCode = b.code("describe configs of "+rr.ResourceName, err)
		if out.ErrorMessage = clientMessage(out.ErrorCode, err); out.ErrorMessage == nil || errors.Is(err, catalog.ErrUnknownTopic) {
			out.ErrorMessage = new(string) // as Kafka: empty, not null
		}
		for j := range entries {
			if len(rr.ConfigNames) == 0 || slices.Contains(rr.ConfigNames, entries[j].Name) {
				out.Configs = append(out.Configs, describedConfig(req, &entries[j]))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

var errTooManyConfigs = catalog.Refuse(catalog.ErrPolicyViolation, "Too many resources for one request.")

func (b *Broker) configOf(typ catalog.ResourceType, name string) ([]catalog.ConfigEntry, error) {
	switch typ {
	case catalog.ResourceTopic:
		return b.o.Catalog.TopicConfig(name)
	case catalog.ResourceBroker:
		if name == "" {
			return b.o.Catalog.BrokerDefaultConfig(), nil
		}
		if err := b.checkOwnID(name, " or empty string,"); err != nil {
			return nil, err
		}
		return b.o.Catalog.BrokerConfig(), nil
	case catalog.ResourceBrokerLogger:
		if name == "" {
			return nil, catalog.Refuse(catalog.ErrInvalidRequest, "Broker id must not be empty")
		}
		return nil, b.checkOwnID(name, "")
	case catalog.ResourceClientMetrics:
		if name == "" {
			return nil, catalog.Refuse(catalog.ErrInvalidRequest, "Client metrics subscription name must not be empty")
		}
		return nil, nil
	case catalog.ResourceGroup:
		if name == "" {
			return nil, catalog.Refuse(catalog.ErrInvalidRequest, "Group name must not be empty")
		}
		if b.o.Groups == nil {
			return nil, nil
		}
		return b.o.Catalog.GroupConfig(name), nil
	}
	return nil, catalog.Refuse(catalog.ErrInvalidRequest, "Unsupported resource type: %d", typ)
}

func (b *Broker) checkOwnID(name, or string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return catalog.Refuse(catalog.ErrInvalidRequest, "Broker id must be an integer, but it is: %s", name)
	}
	if int32(id) != b.o.NodeID {
		return catalog.Refuse(catalog.ErrInvalidRequest, "Unexpected broker id, expected %d%s but received %s", b.o.NodeID, or, name)
	}
	return nil
}

// configValue is null where there is no value, or where it is a secret.
func configValue(e *catalog.ConfigEntry) *string {
	if e.Null || e.Sensitive {
		return nil
	}
	return &e.Value
}

func describedConfig(req *kmsg.DescribeConfigsRequest, e *catalog.ConfigEntry) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value = e.Name, configValue(e)
	out.ReadOnly, out.IsSensitive = e.ReadOnly, e.Sensitive
	out.Source, out.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if req.IncludeSynonyms {
		for i := range e.Synonyms {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Source = e.Synonyms[i].Name, kmsg.ConfigSource(e.Synonyms[i].Source)
			if !e.Sensitive {
				s.Value = &e.Synonyms[i].Value
			}
			out.ConfigSynonyms = append(out.ConfigSynonyms, s)
		}
	}
	if req.IncludeDocumentation {
		out.Documentation = &e.Doc
	}
	return out
}
