package coordinator

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"ottla/internal/coldstate"
	"ottla/internal/group"
)

// The sweep does not look at every group: the cold store has, in the order of time, which group is to be looked at when.
//
//	'e' time(8) group -> empty: look at the group then, milliseconds since 1970
//	'r'               -> retention(8), milliseconds: that by which these entries were made
//
// Every committed offset has an entry no later than the moment it can expire by its own time, and every other record of a group one for
// the next sweep: it may have been the last member, the last offset, or a subscription that kept offsets. Entries are written without
// looking what is there, together with the record they are for, and never for a time more than RetentionCheckMillis past. A look at a
// group leaves an entry for the offsets that stay and whose own entry is over, or too late: those committed after the last member left
// go with the others. An entry too many costs one look.
//
// Entries of offsets are rounded down to a part of the retention, so that a group has a bounded number of them however often it
// commits. A sweep costs O(groups that are due, with their offsets); a group that goes on committing is due dueSteps times per retention,
// and one that is left alone twice: when its offsets expire, and once more to see that it is gone.
const (
	spaceDue    = 'e'
	keyDueBasis = 'r'

	dueTimeBytes = 8

	// dueSteps is how many different entries the commits of one group make during one retention.
	dueSteps = 64
)

func dueKey(at int64, id string) []byte {
	k := make([]byte, 0, 1+dueTimeBytes+len(id))
	k = append(k, spaceDue)
	k = binary.BigEndian.AppendUint64(k, uint64(max(at, 0)))
	return append(k, id...)
}

func dueTime(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[1:])) }

// dues writes entries.
type dues struct {
	retention, check int64 // milliseconds
	// The last entry of the records of one batch: most have the same.
	num uint64
	at  int64
	id  string
}

func (c *Coordinator) newDues() dues {
	return dues{retention: c.o.Offsets.RetentionMillis, check: c.o.Offsets.RetentionCheckMillis}
}

// round is when to look at what can expire at the given time.
func (d *dues) round(at, now int64) int64 {
	if early := d.early(at); early > now {
		return early
	}
	return at
}

func (d *dues) early(at int64) int64 { return at - at%max(d.retention/dueSteps, 1) }

// of is when an offset can expire first.
func (d *dues) of(committed, expires int64) int64 {
	if expires != -1 {
		return expires
	}
	return committed + d.retention
}

// put adds the entry for a record to a batch; id is the record's group.
func (d *dues) put(b *coldstate.Batch, num uint64, r group.Record, kind group.Kind, id string, now int64) {
	at := now - now%max(d.check, 1)
	if kind == group.KindOffset && r.Value != nil {
		v, err := decodeOffset(r.Value)
		if err != nil {
			return // nobody will read it
		}
		at = max(at, d.round(d.of(v.committed, v.expires), now))
	}
	d.entry(b, num, at, id)
}

// putCommit adds the entry for all offsets of one commit to a batch.
func (d *dues) putCommit(b *coldstate.Batch, num uint64, t *commitTimes, id string, now int64) {
	d.entry(b, num, max(now-now%max(d.check, 1), d.round(d.of(t.committed, t.expires), now)), id)
}

func (d *dues) entry(b *coldstate.Batch, num uint64, at int64, id string) {
	if d.at == at && d.num == num && d.id == id {
		return
	}
	d.num, d.at, d.id = num, at, id
	b.PutBytes(num, dueKey(at, id), nil)
}

// dueGroup is a group to look at, and the entries that say so.
type dueGroup struct {
	id   string
	keys [][]byte
}

// expireShard looks at the groups of a shard that are due.
func (c *Coordinator) expireShard(s *shard) {
	now := time.Now()
	if !s.indexDue() {
		return
	}
	var from []byte
	for more := true; more; {
		var groups []dueGroup
		var ok bool
		if groups, from, ok = s.dueGroups(from, now); !ok {
			return
		}
		for i := range groups {
			if !s.expireGroup(&groups[i]) {
				return
			}
		}
		more = from != nil
	}
}

