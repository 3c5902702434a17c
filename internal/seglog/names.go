package seglog

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// nameCount counts names that were made, and how many of those, at least, are durable. Safe for concurrent use.
type nameCount struct{ made, kept atomic.Int64 }

// dirty says how many names were made, each counted when it is there, and whether some of them are not known to be durable.
func (c *nameCount) dirty() (made int64, some bool) {
	made = c.made.Load()
	return made, made > c.kept.Load()
}

// areKept notes that so many are durable. Two may do it at the same time.
func (c *nameCount) areKept(made int64) {
	for kept := c.kept.Load(); kept < made && !c.kept.CompareAndSwap(kept, made); {
		kept = c.kept.Load()
	}
}

// unkept are the logs of a store that have made names of late. The janitor makes them durable.
type unkept struct {
	keeping sync.Mutex // held by keepNames from its first write to the end of its sync
	// texts is held by who replaces files of epochs or topic ids, from the first byte under a temporary name to the rename.
	texts sync.Mutex
	mu    struct {
		sync.Mutex
		logs map[*Log]struct{}
	}
}

// nameMade notes that a file of the log has a name that is not durable, or will have one.
func (l *Log) nameMade() {
	l.names.made.Add(1)
	l.store.unkept.add(l)
}

func (u *unkept) add(l *Log) {
	u.mu.Lock()
	if u.mu.logs == nil {
		u.mu.logs = map[*Log]struct{}{}
	}
	u.mu.logs[l] = struct{}{}
	u.mu.Unlock()
}

// makeDir makes the log's directory if nobody has. Its name counts among the log's own, too: see Store.keepDirs.
func (l *Log) makeDir() error {
	if l.dirMade.Load() {
		return nil
	}
	if err := l.store.fs.MkdirAll(l.dir); err != nil {
		return l.ioError("create", err)
	}
	l.store.dirs.made.Add(1)
	l.nameMade()
	l.dirMade.Store(true)
	return nil
}

// keepDirs makes the names of the directories durable that were made, unless they are.
func (s *Store) keepDirs() error {
	made, some := s.dirs.dirty()
	if !some {
		return nil
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("fsync directory %s: %w", s.dir, err)
	}
	s.dirs.areKept(made)
	return nil
}

// keptLog is a log with what its names were when a sync of them began.
type keptLog struct {
	log   *Log
	made  int64
	texts writtenTexts
}

// writtenTexts are texts that were written to their files, if some is set.
type writtenTexts struct {
	version int
	some    bool
}

// keepNames makes the names and texts of logs durable for which prepare has made the files and texts that only the journal had; a log
// that it refuses is left out. Nothing else than the error of a sync, which is final, or that of prepare is returned.
func (s *Store) keepNames(logs []*Log, prepare func(*Log) (writtenTexts, bool, error)) error {
	s.unkept.keeping.Lock()
	defer s.unkept.keeping.Unlock()
	var kept []keptLog
	for _, l := range logs {
		texts, ok, err := prepare(l)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if made, some := l.names.dirty(); some || texts.some {
			kept = append(kept, keptLog{l, made, texts})
		}
	}
	if len(kept) == 0 {
		return nil
	}
	dirs, _ := s.dirs.dirty()
	if err := s.syncFS(); err != nil {
		return err
	}
	s.dirs.areKept(dirs)
	for _, k := range kept {
		k.log.names.areKept(k.made)
		if k.texts.some {
			k.log.textsAreKept(k.texts.version)
		}
	}
	return nil
}

// writeHeld writes what the log's segments hold in memory; see segment.writeHeld.
func (l *Log) writeHeld() error {
	l.mu.Lock()
	s := l.activeLocked() // the others hold nothing
	l.mu.Unlock()
	if !s.holding() || l.deleted.Load() {
		return nil // names of a log that is deleted may be another's
	}
	return s.writeHeld()
}

// bringUp makes what only the journal has, unless somebody works at the log just now.
func (l *Log) bringUp() (texts writtenTexts, done bool, err error) {
	if !l.appendMu.TryLock() {
		return texts, false, nil
	}
	defer l.appendMu.Unlock()
	if l.deleted.Load() || !l.published.Load() {
		return texts, false, nil
	}
	if err := l.writeHeld(); err != nil {
		return texts, false, err
	}
	texts, _ = l.writeTexts(true)
	return texts, true, nil
}

