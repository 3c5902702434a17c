package group

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func kafkaRecords(t testing.TB) []Record {
	t.Helper()
	text, err := os.ReadFile("testdata/consumer_records/kafka-4.3.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		r := Record{Key: must(hex.DecodeString(key))}
		if value != "-" {
			r.Value = must(hex.DecodeString(value))
		}
		out = append(out, r)
	}
	return out
}

// encodeAgain decodes the value of a record and encodes what came out.
func encodeAgain(kind int16, value []byte) ([]byte, error) {
	var m memberData
	switch kind {
	case keyGroupMetadata:
		epoch, hash, err := decodeEpochAndMillis(kind, value)
		return encodeGroupMetadata(epoch, hash), err
	case keyTargetMetadata:
		epoch, at, err := decodeEpochAndMillis(kind, value)
		return encodeTargetMetadata(epoch, at), err
	case keyMemberMetadata:
		err := decodeMemberMetadata(value, &m)
		return encodeMemberMetadata(&m), err
	case keyCurrentAssignment:
		err := decodeCurrentAssignment(value, &m)
		return encodeCurrentAssignment(&m), err
	case keyTargetMember:
		a, err := decodeTargetMember(value)
		return encodeTargetMember(a), err
	case keyRegularExpression:
		topics, version, at, err := decodeRegex(value)
		return encodeRegex(topics, version, at), err
	}
	return value, nil
}

