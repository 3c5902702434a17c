package cli

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kgo"
)

// member GROUP TOPIC [next] joins a group and waits until it is assigned something; members leave with "left". With "next" it uses
// the consumer protocol.
func (w *world) member(d *datadriven.TestData) string {
	group, topic := d.CmdArgs[0].Key, d.CmdArgs[1].Key
	ctx := context.Background()
	if d.HasArg("next") {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //nolint:staticcheck // the key kgo looks for
	}
	assigned := make(chan struct{}, 100)
	client, err := kgo.NewClient(kgo.SeedBrokers(w.addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("member"),
		kgo.Balancers(kgo.RangeBalancer()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.WithContext(ctx), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { assigned <- struct{}{} }))
	if err != nil {
		d.Fatalf(w.t, "%v", err)
	}
	w.members = append(w.members, client)
	<-assigned
	return ""
}

func (w *world) left() string {
	for _, client := range w.members {
		client.LeaveGroup()
		client.Close()
	}
	w.members = nil
	return ""
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "P1D": 24 * time.Hour, "P1DT12H": 36 * time.Hour, "PT1H30M": 90 * time.Minute, "PT0.5S": 500 * time.Millisecond,
		"PT2M3S": 123 * time.Second, "0s": 0,
	} {
		if got, err := parseDuration(in); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "P", "PT", "1x", "-5m", "P1H", "PT1D", "P99999999D", "P1DT12H "} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestParseDatetime(t *testing.T) {
	want := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, in := range []string{"2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2026-01-31T12:00", "2026-01-31T12:00:00.000", "2026-01-31T14:00:00+02:00", "2026-01-31T14:00:00+0200"} {
		if got, err := parseDatetime(in); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v", in, got, err)
		}
	}
	for _, in := range []string{"", "yesterday", "2026-02-30", "12:00"} {
		if got, err := parseDatetime(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func TestResetTopics(t *testing.T) {
	for _, test := range []struct {
		topics []string
		topic  string
		want   []int32
		bad    bool
	}{
		{[]string{"a:1,0", "a:1,2"}, "a", []int32{1, 0, 2}, false},
		{[]string{"a:1", "a"}, "a", nil, false}, {[]string{"a", "a:1"}, "a", nil, false},
		{[]string{"a:"}, "a", nil, true}, {[]string{"a:x"}, "a", nil, true}, {[]string{"a:-1"}, "a", nil, true},
	} {
		r := resetFlags{topics: test.topics}
		err := r.parseTopics()
		if got, named := r.partitionsByTopic[test.topic]; (err != nil) != test.bad || !test.bad && (!named || !slices.Equal(got, test.want)) {
			t.Errorf("%v: %v %v", test.topics, r.partitionsByTopic, err)
		}
	}
}
