package coordinator

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/group"
)

// TestShardOf has hash codes that java.lang.String.hashCode gives.
func TestShardOf(t *testing.T) {
	for _, x := range []struct {
		id   string
		hash int64
	}{
		{"", 0}, {"abc", 96354}, {"polygenelubricants", 0}, // -2^31, of which Utils.abs makes 0
		{"\U0001f600", 1772899}, {"console-consumer", 648006740}, {"gr\u00fc\u00dfe", 98768023},
	} {
		for _, n := range []int32{1, 7, 50} {
			if got, want := shardOf(x.id, n), int32(x.hash%int64(n)); got != want {
				t.Errorf("%q of %d: %d, want %d", x.id, n, got, want)
			}
		}
	}
}

func TestColdKeys(t *testing.T) {
	offset := kmsg.OffsetCommitKey{Version: 1, Group: "group", Topic: "topic", Partition: 7}
	if got := offsetRecordKey("group", "topic", 7); !bytes.Equal(got, offset.AppendTo(nil)) {
		t.Errorf("offset's key %x, want %x", got, offset.AppendTo(nil))
	}
	for _, version := range []int16{0, 1} {
		offset.Version = version
		key, kind, id, err := coldKey(offset.AppendTo(nil))
		if err != nil || kind != group.KindOffset || id != "group" || !bytes.Equal(key, offsetColdKey("group", "topic", 7)) {
			t.Errorf("version %d: %q %v %q %v", version, key, kind, id, err)
		}
	}
	metadata := kmsg.GroupMetadataKey{Version: 2, Group: "g\u00fc"}
	key, kind, id, err := coldKey(metadata.AppendTo(nil))
	if err != nil || kind != group.KindClassic || id != metadata.Group {
		t.Fatalf("%q %v %q %v", key, kind, id, err)
	}
	id, rest, err := splitCold(key)
	if err != nil || id != metadata.Group {
		t.Fatal(id, err)
	}
	if got, err := metadataRecordKey(id, rest); err != nil || !bytes.Equal(got, metadata.AppendTo(nil)) {
		t.Errorf("back: %x %v", got, err)
	}
	if key, kind, _, err := coldKey([]byte{0, 15, 0, 1, 'x'}); key != nil || kind != group.KindUnknown || err != nil {
		t.Errorf("a share group's key: %x %v %v", key, kind, err)
	}
}

func TestOffsetValues(t *testing.T) {
	for _, v := range []kmsg.OffsetCommitValue{
		{Version: 0, Offset: 5, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 9, ExpireTimestamp: -1},
		{Version: 1, Offset: 5, LeaderEpoch: -1, Metadata: "", CommitTimestamp: 9, ExpireTimestamp: 10},
		{Version: 2, Offset: 5, LeaderEpoch: -1, Metadata: "m", CommitTimestamp: 9, ExpireTimestamp: -1},
		{Version: 3, Offset: 5, LeaderEpoch: 3, Metadata: "m", CommitTimestamp: 9, ExpireTimestamp: -1},
		{Version: 4, Offset: 5, LeaderEpoch: 3, Metadata: "m", CommitTimestamp: 9, ExpireTimestamp: -1},
		{Version: 4, Offset: -5, LeaderEpoch: -1, CommitTimestamp: 1 << 60, ExpireTimestamp: -1, TopicID: topicID("topic")},
	} {
		raw := v.AppendTo(nil)
		got, err := decodeOffset(raw)
		want := offsetValue{v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp, v.ExpireTimestamp, v.TopicID}
		if err != nil || *got != want {
			t.Errorf("version %d: %+v %v, want %+v", v.Version, got, err, want)
		}
		if v.Version == valueVersion || v.Version == valueExpiresVersion {
			if again := got.encode(); !bytes.Equal(again, raw) {
				t.Errorf("version %d: encodes as %x, want %x", v.Version, again, raw)
			}
		}
		for n := range raw {
			if _, err := decodeOffset(raw[:n]); !errors.Is(err, group.ErrRecord) {
				t.Errorf("version %d, %d bytes of %d: %v", v.Version, n, len(raw), err)
			}
		}
	}
	if _, err := decodeOffset([]byte{0, 5}); !errors.Is(err, group.ErrRecord) {
		t.Errorf("an unknown version: %v", err)
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(offsetRecordKey("g", "t", 1), (&offsetValue{offset: 1, epoch: 2, metadata: "m", committed: 3, expires: -1, topicID: topicID("t")}).encode())
	f.Add((&kmsg.GroupMetadataKey{Version: 2, Group: "g"}).AppendTo(nil), []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 4, 0, 1, 'g'}, []byte{0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, key, val []byte) {
		cold, kind, id, err := coldKey(key)
		if err == nil && cold != nil {
			again, rest, err := splitCold(cold)
			if err != nil || again != id {
				t.Fatalf("group %q of %x: %v", again, cold, err)
			}
			if kind == group.KindOffset {
				topic, partition, err := splitOffsetKey(rest)
				if back := offsetRecordKey(id, topic, partition); err != nil || !bytes.Equal(back[versionBytes:], key[versionBytes:]) {
					t.Fatalf("key %x comes back as %x, %v", key, back, err)
				}
			} else if back, err := metadataRecordKey(id, rest); err != nil || !bytes.Equal(back, key) {
				t.Fatalf("key %x comes back as %x, %v", key, back, err)
			}
		}
		v, err := decodeOffset(val)
		if err != nil {
			if !errors.Is(err, group.ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decodeOffset(v.encode()); err != nil || v.expires == -1 && *again != *v {
			t.Fatalf("%+v comes back as %+v, %v", v, again, err)
		}
	})
}