// TestKafkaRecords: what Kafka wrote is read, and written again to the byte.
func TestKafkaRecords(t *testing.T) {
	seen := map[int16]int{}
	for _, r := range kafkaRecords(t) {
		kind, name, err := recordKey(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		if kindOf(kind) != KindConsumer {
			continue
		}
		seen[kind]++
		second, err := splitConsumerKey(kind, r.Key)
		if err != nil {
			t.Fatal(err)
		}
		g := New(name, &Config{})
		var out Output
		newConsumerGroup(g).record(&out, kind, second, r.Value)
		if !bytes.Equal(out.Records[0].Key, r.Key) {
			t.Errorf("key\n%x written as\n%x", r.Key, out.Records[0].Key)
		}
		if r.Value == nil {
			continue
		}
		again, err := encodeAgain(kind, r.Value)
		if err != nil {
			t.Errorf("%x: %v", r.Value, err)
		}
		if !bytes.Equal(again, r.Value) {
			t.Errorf("value of type %d\n%x written as\n%x", kind, r.Value, again)
		}
	}
	for _, kind := range []int16{3, 4, 5, 6, 7, 8, 16} {
		if seen[kind] == 0 {
			t.Errorf("no record of type %d", kind)
		}
	}
}

// TestKafkaReplay follows the three groups through their records.
func TestKafkaReplay(t *testing.T) {
	topics := &fakeTopics{}
	groups := map[string]*Group{}
	var story []string
	for i, r := range kafkaRecords(t) {
		_, name, _ := recordKey(r.Key)
		g := groups[name]
		if g == nil {
			g = New(name, &Config{})
			groups[name] = g
		}
		if err := g.Replay(r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		l := g.Listing()
		line := name + " " + l.Type + " " + l.State
		if len(story) == 0 || story[len(story)-1] != line {
			story = append(story, line)
		}
	}
	// A group made of a classic one is Dead between the tombstone of that and its own first record: both are in one batch.
	want := `g1 consumer Reconciling, g1 consumer Assigning, g1 consumer Reconciling, g1 consumer Stable, g1 consumer Reconciling, ` +
		`g1 consumer Empty, rx consumer Reconciling, rx consumer Stable, rx consumer Assigning, rx consumer Reconciling, ` +
		`rx consumer Stable, mig classic Empty, mig classic Stable, mig classic Dead, mig consumer Reconciling, mig consumer Stable, ` +
		`mig consumer Reconciling, mig consumer Assigning, mig consumer Reconciling, mig consumer Stable, mig consumer Reconciling, ` +
		`mig consumer Assigning, mig consumer Empty, mig classic Dead, mig classic Stable, mig classic Empty, ` +
		`rx consumer Reconciling, rx consumer Empty`
	if got := strings.Join(story, ", "); got != want {
		t.Errorf("story: %s", got)
	}
	for name, state := range map[string]string{"g1": "consumer Empty", "rx": "consumer Empty", "mig": "classic Empty"} {
		if l := groups[name].Listing(); l.Type+" "+l.State != state {
			t.Errorf("%s is %s %s, want %s", name, l.Type, l.State, state)
		}
	}
	groups["g1"].Loaded(time.UnixMilli(1), topics)
	if _, ok := groups["g1"].Deadline(); ok || !groups["g1"].Idle() {
		t.Error("an empty group waits for something")
	}
}

// TestKafkaMetadataHash is the hash that Kafka wrote for a group that subscribes to a topic of three partitions.
func TestKafkaMetadataHash(t *testing.T) {
	info := TopicInfo{Name: "orders", Partitions: 3}
	copy(info.ID[:], must(hex.DecodeString("2c19c21e4aee4eebbf1c18c45bbb96cc")))
	topic, _ := topicHash(info, nil)
	if got := xxh3(binary.LittleEndian.AppendUint64(nil, topic)); got != 0x8ea47017a62fa1a9 {
		t.Errorf("hash %016x", got)
	}
}

func TestRecordsRefused(t *testing.T) {
	g := New("g", &Config{})
	member := string(consumerKey(keyMemberMetadata, "g", "m"))
	var m memberData
	good := encodeMemberMetadata(&m)
	for name, r := range map[string]Record{
		"version 1 of a value":    {Key: []byte(member), Value: append([]byte{0, 1}, good[2:]...)},
		"no version":              {Key: []byte(member), Value: []byte{0}},
		"bytes too many":          {Key: []byte(member), Value: append(bytes.Clone(good), 0)},
		"bytes too few":           {Key: []byte(member), Value: good[:len(good)-1]},
		"a key without a member":  {Key: consumerKey(keyMemberMetadata, "g"), Value: good},
		"a key with too much":     {Key: consumerKey(keyGroupMetadata, "g", "m"), Value: encodeGroupMetadata(1, 0)},
		"another group":           {Key: consumerKey(keyGroupMetadata, "h"), Value: encodeGroupMetadata(1, 0)},
		"more topics than bytes":  {Key: consumerKey(keyTargetMember, "g", "m"), Value: []byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x07}},
		"more partitions":         {Key: consumerKey(keyTargetMember, "g", "m"), Value: append(append([]byte{0, 0, 2}, make([]byte, 16)...), 0xff, 0xff, 0xff, 0xff, 0x07)},
		"a key of an unknown one": {Key: consumerKey(9, "g"), Value: good},
	} {
		if err := g.Replay(r); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g.Exists() {
		t.Error("what was refused made a group")
	}
}

// Records from before 4.3 have no epochs of partitions, and may name topics and partitions in any order.
func TestOlderAssignmentRecord(t *testing.T) {
	var m memberData
	value := []byte{0, 0, 0, 0, 0, 7, 0, 0, 0, 6, 1, 2}
	id := idOf("a")
	value = append(append(value, id[:]...), 3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 1, 0)
	if err := decodeCurrentAssignment(value, &m); err != nil {
		t.Fatal(err)
	}
	if got := formatAssignment(&m); got != "epoch 7 (was 6) UNREVOKED [a:1@7,5@7]" {
		t.Error(got)
	}
}

func secondOf(kind int16) []string {
	if kind == keyGroupMetadata || kind == keyTargetMetadata {
		return nil
	}
	return []string{"m"}
}

// FuzzConsumerReplay: records are refused or read, and what was read can be described, written and read again.
func FuzzConsumerReplay(f *testing.F) {
	for _, r := range kafkaRecords(f) {
		f.Add(r.Key, r.Value, []byte(nil))
	}
	var m memberData
	f.Add(consumerKey(keyMemberMetadata, "g", "m"), encodeMemberMetadata(&m), encodeMemberMetadata(&m))
	f.Fuzz(func(t *testing.T, key, value, other []byte) {
		_, name, err := RecordGroup(key)
		if err != nil || len(value) > 1<<16 {
			return
		}
		s := newConsumerScript()
		s.group = New(name, &s.cfg)
		s.topics.set("a", 3)
		kind, _, _ := recordKey(key)
		if s.group.Replay(Record{key, value}) == nil && kindOf(kind) == KindConsumer && value != nil {
			again, err := encodeAgain(kind, value)
			if err != nil {
				t.Fatal(err)
			}
			if twice, err := encodeAgain(kind, again); err != nil || !bytes.Equal(again, twice) {
				t.Fatalf("%x written as %x, then %x (%v)", value, again, twice, err)
			}
		}
		if kindOf(kind) != KindConsumer {
			return
		}
		for _, k := range []int16{5, 8, 7, 3, 6, 16} {
			_ = s.group.Replay(Record{consumerKey(k, append([]string{name}, secondOf(k)...)...), other})
		}
		s.group.Loaded(s.now, &s.topics)
		describeGroup(s.group, &s.topics)
		s.group.DescribeConsumer(&s.topics)
		s.group.Tick(s.now.Add(time.Hour), &s.topics, &s.out)
	})
}
