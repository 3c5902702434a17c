package autopsy

import (
	"errors"
	"path/filepath"
	"sort"
)

// partitions reads what was gathered of each partition: the snapshots, and the headers of the newest segments.
func (r *reader) partitions() error {
	for _, dir := range r.dirNames {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if len(r.out.Partitions) >= PartitionsMax {
			r.out.InputsLeftOut++
			continue
		}
		files := r.dirs[dir]
		p := Partition{Dir: dir}
		p.Topic, p.Partition = partitionFromDir(dir)
		p.Snapshots = r.readSnapshots(files.snapshots)
		if len(files.segments) > 0 {
			p.Segments = r.readSegments(files.segments)
		}
		delete(r.dirs, dir)
		r.out.Partitions = append(r.out.Partitions, p)
	}
	return nil
}

// readSnapshots counts all snapshots of a partition by their size and opens some of them.
func (r *reader) readSnapshots(files []*file) []Snapshot {
	out := make([]Snapshot, len(files))
	for i, f := range files {
		s := Snapshot{Path: f.path, Offset: offsetFromName(filepath.Base(f.path)), ModTime: f.mod}
		entries, ok := snapshotEntries(f.size)
		if s.Entries = entries; !ok && !f.gzip {
			s.Damaged = "its size is that of no snapshot: cut or damaged"
			s.Entries = max(0, (f.size-snapshotHeader)/snapshotEntry)
		}
		out[i] = s
	}
	order := make([]int, len(files))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return out[order[a]].Offset < out[order[b]].Offset })
	sorted := make([]Snapshot, len(out))
	for i, j := range order {
		sorted[i] = out[j]
		if i == len(order)-1 || i == 0 || i == len(order)/2 || files[j].gzip {
			r.openSnapshot(files[j], &sorted[i], i == len(order)-1)
		}
		if sorted[i].Damaged != "" {
			r.problem(sorted[i].Path, "%s", sorted[i].Damaged)
		}
	}
	return sorted
}

func (r *reader) openSnapshot(f *file, s *Snapshot, newest bool) {
	if r.snapshots += f.size; r.snapshots > snapshotsBudget {
		return // counted by its size
	}
	now := f.mod
	if r.o.Now.Before(now) || now.IsZero() {
		now = r.o.Now
	}
	h, err := f.open()
	if err != nil {
		s.Damaged = err.Error()
		return
	}
	var once *distinct
	if newest {
		once = &r.once
	}
	content, err := readSnapshot(h, now.UnixMilli(), once)
	_ = h.Close() // read only
	if errors.Is(err, errNoSnapshot) {
		s.Damaged, s.Entries = err.Error(), 0
		return
	}
	if err != nil {
		s.Damaged = err.Error()
	}
	s.Opened, s.Content = true, content
	if f.gzip {
		s.Entries = content.Entries
	}
}

// readSegments reads the headers of a partition's segments, the newest first, up to the partition's budget.
func (r *reader) readSegments(files []*file) *Segments {
	sort.SliceStable(files, func(i, j int) bool { return filepath.Base(files[i].path) > filepath.Base(files[j].path) })
	s := newSegmentTally()
	s.FilesOf = len(files)
	for _, f := range files {
		s.BytesOf += f.size
	}
	left := min(int64(segmentBudget), segmentsBudget-r.segments)
	for _, f := range files {
		if left <= 0 {
			break
		}
		covered, err := r.readSegment(f, s, left)
		left -= covered
		r.segments += covered
		if err != nil {
			r.problem(f.path, "%v", err)
		}
		s.Files++
		if f.mod.After(s.ModTime) {
			s.ModTime = f.mod
		}
	}
	for pid, p := range s.pids {
		if p.born {
			r.once.addSampled(pid, s.mask)
		}
	}
	return s.done()
}