// dueGroups returns the groups of a chunk of entries up to now.
func (s *shard) dueGroups(from []byte, now time.Time) (groups []dueGroup, next []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.enterLocked() != 0 {
		return nil, nil, false
	}
	index, over := map[string]int{}, false
	next, more, err := s.c.o.Store.ScanBytes(s.mu.p.Num(), []byte{spaceDue}, from, scanChunk, func(key, _ []byte) ([]byte, error) {
		const head = 1 + dueTimeBytes
		if len(key) < head || over || binary.BigEndian.Uint64(key[1:]) > uint64(now.UnixMilli()) {
			over = true
			return []byte{spaceDue + 1}, nil // behind all of them
		}
		id := string(key[head:])
		i, known := index[id]
		if !known {
			i = len(groups)
			index[id] = i
			groups = append(groups, dueGroup{id: id})
		}
		groups[i].keys = append(groups[i].keys, slices.Clone(key))
		return nil, nil
	})
	if err != nil {
		s.c.warn("it could not be read which consumer groups are due", "error", err)
		return nil, nil, false
	}
	if !more || over {
		next = nil
	}
	return groups, next, true
}

// look is one look at a group, which may take the lock several times.
type look struct {
	*dueGroup
	// before is what the entries of records are not older than that are appended during the look, milliseconds since 1970.
	before int64
	// next is when to look again; math.MaxInt64: no offset stays that has no entry of its own.
	next int64
	// skipped says that some offsets could not be removed now.
	skipped bool
}

// expireGroup removes the expired offsets of a group, and the group if nothing is left, as
// GroupCoordinatorShard.cleanupGroupMetadata does. False: the shard cannot go on now.
func (s *shard) expireGroup(g *dueGroup) bool {
	k := &look{dueGroup: g, next: math.MaxInt64}
	if !s.beginLook(k) {
		return false
	}
	var from []byte
	for more := true; more; {
		chunk := s.expireChunk(k, from)
		if chunk.end == sweepCut || !s.await(chunk.wait) {
			return false
		}
		s.c.o.Metrics.OffsetsExpired.Add(float64(chunk.removed))
		k.skipped = k.skipped || chunk.end == sweepSkipped
		from = chunk.next
		more = from != nil
	}
	f, ok := s.endLook(k)
	if !ok || f != nil && !s.await([]*Future{f}) {
		return false
	}
	if f != nil {
		s.c.o.Metrics.GroupsDeleted.Inc()
	}
	return true
}

// beginLook returns when all that was appended to the group before is in the cold store; false if it never will be.
func (s *shard) beginLook(k *look) bool {
	now := time.Now().UnixMilli()
	k.before = now - now%max(s.c.o.Offsets.RetentionCheckMillis, 1)
	var wait []*Future
	s.mu.Lock()
	s.mu.looking, s.mu.changed = k.id, false
	if l := s.mu.groups[k.id]; l != nil {
		if f := l.appliedLocked(); f != nil {
			wait = append(wait, f)
		}
	}
	s.mu.Unlock()
	return s.await(wait)
}

// await returns when all futures are done; false if one failed.
func (s *shard) await(futures []*Future) bool {
	for _, f := range futures {
		if code, err := waitCode(s.c.ctx, f); err != nil || code != 0 {
			return false
		}
	}
	return true
}

// expireChunk removes the expired ones of a chunk of a group's offsets.
func (s *shard) expireChunk(k *look, from []byte) (chunk sweptChunk) {
	now := time.Now()
	d := s.c.newDues()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.enterLocked() != 0 {
		return sweptChunk{end: sweepCut}
	}
	offsets, next, err := s.c.offsetsFrom(s.mu.p.Num(), groupPrefix(spaceOffset, k.id), from)
	if err != nil {
		s.c.warn("committed offsets could not be read", "group", k.id, "error", err)
		return sweptChunk{end: sweepCut}
	}
	if chunk.next = next; len(offsets) == 0 {
		return chunk
	}
	s.sweepGroupLocked(offsets, func(l *live, topic string, v *offsetValue) bool {
		if s.c.expired(l, topic, v, now) {
			return true
		}
		k.stays(&d, l, topic, v, now.UnixMilli())
		return false
	}, now, &chunk)
	return chunk
}