// gone says that the log is deleted, or could not be opened.
func (l *Log) gone() bool { return l.deleted.Load() || l.closed.Load() && !l.published.Load() }

// keepNames makes durable what names logs have made of late. Those that somebody works at are left for the next time.
func (j *janitor) keepNames() {
	u := &j.s.unkept
	u.mu.Lock()
	names := u.mu.logs
	u.mu.logs = nil
	u.mu.Unlock()
	if len(names) == 0 || j.s.isOffline.Load() {
		return
	}
	logs := make([]*Log, 0, len(names))
	for l := range names {
		logs = append(logs, l)
	}
	err := j.s.keepNames(logs, func(l *Log) (writtenTexts, bool, error) {
		texts, done, err := l.bringUp()
		if err != nil {
			j.s.metrics.BackgroundErrors.Inc()
		}
		if !done && !l.gone() {
			u.add(l)
		}
		return texts, done, nil
	})
	if err != nil {
		j.s.SetOffline(err) // it is
	}
}

// The texts of a log are its file of epochs and that of its topic id. They are dirty until they are durable by themselves.
// While they are, records of the journal carry them.

// textsDirtyLocked says that they are not what they should be, durably.
func (l *Log) textsDirtyLocked() bool { return l.mu.epochDirty || l.mu.metaDirty }

// textsChangedLocked notes that they have to be written.
func (l *Log) textsChangedLocked() {
	l.mu.textVersion++
	l.mu.textJournaled = false
}

// appendTextsLocked is how a record carries them: the topic id, and the lines of the epochs.
func (l *Log) appendTextsLocked(dst []byte) []byte {
	return appendEpochs(append(dst, l.topicID[:]...), l.mu.epochs)
}

// textsAreJournaled has the janitor write them.
func (l *Log) textsAreJournaled(version int) {
	l.mu.Lock()
	some := l.mu.textVersion == version && l.textsDirtyLocked()
	fresh := some && !l.mu.textJournaled
	l.mu.textJournaled = some
	l.mu.Unlock()
	if fresh {
		l.store.unkept.add(l)
	}
}

func (l *Log) textsAreKept(version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.textVersion == version {
		l.mu.epochDirty, l.mu.metaDirty, l.mu.textJournaled = false, false, false
	}
}

// writeTexts writes the texts, if they are dirty. It syncs nothing, so some record must have texts of the log: whatever a power loss makes of the
// files, replay writes them again. Before a checkpoint one has, be it older ones; for who is not sure journaled asks. Lines of epochs that
// were not acknowledged are cut by recovery. What cannot be written stays dirty, and is the next pass's.
func (l *Log) writeTexts(journaled bool) (written writtenTexts, err error) {
	texts := &l.store.unkept.texts
	texts.Lock()
	defer texts.Unlock()
	l.mu.Lock()
	if !l.textsDirtyLocked() || !l.dirMade.Load() || journaled && !l.mu.textJournaled {
		l.mu.Unlock()
		return written, nil
	}
	written = writtenTexts{l.mu.textVersion, true}
	var epochs []byte
	if l.mu.epochDirty {
		epochs = encodeEpochs(l.mu.epochs)
	}
	meta := l.mu.metaDirty
	l.mu.Unlock()
	if epochs != nil {
		err = l.replaceText(epochFileName, epochs)
	}
	if err == nil && meta {
		err = l.replaceText(metadataFileName, encodeMetadata(l.topicID))
	}
	if err == nil {
		return written, nil
	}
	l.store.metrics.BackgroundErrors.Inc()
	l.mu.Lock()
	l.mu.textJournaled = false
	l.mu.Unlock()
	return writtenTexts{}, err
}

func (l *Log) replaceText(name string, data []byte) error {
	temp := l.path(name + tempSuffix)
	err := writeText(l.store.fs, temp, data)
	if err == nil {
		err = l.store.fs.Rename(temp, filepath.Join(l.dir, name))
	}
	if err != nil {
		return l.ioError("replace a text of", err)
	}
	return nil
}
