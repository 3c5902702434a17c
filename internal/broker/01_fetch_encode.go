package broker

import "net"

// Key implements wire.Response.
func (f *fetch) Key() int16 { return 1 }

// IsFlexible implements wire.Response.
func (f *fetch) IsFlexible() bool { return f.version >= fetchFlexibleV }

// AppendTo implements wire.Response.
func (f *fetch) AppendTo(dst []byte) []byte {
	return f.encode(dst, func(e *encoder, data []byte) { e.b = append(e.b, data...) })
}

// segmentBytesMin is the least size of records that is worth a buffer of its own.
const segmentBytesMin = 4 << 10

// AppendBuffers implements wire.SegmentedResponse: records are not copied.
func (f *fetch) AppendBuffers(dst net.Buffers) net.Buffers {
	from := 0
	rest := f.encode(nil, func(e *encoder, data []byte) {
		if len(data) < segmentBytesMin {
			e.b = append(e.b, data...)
			return
		}
		// A later append may move e.b; what is cut off here stays as it is.
		dst = append(dst, e.b[from:len(e.b):len(e.b)], data)
		from = len(e.b)
	})
	return append(dst, rest[from:])
}

// encode writes the answer; records puts in those of one partition.
func (f *fetch) encode(dst []byte, records func(*encoder, []byte)) []byte {
	e := &encoder{b: dst, flexible: f.IsFlexible()}
	e.int32(0) // throttle time
	if f.version >= fetchSessionMin {
		e.int16(f.use.code)
		e.int32(f.sessionID)
	}
	namesLeader := false
	e.arrayLen(f.eachTopic(func([]fetchPart) {}))
	f.eachTopic(func(parts []fetchPart) {
		namesLeader = f.encodeTopic(e, parts, records) || namesLeader
	})
	if f.version >= fetchLeaderMin && namesLeader {
		e.uvarint(1)
		e.nodeTag(0, f.b.node(f.session))
	} else {
		e.noTags()
	}
	return e.b
}

// eachTopic calls fn with each run of partitions of one topic that has something to
// answer (FetchResponse.toMessage), and returns the number of runs.
func (f *fetch) eachTopic(fn func([]fetchPart)) int {
	runs := 0
	for i := 0; i < len(f.parts); {
		j, answered := i, false
		for ; j < len(f.parts) && f.parts[j].key.id == f.parts[i].key.id && f.parts[j].key.topic == f.parts[i].key.topic; j++ {
			answered = answered || !f.parts[j].omit
		}
		if answered {
			runs++
			fn(f.parts[i:j])
		}
		i = j
	}
	return runs
}

func (f *fetch) encodeTopic(e *encoder, parts []fetchPart, records func(*encoder, []byte)) bool {
	if f.version >= fetchTopicIDMin {
		e.id(parts[0].key.id)
	} else {
		e.string(parts[0].key.topic)
	}
	n, namesLeader := 0, false
	for i := range parts {
		if !parts[i].omit {
			n++
		}
	}
	e.arrayLen(n)
	for i := range parts {
		if !parts[i].omit {
			namesLeader = f.encodePart(e, &parts[i], records) || namesLeader
		}
	}
	e.noTags()
	return namesLeader
}

// listsAborted says whether the list of aborted transactions is empty rather than
// null: for READ_COMMITTED, and, as in Kafka, for what was not found
// (FetchResponse.partitionResponse).
func (f *fetch) listsAborted(p *fetchPart) bool {
	if p.code == codeNone {
		return f.committed && !p.diverges
	}
	return p.p == nil && p.code != codeNotLeaderOrFollower
}

// encodePart says whether it named the leader.
func (f *fetch) encodePart(e *encoder, p *fetchPart, records func(*encoder, []byte)) bool {
	e.int32(p.key.index)
	e.int16(p.code)
	e.int64(p.highWater)
	e.int64(p.highWater) // the last stable offset: there are no transactions
	if f.version >= 5 {
		e.int64(p.logStart)
	}
	if f.listsAborted(p) {
		e.arrayLen(0)
	} else {
		e.nullArray()
	}
	if f.version >= 11 {
		e.int32(-1) // preferred read replica
	}
	e.bytesLen(len(p.data))
	records(e, p.data)
	if !f.IsFlexible() {
		return false
	}
	namesLeader := f.version >= fetchLeaderMin && (p.code == codeNotLeaderOrFollower || p.code == codeFencedLeaderEpoch)
	tags := 0
	for _, there := range []bool{p.diverges, namesLeader} {
		if there {
			tags++
		}
	}
	e.uvarint(uint32(tags))
	if p.diverges {
		e.tag(0, func(e *encoder) {
			e.int32(p.divergingEpoch)
			e.int64(p.divergingEnd)
			e.noTags()
		})
	}
	if namesLeader {
		e.leaderTag(1, f.b.o.NodeID, p.leaderEpoch)
	}
	return namesLeader
}
