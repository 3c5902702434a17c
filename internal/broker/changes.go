package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// What clients change for good is logged, one line for each request: an operator who asks on a Monday where a topic went
// finds when that was and who asked. A request can name a hundred thousand things, a line can not.
const (
	changesNamedMax      = 20  // things that a line names; of the others it tells the number
	changeValueBytesMax  = 100 // of a configuration's value, or a transactional id
	changeNotNamedFormat = "and %d more"
)

// changeReply logs what an answer says was changed, before it is sent.
type changeReply struct {
	wire.Reply
	b *Broker
	r *wire.Request
}

func (c changeReply) Wait(ctx context.Context) (wire.Response, error) {
	resp, err := c.Reply.Wait(ctx)
	if err == nil {
		c.b.logChange(c.r, resp)
	}
	return resp, err
}

// loggingChanges returns the reply, or one that also logs if the request is of a kind that changes something for good.
func (b *Broker) loggingChanges(r *wire.Request, reply wire.Reply) wire.Reply {
	switch r.Body.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest, *kmsg.DeleteRecordsRequest,
		*kmsg.AlterConfigsRequest, *kmsg.IncrementalAlterConfigsRequest, *kmsg.DeleteGroupsRequest, *kmsg.OffsetDeleteRequest:
		if b.log.Enabled(context.Background(), slog.LevelInfo) {
			return changeReply{Reply: reply, b: b, r: r}
		}
	}
	return reply
}

// changed collects the names of what was changed.
type changed struct {
	names []string
	more  int
}

func (c *changed) add(code int16, name func() string) {
	switch {
	case code != codeNone:
	case len(c.names) == changesNamedMax:
		c.more++
	default:
		c.names = append(c.names, name())
	}
}

func (c *changed) String() string {
	text := strings.Join(c.names, ", ")
	if c.more > 0 {
		text += " " + fmt.Sprintf(changeNotNamedFormat, c.more)
	}
	return text
}

func (b *Broker) logChange(r *wire.Request, resp wire.Response) {
	var c changed
	what := ""
	switch resp := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		if !r.Body.(*kmsg.CreateTopicsRequest).ValidateOnly {
			what = "topics created"
		}
		for i := range resp.Topics {
			c.add(resp.Topics[i].ErrorCode, func() string { return resp.Topics[i].Topic })
		}
	case *kmsg.DeleteTopicsResponse:
		what = "topics deleted"
		for i := range resp.Topics {
			c.add(resp.Topics[i].ErrorCode, func() string { return *resp.Topics[i].Topic })
		}
	case *kmsg.CreatePartitionsResponse:
		what = c.partitions(r.Body.(*kmsg.CreatePartitionsRequest), resp)
	case *kmsg.DeleteRecordsResponse:
		what = "records deleted"
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				c.add(p.ErrorCode, func() string { return fmt.Sprintf("%s-%d before %d", t.Topic, p.Partition, p.LowWatermark) })
			}
		}
	case *kmsg.AlterConfigsResponse:
		what = c.configs(r.Body.(*kmsg.AlterConfigsRequest), resp)
	case *kmsg.IncrementalAlterConfigsResponse:
		what = c.incremental(r.Body.(*kmsg.IncrementalAlterConfigsRequest), resp)
	case *kmsg.DeleteGroupsResponse:
		what = "groups deleted"
		for i := range resp.Groups {
			c.add(resp.Groups[i].ErrorCode, func() string { return resp.Groups[i].Group })
		}
	case *kmsg.OffsetDeleteResponse:
		what = "committed offsets deleted"
		group := r.Body.(*kmsg.OffsetDeleteRequest).Group
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				c.add(p.ErrorCode, func() string { return fmt.Sprintf("%s-%d of %s", t.Topic, p.Partition, group) })
			}
		}
	}
	if what != "" && len(c.names) > 0 {
		b.log.Info(what, "which", c.String(), "client", r.ClientID, "address", r.Session.RemoteAddr.String())
	}
}

func (c *changed) partitions(req *kmsg.CreatePartitionsRequest, resp *kmsg.CreatePartitionsResponse) string {
	if req.ValidateOnly {
		return ""
	}
	count := make(map[string]int32, len(req.Topics))
	for i := range req.Topics {
		count[req.Topics[i].Topic] = req.Topics[i].Count
	}
	for i := range resp.Topics {
		name := resp.Topics[i].Topic
		c.add(resp.Topics[i].ErrorCode, func() string { return fmt.Sprintf("%s now %d", name, count[name]) })
	}
	return "partitions added"
}

func (c *changed) configs(req *kmsg.AlterConfigsRequest, resp *kmsg.AlterConfigsResponse) string {
	if req.ValidateOnly {
		return ""
	}
	for i := range resp.Resources {
		c.add(resp.Resources[i].ErrorCode, func() string {
			var keys changed
			for _, k := range req.Resources[i].Configs {
				keys.add(codeNone, func() string { return k.Name + "=" + configText(k.Value) })
			}
			return fmt.Sprintf("%s: only %s", resourceText(req.Resources[i].ResourceType, req.Resources[i].ResourceName), keys.String())
		})
	}
	return "configuration changed"
}

func (c *changed) incremental(req *kmsg.IncrementalAlterConfigsRequest, resp *kmsg.IncrementalAlterConfigsResponse) string {
	if req.ValidateOnly {
		return ""
	}
	verb := map[catalog.AlterOp]string{catalog.OpSet: "=", catalog.OpDelete: " unset", catalog.OpAppend: " with ", catalog.OpSubtract: " without "}
	for i := range resp.Resources {
		c.add(resp.Resources[i].ErrorCode, func() string {
			var keys changed
			for _, k := range req.Resources[i].Configs {
				keys.add(codeNone, func() string {
					op := catalog.AlterOp(k.Op)
					if op == catalog.OpDelete {
						return k.Name + verb[op]
					}
					return k.Name + verb[op] + configText(k.Value)
				})
			}
			return fmt.Sprintf("%s: %s", resourceText(req.Resources[i].ResourceType, req.Resources[i].ResourceName), keys.String())
		})
	}
	return "configuration changed"
}

func configText(value *string) string {
	if value == nil {
		return ""
	}
	return clipped(*value)
}

func clipped(s string) string {
	if len(s) > changeValueBytesMax {
		return s[:changeValueBytesMax] + "..."
	}
	return s
}

func resourceText(kind kmsg.ConfigResourceType, name string) string {
	return strings.TrimSpace(strings.ToLower(kind.String()) + " " + name)
}

// logTransactions tells the operator of a client that asks for transactions: librdkafka asks again and again, and shows its
// user nothing but a time-out.
func (b *Broker) logTransactions(r *wire.Request, id string) {
	if omitted, speak := b.transactions.next(time.Now()); speak {
		b.log.Warn("a client asks for transactions, which this broker does not serve", "transactional_id", clipped(id), "client", r.ClientID,
			"address", r.Session.RemoteAddr.String(), "more_before", omitted)
	}
}
