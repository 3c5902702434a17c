package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coldstate"
	"ottla/internal/group"
)

// ErrLoading says that a part of the groups is still being loaded, ErrOffline that none can be served: for a handler
// COORDINATOR_LOAD_IN_PROGRESS and COORDINATOR_NOT_AVAILABLE.
var (
	ErrLoading = errors.New("coordinator: groups are still loading")
	ErrOffline = errors.New("coordinator: not available")
)

// List visits the groups whose state and type are among those given, ignoring case (empty: all), in no particular order. It reads
// the disk: call it from Wait. fn may not call the coordinator; an error of it ends the walk. ErrLoading while a part of the groups
// is still being loaded.
func (c *Coordinator) List(ctx context.Context, states, types []string, fn func(group.Listing) error) error {
	states, types = lowered(states), lowered(types)
	wanted := func(l group.Listing) error {
		if len(states) > 0 && !slices.Contains(states, strings.ToLower(l.State)) ||
			len(types) > 0 && !slices.Contains(types, strings.ToLower(l.Type)) {
			return nil
		}
		return fn(l)
	}
	for _, s := range c.all() {
		if err := s.list(ctx, wanted); err != nil {
			return err
		}
	}
	return nil
}

func lowered(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, strings.ToLower(strings.TrimSpace(s)))
	}
	return out
}

// list visits the groups in memory and then those of the cold store that were not.
func (s *shard) list(ctx context.Context, fn func(group.Listing) error) error {
	listings, num, code := s.liveListings()
	switch code {
	case 0:
	case codeLoading:
		return ErrLoading
	case codeNotCoordinator:
		return nil
	default:
		return ErrOffline
	}
	seen := make(map[string]bool, len(listings))
	for _, l := range listings {
		seen[l.ID] = true
		if err := fn(l); err != nil {
			return err
		}
	}
	err := s.c.eachGroup(ctx, num, func(id string) error {
		if seen[id] {
			return nil
		}
		g, _, err := s.c.readGroup(num, id)
		if err != nil {
			return err
		}
		g.Simple() // what has no record has offsets
		return fn(g.Listing())
	})
	if errors.Is(err, coldstate.ErrFatal) || errors.Is(err, coldstate.ErrClosed) {
		return ErrOffline
	}
	return err
}

// liveListings are the groups in memory that exist for others.
func (s *shard) liveListings() (out []group.Listing, num uint64, code int16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := s.enterLocked(); code != 0 {
		return nil, 0, code
	}
	for _, l := range s.mu.groups {
		if !l.broken && l.g.Exists() {
			out = append(out, l.g.Listing())
		}
	}
	return out, s.mu.p.Num(), 0
}

// eachGroup visits every group that has a record in the cold store, once, however many records it has. fn may use the store.
func (c *Coordinator) eachGroup(ctx context.Context, num uint64, fn func(id string) error) error {
	for _, space := range []byte{spaceGroup, spaceOffset} {
		var from []byte
		for more := true; more; {
			ids, next, err := c.groupIDs(num, space, from, scanChunk)
			if err != nil {
				return err
			}
			from, more = next, next != nil
			for _, id := range ids {
				if err := ctx.Err(); err != nil {
					return err
				}
				if space == spaceOffset {
					// It was visited if it has metadata.
					_, some, err := c.o.Store.ScanBytes(num, groupPrefix(spaceGroup, id), nil, 0, nil)
					if err != nil {
						return err
					}
					if some {
						continue
					}
				}
				if err := fn(id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// groupIDs returns at most limit groups that have a record in a space, from the key from on, and where to go on; nil at the end. A
// group costs a seek.
func (c *Coordinator) groupIDs(num uint64, space byte, from []byte, limit int) (ids []string, next []byte, err error) {
	next, more, err := c.o.Store.ScanBytes(num, []byte{space}, from, limit, func(key, _ []byte) ([]byte, error) {
		id, _, err := splitCold(key)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
		return coldstate.AfterPrefix(groupPrefix(space, id)), nil
	})
	if !more {
		next = nil
	}
	return ids, next, err
}

// look runs fn on a group, whether it is in memory or not, or returns the code why that is not possible.
func (c *Coordinator) look(id string, fn func(g *group.Group)) int16 {
	s := c.shard(id)
	if s == nil {
		return c.codeNoTopic()
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, code := s.groupLocked(id, now)
	if code != 0 {
		return code
	}
	defer s.settleLocked(l, now)
	if err := s.simpleLocked(l); err != nil {
		return codeNotAvailable
	}
	fn(l.g)
	return 0
}

// Describe handles DescribeGroups, in the order of ids, without what the version leaves out (see group.Group.Describe). It may read
// the disk: call it from Wait.
func (c *Coordinator) Describe(ctx context.Context, ids []string) []kmsg.DescribeGroupsResponseGroup {
	out := make([]kmsg.DescribeGroupsResponseGroup, 0, len(ids))
	for _, id := range ids {
		d := kmsg.NewDescribeGroupsResponseGroup()
		code := codeNotAvailable
		if ctx.Err() == nil {
			code = c.look(id, func(g *group.Group) { d = g.Describe() })
		}
		if code != 0 {
			d.Group, d.ErrorCode = id, code
		}
		out = append(out, d)
	}
	return out
}

// DescribeConsumer handles ConsumerGroupDescribe, in the order of ids. It may read the disk: call it from Wait.
func (c *Coordinator) DescribeConsumer(ctx context.Context, ids []string) []kmsg.ConsumerGroupDescribeResponseGroup {
	out := make([]kmsg.ConsumerGroupDescribeResponseGroup, 0, len(ids))
	for _, id := range ids {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		code := codeNotAvailable
		if ctx.Err() == nil {
			code = c.look(id, func(g *group.Group) { d = g.DescribeConsumer(c.o.Topics()) })
		}
		if code != 0 {
			d.Group, d.ErrorCode = id, code
		}
		out = append(out, d)
	}
	return out
}
