package wire

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDecodedBytesCountWhatIsKept: what a request keeps until its answer counts, also where it is a few elements only.
func TestDecodedBytesCountWhatIsKept(t *testing.T) {
	const numbers = 500_000
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Version = 8
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.Partitions = "topic", make([]int32, numbers)
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = "group", append(g.Topics, topic)
	offsets.Groups = append(offsets.Groups, g)

	old := kmsg.NewPtrOffsetFetchRequest()
	old.Version, old.Group = 5, "group"
	old.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: make([]int32, numbers)}}

	names := kmsg.NewPtrDeleteGroupsRequest()
	names.Version = 2
	for range 10 {
		names.Groups = append(names.Groups, strings.Repeat("g", 30_000))
	}
	tagged := kmsg.NewPtrDeleteGroupsRequest()
	tagged.Version = 2
	tagged.UnknownTags.Set(1000, make([]byte, 700_000))

	records := produce(12, make([]byte, 600_000)) // aliases the frame
	records.Topics[0].Topic = "topic"

	for _, c := range []struct {
		name string
		req  kmsg.Request
		want int64
	}{
		{"numbers", offsets, 2*elementBytes + 10 + 4*numbers},
		{"numbers of an old version", old, elementBytes + 10 + 4*numbers},
		{"strings", names, 10 * (elementBytes + 30_000)},
		{"tags", tagged, (taggedElements+1)*elementBytes + 700_000},
		{"records", records, 2*elementBytes + 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDecoder(t, 100<<20, API{Key: 0, Max: 12}, API{Key: 9, Max: 10}, API{Key: 42, Max: 2})
			r := &Request{Session: &Session{}}
			_, got, err := d.Header(frameOf(c.req, nil, 1)[SizeBytes:], r)
			if err != nil || got != c.want {
				t.Errorf("%d bytes, want %d; %v", got, c.want, err)
			}
		})
	}
}