// stays sees to an offset that has not expired.
func (k *look) stays(d *dues, l *live, topic string, v *offsetValue, now int64) {
	from, may := l.g.OffsetsExpireFrom(topic, time.UnixMilli(v.committed))
	own, at := d.of(v.committed, v.expires), d.of(from.UnixMilli(), v.expires)
	if !may { // members consume the topic: if that ends a record says so
		at = now + d.retention
	}
	if at >= own && d.early(own) > now {
		return // its own entry is still to come
	}
	k.next = min(k.next, d.round(at, now))
}

// endLook removes the group if it has neither members nor offsets, and replaces the entries that made it be looked at. Of them stay
// those that something that was appended meanwhile may have written again.
func (s *shard) endLook(k *look) (*Future, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.enterLocked() != 0 {
		return nil, false
	}
	f, looked := s.removeIfEmptyLocked(k.id, time.Now())
	b := s.c.o.Store.NewBatch()
	defer b.Close()
	num := s.mu.p.Num()
	if looked && !k.skipped {
		for _, key := range k.keys {
			if !s.mu.changed || dueTime(key) < k.before {
				b.DeleteBytes(num, key)
			}
		}
	}
	if k.next != math.MaxInt64 {
		b.PutBytes(num, dueKey(k.next, k.id), nil)
	}
	s.mu.looking = ""
	if err := b.Commit(); err != nil {
		s.c.warn("it could not be noted when a consumer group expires", "group", k.id, "error", err)
		return nil, false
	}
	return f, true
}

// indexDue makes the entries for all there is, if they were made by another retention or never.
func (s *shard) indexDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.enterLocked() != 0 {
		return false
	}
	p := s.mu.p
	if s.mu.indexed == p {
		return true
	}
	d := s.c.newDues()
	basis := binary.BigEndian.AppendUint64(nil, uint64(d.retention))
	had, found, err := s.c.o.Store.GetBytes(p.Num(), []byte{keyDueBasis}, nil)
	if err == nil && (!found || string(had) != string(basis)) {
		err = s.makeDuesLocked(&d, basis)
	}
	if err != nil {
		s.c.warn("it could not be noted when consumer groups expire; it is tried again", "error", err)
		return false
	}
	s.mu.indexed = p
	return true
}

// makeDuesLocked gives up the lock between chunks.
func (s *shard) makeDuesLocked(d *dues, basis []byte) error {
	b := s.c.o.Store.NewBatch()
	defer b.Close()
	p := s.mu.p
	for _, space := range []byte{spaceOffset, spaceGroup} {
		var from []byte
		for more := true; more; {
			if s.enterLocked() != 0 || s.mu.p != p {
				return ErrLoading
			}
			var err error
			now := time.Now().UnixMilli()
			from, more, err = s.c.o.Store.ScanBytes(p.Num(), []byte{space}, from, scanChunk, func(key, val []byte) ([]byte, error) {
				id, _, err := splitCold(key)
				if err != nil {
					return nil, err
				}
				kind := group.KindOffset
				if space == spaceGroup {
					kind = group.KindClassic // or of another type: it is looked at once
				}
				d.put(b, p.Num(), group.Record{Value: val}, kind, id, now)
				return nil, nil
			})
			if err == nil {
				err = b.Commit()
			}
			if err != nil {
				return err
			}
			s.mu.Unlock()
			s.mu.Lock()
		}
	}
	if s.mu.p != p {
		return ErrLoading
	}
	b.PutBytes(p.Num(), []byte{keyDueBasis}, basis)
	return b.Commit()
}
