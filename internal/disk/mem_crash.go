package disk

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// apply makes a change of names durable.
func (c *nameChange) apply() {
	if c.from.dir != nil && c.from.dir.durable[c.from.name] == c.node {
		delete(c.from.dir.durable, c.from.name)
	}
	if c.to.dir != nil {
		c.to.dir.durable[c.to.name] = c.node
	}
}

// syncNamesLocked makes the changes in one directory durable. A rename that leads in or out of it is durable on both
// sides, and so is what happened before to the names it touches: it could not have been done without.
func (m *Mem) syncNamesLocked(dir *inode) {
	needed := map[entryKey]bool{}
	selected := make([]bool, len(m.mu.names))
	for i := len(m.mu.names) - 1; i >= 0; i-- {
		c := &m.mu.names[i]
		if c.from.dir != dir && c.to.dir != dir && !needed[c.from] && !needed[c.to] {
			continue
		}
		selected[i] = true
		for _, key := range []entryKey{c.from, c.to} {
			if key.dir != nil {
				needed[key] = true
			}
		}
	}
	var rest []nameChange
	for i, c := range m.mu.names {
		if selected[i] {
			c.apply()
		} else {
			rest = append(rest, c)
		}
	}
	m.mu.names = rest
}

// eachFileLocked visits every file that a name, durable or not, or an unsynced change of names leads to.
func (m *Mem) eachFileLocked(fn func(*inode)) {
	seen := map[*inode]bool{}
	var visit func(n *inode)
	visit = func(n *inode) {
		if seen[n] {
			return
		}
		seen[n] = true
		if !n.dir() {
			fn(n)
			return
		}
		for _, children := range []map[string]*inode{n.entries, n.durable} {
			for _, name := range slices.Sorted(maps.Keys(children)) {
				visit(children[name])
			}
		}
	}
	visit(m.mu.root)
	for _, c := range m.mu.names {
		visit(c.node)
	}
}

// KillClone returns the file system as the next process finds it after kill -9: everything written is there, and what
// was not durable still is not. Locks are released; handles of the source no longer reach it.
func (m *Mem) KillClone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.emptyCloneLocked()
	copies := map[*inode]*inode{nil: nil}
	var clone func(n *inode) *inode
	clone = func(n *inode) *inode {
		if done, ok := copies[n]; ok {
			return done
		}
		if !n.dir() {
			copies[n] = n.cloneAll()
			return copies[n]
		}
		d := newDir(n.id)
		d.mu.links = n.mu.links
		copies[n] = d
		for name, child := range n.entries {
			d.entries[name] = clone(child)
		}
		for name, child := range n.durable {
			d.durable[name] = clone(child)
		}
		return d
	}
	c.mu.root = clone(m.mu.root)
	for _, ch := range m.mu.names {
		ch.node, ch.from.dir, ch.to.dir = clone(ch.node), clone(ch.from.dir), clone(ch.to.dir)
		c.mu.names = append(c.mu.names, ch)
	}
	return c
}

func (m *Mem) emptyCloneLocked() *Mem {
	c := NewMem()
	c.mu.nextID = m.mu.nextID
	c.capacityBytes.Store(m.capacityBytes.Load())
	c.usedBytes.Store(m.usedBytes.Load())
	return c
}

// CrashClone returns a file system as a disk could hold it after a power loss. Whatever was synced is there. Of what was
// not, each change of names and each version of a 512-byte sector or of a size is kept with the probability keepUnsynced:
// 0 keeps only what is durable, 1 all that was written, anything between tears writes. The same seed gives the same disk.
func (m *Mem) CrashClone(keepUnsynced float64, seed int64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	rng := rand.New(rand.NewPCG(uint64(seed), 0x9e3779b97f4a7c15))
	keep := func() bool { return rng.Float64() < keepUnsynced }

	// The surviving names are worked out on copies of the durable maps; the source keeps its own.
	names := map[*inode]map[string]*inode{}
	surviving := func(d *inode) map[string]*inode {
		if names[d] == nil {
			names[d] = maps.Clone(d.durable)
		}
		return names[d]
	}
	for _, ch := range m.mu.names {
		if !keep() {
			continue
		}
		if ch.from.dir != nil {
			if s := surviving(ch.from.dir); s[ch.from.name] == ch.node {
				delete(s, ch.from.name)
			}
		}
		if ch.to.dir != nil {
			surviving(ch.to.dir)[ch.to.name] = ch.node
		}
	}

	c := m.emptyCloneLocked()
	c.usedBytes.Store(0)
	copies := map[*inode]*inode{}
	var clone func(n *inode) *inode
	clone = func(n *inode) *inode {
		if done := copies[n]; done != nil {
			done.mu.links++
			return done
		}
		if !n.dir() {
			copies[n] = n.cloneCrashed(keep, rng, keepUnsynced)
			c.usedBytes.Add(int64(len(copies[n].mu.data)))
		} else {
			d := newDir(n.id)
			copies[n] = d
			children := surviving(n)
			for _, name := range slices.Sorted(maps.Keys(children)) {
				d.entries[name] = clone(children[name])
			}
			d.durable = maps.Clone(d.entries)
		}
		copies[n].mu.links++
		return copies[n]
	}
	c.mu.root = clone(m.mu.root)
	return c
}

