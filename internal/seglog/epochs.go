package seglog

// assignEpochLocked notes the epoch of a batch if it is new. Lower epochs than the last are ignored, as in Kafka.
func (l *Log) assignEpochLocked(epoch int32, offset int64) {
	if n := len(l.mu.epochs); epoch >= 0 && (n == 0 || epoch > l.mu.epochs[n-1].epoch) {
		l.mu.epochs = append(l.mu.epochs, epochStart{epoch, offset})
		l.mu.epochDirty = true
		l.textsChangedLocked()
	}
}

// trimEpochsLocked drops what lies below the log start, but keeps the epoch that the log now begins with. The file may
// keep the lines: the next open trims them again.
func (l *Log) trimEpochsLocked(start int64) {
	i := 0
	for i+1 < len(l.mu.epochs) && l.mu.epochs[i+1].offset <= start {
		i++
	}
	if i == 0 && (len(l.mu.epochs) == 0 || l.mu.epochs[0].offset >= start) {
		return
	}
	l.mu.epochs = append([]epochStart(nil), l.mu.epochs[i:]...)
	l.mu.epochs[0].offset = max(l.mu.epochs[0].offset, start)
}

// LatestEpoch is the leader epoch of the last batch, -1 if there never was one.
func (l *Log) LatestEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.mu.epochs); n > 0 {
		return l.mu.epochs[n-1].epoch
	}
	return -1
}

// EpochAt is the leader epoch of the batch that holds offset, -1 if unknown.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	epoch := int32(-1)
	for _, e := range l.mu.epochs {
		if e.offset > offset {
			break
		}
		epoch = e.epoch
	}
	return epoch
}

// EpochEnd answers OffsetForLeaderEpoch as Kafka's LeaderEpochFileCache.endOffsetFor does: the largest epoch of the log
// that is not above the asked one, and the first offset behind it; (-1, -1) if that is unknown.
func (l *Log) EpochEnd(epoch int32) (epochOut int32, endOffset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	epochs := l.mu.epochs
	n := len(epochs)
	if n == 0 || epoch < 0 || epoch > epochs[n-1].epoch {
		return -1, -1
	}
	if epoch == epochs[n-1].epoch {
		return epoch, l.end.Load()
	}
	i := 0
	for epochs[i].epoch <= epoch {
		i++
	}
	if i == 0 {
		// The asked epoch ended before the log's first one began.
		return epoch, epochs[0].offset
	}
	return epochs[i-1].epoch, epochs[i].offset
}
