package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/catalog"
	"ottla/internal/wire"
)

// DescribeLogDirs, versions 1 to 5.
//
// There is one directory. A null list of topics asks for all partitions; those that do
// not exist are left out of the answer, as in Kafka. The size of a partition that is
// not in use yet is read from its files: asking does not load it. From version 4 the
// answer has the space of the volume (KIP-827), from version 5 whether the directory
// is cordoned (KIP-1066), which it never is.

func (b *Broker) handleDescribeLogDirs(_ context.Context, r *wire.Request) wire.Reply {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	return replyFunc(func(ctx context.Context) (wire.Response, error) { return b.describeLogDirs(ctx, req), nil })
}

func (b *Broker) describeLogDirs(ctx context.Context, req *kmsg.DescribeLogDirsRequest) *kmsg.DescribeLogDirsResponse {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = b.o.DataDir
	dir.TotalBytes, dir.UsableBytes = b.o.Catalog.DiskBytes()
	if req.Topics == nil {
		for _, t := range b.o.Catalog.Topics() {
			b.addLogDirTopic(ctx, &dir, t, nil)
		}
	}
	wanted := make(map[string][]int32, len(req.Topics))
	var order []string
	for i := range req.Topics {
		rt := &req.Topics[i]
		if _, seen := wanted[rt.Topic]; !seen {
			order = append(order, rt.Topic)
		}
		wanted[rt.Topic] = append(wanted[rt.Topic], rt.Partitions...)
	}
	for _, name := range order {
		if t := b.topicByName(name); t != nil {
			b.addLogDirTopic(ctx, &dir, t, wanted[name])
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}

// addLogDirTopic adds the partitions of a topic, of nil all, each once.
func (b *Broker) addLogDirTopic(ctx context.Context, dir *kmsg.DescribeLogDirsResponseDir, t *catalog.Topic, indexes []int32) {
	if indexes == nil {
		for i := range t.Partitions {
			indexes = append(indexes, int32(i))
		}
	} else {
		indexes = slices.Compact(slices.Sorted(slices.Values(indexes)))
	}
	out := kmsg.NewDescribeLogDirsResponseDirTopic()
	out.Topic = t.Name
	for _, index := range indexes {
		p := partitionOf(t, index)
		if p == nil {
			continue
		}
		size, err := b.o.Catalog.SizeBytes(ctx, p)
		if err != nil {
			// The partition fails, not the volume; its next use says why.
			dir.ErrorCode = b.code("size of "+p.Dir(), err)
			continue
		}
		rp := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		rp.Partition, rp.Size = index, size
		out.Partitions = append(out.Partitions, rp)
	}
	if len(out.Partitions) > 0 {
		dir.Topics = append(dir.Topics, out)
	}
}