// cloneCrashed returns the file as a disk could hold it. The size is one version, each sector another: going back from the
// newest change, the first one that keep accepts is what reached the disk. A truncation is one step with its size: if it
// is taken back, the bytes it cut off are back, and nothing written over them later has survived.
func (n *inode) cloneCrashed(keep func() bool, rng *rand.Rand, keepUnsynced float64) *inode {
	c := n.cloneAll()
	c.mu.changes, c.mu.links = nil, 0
	changes := n.mu.changes
	if len(changes) == 0 {
		return c
	}
	size, sized := n.crashedSize(keep, rng, keepUnsynced)

	undone := map[int64]bool{} // sectors that go back before a lost truncation
	for i := sized; i < len(changes); i++ {
		if ch := &changes[i]; ch.shrinks() {
			eachSector(ch.off, ch.n, func(s int64) { undone[s] = true })
		}
	}
	largest := size
	for i := range changes {
		largest = max(largest, changes[i].oldSize, changes[i].newSize)
	}
	data := make([]byte, largest)
	copy(data, n.mu.data)
	settled := map[int64]bool{}
	for i := len(changes) - 1; i >= 0; i-- {
		ch := &changes[i]
		cut := ch.shrinks()
		eachSector(ch.off, ch.n, func(s int64) {
			if settled[s] {
				return
			}
			switch {
			case cut && i < sized, !cut && !undone[s] && keep():
				settled[s] = true
			default:
				ch.undoSector(data, s)
				if cut && i == firstShrink(changes, sized, s) {
					delete(undone, s)
				}
			}
		})
	}
	c.mu.data = data[:size:size]
	c.mu.sharedBytes = 0
	return c
}

// firstShrink returns the index of the oldest lost truncation that cut sector s.
func firstShrink(changes []change, sized int, s int64) int {
	for i := sized; i < len(changes); i++ {
		ch := &changes[i]
		if ch.shrinks() && s >= ch.off/sectorBytes && s <= (ch.off+ch.n-1)/sectorBytes {
			return i
		}
	}
	return -1
}

// crashedSize chooses the surviving size and returns how many of the changes it includes. A growth that survived may end
// at any sector boundary inside it.
func (n *inode) crashedSize(keep func() bool, rng *rand.Rand, keepUnsynced float64) (size int64, included int) {
	changes := n.mu.changes
	i := len(changes)
	for ; i > 0; i-- {
		ch := &changes[i-1]
		if ch.newSize == ch.oldSize {
			continue
		}
		if keep() {
			break
		}
	}
	if i == 0 {
		return changes[0].oldSize, 0
	}
	ch := &changes[i-1]
	size = ch.newSize
	if keepUnsynced < 1 && ch.newSize > ch.oldSize && rng.IntN(2) == 0 {
		sectors := ch.newSize/sectorBytes - ch.oldSize/sectorBytes
		if cut := (ch.oldSize/sectorBytes + rng.Int64N(sectors+1)) * sectorBytes; cut > ch.oldSize {
			size = cut
		}
	}
	return size, i
}

func eachSector(off, n int64, fn func(sector int64)) {
	for s := off / sectorBytes; s*sectorBytes < off+n; s++ {
		fn(s)
	}
}

// undoSector restores the part of one sector that the change replaced; what did not exist before reads as zeros.
func (c *change) undoSector(data []byte, sector int64) {
	from := max(c.off, sector*sectorBytes)
	to := min(c.off+c.n, (sector+1)*sectorBytes, int64(len(data)))
	if from >= to {
		return
	}
	clear(data[from:to])
	if rel := from - c.off; rel < int64(len(c.old)) {
		copy(data[from:to], c.old[rel:])
	}
}
