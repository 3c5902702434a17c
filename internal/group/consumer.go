package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

type consumerGroup struct{}

// stepConsumerHeartbeat is for any group: of no type, classic (converted when it is empty, else migrated), consumer.
func (g *Group) stepConsumerHeartbeat(now time.Time, call Call, req *kmsg.ConsumerGroupHeartbeatRequest, client Client, topics Topics, out *Output) {
}

// stepClassicAtConsumer is JoinGroup, SyncGroup, Heartbeat, LeaveGroup at a group of the consumer type.
func (g *Group) stepClassicAtConsumer(now time.Time, call Call, req kmsg.Request, client Client, topics Topics, out *Output) {
}

func (g *Group) tickConsumer(now time.Time, topics Topics, out *Output) {}

func (g *Group) commitAllowedConsumer(c CommitCheck, now time.Time) int16 { return 0 }

func (g *Group) replayConsumer(version int16, r Record) error { return nil }

func (g *Group) loadedConsumer(now time.Time, topics Topics) {}

func (c *consumerGroup) deadline() (time.Time, bool) { return time.Time{}, false }

func (c *consumerGroup) abandon(code int16, out *Output) {}

func (c *consumerGroup) idle() bool { return true }

func (c *consumerGroup) fetchAllowed(member string, epoch int32) int16 { return 0 }

func (c *consumerGroup) deleteAllowed() int16 { return 0 }

func (c *consumerGroup) subscribed(topic string) bool { return false }

func (c *consumerGroup) tombstones(out *Output) {}

func (c *consumerGroup) stateName() string { return "Empty" }

func (c *consumerGroup) describe(topics Topics) kmsg.ConsumerGroupDescribeResponseGroup {
	return kmsg.NewConsumerGroupDescribeResponseGroup()
}

func (c *consumerGroup) membersCount() int { return 0 }
