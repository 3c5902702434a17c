package seglog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"

	"ottla/internal/disk"
)

const (
	epochFileName    = "leader-epoch-checkpoint"
	metadataFileName = "partition.metadata"
	startFileName    = "log-start-offset"

	epochBytesMax    = 16 << 20 // a line per unclean start: far more than any log has
	metadataBytesMax = 4 << 10
	startBytesMax    = 4 << 10
	startFileVersion = 1
	// startFileVersionCleaned is that of a log that was compacted, which knows two more offsets.
	startFileVersionCleaned = 2
)

// epochStart says that batches from offset on carry the epoch.
type epochStart struct {
	epoch  int32
	offset int64
}

// encodeEpochs writes Kafka's leader-epoch-checkpoint: version, count, lines.
func encodeEpochs(epochs []epochStart) []byte {
	return appendEpochs(nil, epochs)
}

func appendEpochs(dst []byte, epochs []epochStart) []byte {
	dst = append(dst, "0\n"...)
	dst = append(strconv.AppendInt(dst, int64(len(epochs)), 10), '\n')
	for _, e := range epochs {
		dst = append(strconv.AppendInt(dst, int64(e.epoch), 10), ' ')
		dst = append(strconv.AppendInt(dst, e.offset, 10), '\n')
	}
	return dst
}

// decodeEpochs reads it; epochs and offsets must ascend.
func decodeEpochs(b []byte) ([]epochStart, error) {
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 2 {
		return nil, fmt.Errorf("%w: epoch file of %d lines", ErrCorrupt, len(lines))
	}
	version, err := strconv.Atoi(lines[0])
	if err != nil {
		return nil, fmt.Errorf("%w: epoch file version %.20q", ErrCorrupt, lines[0])
	}
	if version != 0 {
		return nil, fmt.Errorf("%w: epoch file version %d, expected 0", ErrVersion, version)
	}
	if count, err := strconv.Atoi(lines[1]); err != nil || count != len(lines)-2 {
		return nil, fmt.Errorf("%w: epoch file says %.20q entries, has %d", ErrCorrupt, lines[1], len(lines)-2)
	}
	var out []epochStart
	for _, line := range lines[2:] {
		epoch, offset, ok := strings.Cut(line, " ")
		e, err1 := strconv.ParseInt(epoch, 10, 32)
		o, err2 := strconv.ParseInt(offset, 10, 64)
		if !ok || err1 != nil || err2 != nil || e < 0 || o < 0 {
			return nil, fmt.Errorf("%w: epoch line %.60q", ErrCorrupt, line)
		}
		if n := len(out); n > 0 && (int32(e) <= out[n-1].epoch || o < out[n-1].offset) {
			return nil, fmt.Errorf("%w: epoch line %.60q after (%d, %d)", ErrCorrupt, line, out[n-1].epoch, out[n-1].offset)
		}
		out = append(out, epochStart{int32(e), o})
	}
	return out, nil
}

// readEpochs returns nil epochs and ErrNotExist or ErrCorrupt where they must be derived from the log.
func readEpochs(fsys disk.FS, name string) ([]epochStart, error) {
	b, err := disk.ReadFile(fsys, name, epochBytesMax)
	switch {
	case errors.Is(err, disk.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return nil, err
	}
	return decodeEpochs(b)
}

// topicIDString is Kafka's text form of a topic id.
func topicIDString(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func encodeMetadata(topicID [16]byte) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", topicIDString(topicID))
}

func decodeMetadata(b []byte) (topicID [16]byte, err error) {
	var seenVersion, seenID bool
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		switch {
		case ok && key == "version":
			if value != "0" {
				return topicID, fmt.Errorf("%w: metadata version %.20q, expected 0", ErrVersion, value)
			}
			seenVersion = true
		case ok && key == "topic_id":
			id, err := base64.RawURLEncoding.DecodeString(value)
			if err != nil || len(id) != len(topicID) {
				return topicID, fmt.Errorf("%w: topic id %.40q", ErrCorrupt, value)
			}
			seenID = true
			copy(topicID[:], id)
		default:
			return topicID, fmt.Errorf("%w: metadata line %.60q", ErrCorrupt, line)
		}
	}
	if !seenVersion || !seenID {
		return topicID, fmt.Errorf("%w: metadata is incomplete", ErrCorrupt)
	}
	return topicID, nil
}

// startFile is the log-start-offset file: our only file that Kafka does not know.
type startFile struct {
	start    int64 // nothing below may be read again
	recovery int64 // everything below is durable; a segment starts here
	cleaned  int64 // the cleaner goes on here: below, it has removed what is superseded
	holes    int64 // below, offsets may be missing because the cleaner has removed them; at least cleaned
}

func encodeStart(s startFile) []byte {
	version := startFileVersion
	if s.cleaned > 0 || s.holes > 0 {
		version = startFileVersionCleaned
	}
	out := fmt.Appendf(nil, "log-start-offset %d\nstart %d\nrecovery %d\n", version, s.start, s.recovery)
	if version == startFileVersionCleaned {
		out = fmt.Appendf(out, "cleaned %d\nholes %d\n", s.cleaned, s.holes)
	}
	return fmt.Appendf(out, "crc32c %08x\n", crc32.Checksum(out, castagnoli))
}

func decodeStart(b []byte) (startFile, error) {
	var version int
	if _, err := fmt.Fscanf(bytes.NewReader(b), "log-start-offset %d\n", &version); err != nil {
		return startFile{}, fmt.Errorf("%w: log start file does not begin as one", ErrCorrupt)
	}
	if version != startFileVersion && version != startFileVersionCleaned {
		return startFile{}, fmt.Errorf("%w: log start file version %d, expected at most %d", ErrVersion, version, startFileVersionCleaned)
	}
	i := bytes.LastIndex(b, []byte("crc32c "))
	if i < 0 || string(b[i:]) != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(b[:i], castagnoli)) {
		return startFile{}, fmt.Errorf("%w: log start file checksum", ErrCorrupt)
	}
	var s startFile
	rest := bytes.NewReader(b[bytes.IndexByte(b, '\n')+1 : i])
	if _, err := fmt.Fscanf(rest, "start %d\nrecovery %d\n", &s.start, &s.recovery); err != nil || s.start < 0 || s.recovery < 0 {
		return startFile{}, fmt.Errorf("%w: log start file offsets", ErrCorrupt)
	}
	if version == startFileVersionCleaned {
		if _, err := fmt.Fscanf(rest, "cleaned %d\nholes %d\n", &s.cleaned, &s.holes); err != nil || s.cleaned < 0 || s.holes < s.cleaned {
			return startFile{}, fmt.Errorf("%w: log start file offsets of the cleaner", ErrCorrupt)
		}
	}
	return s, nil
}

// readStart returns the zero startFile where there is none.
func readStart(fsys disk.FS, name string) (startFile, error) {
	b, err := disk.ReadFile(fsys, name, startBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return startFile{}, nil
	case errors.Is(err, disk.ErrTooLarge):
		return startFile{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	case err != nil:
		return startFile{}, fmt.Errorf("%w: %w", ErrIO, err)
	}
	return decodeStart(b)
}

// segmentBase returns the offset in a segment file's name.
func segmentBase(name, suffix string) (int64, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok || len(stem) != 20 || strings.Trim(stem, "0123456789") != "" {
		return 0, false
	}
	base, err := strconv.ParseInt(stem, 10, 64)
	return base, err == nil
}
