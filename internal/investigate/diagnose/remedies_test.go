package diagnose

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/explain"
)

// ill is a scan and a verdict of a cluster of one version with a leak into two topics.
func ill(version string) (*evidence.Scan, *Verdict) {
	s := &evidence.Scan{
		Bootstrap: []string{"kafka1.example.com:9092"}, Ended: time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC),
		Cluster: evidence.Cluster{Vendor: evidence.VendorKafka, VersionLeast: version, VersionMost: version},
		Brokers: []evidence.Broker{{ID: 1, Host: "kafka1.example.com", Answered: true}},
		Topics:  []evidence.Topic{{Name: "payments.audit"}, {Name: "orders"}},
		Partitions: []evidence.Partition{
			{Topic: "payments.audit", Index: 0, Start: 1000, End: 11_000, Since: -1}, {Topic: "payments.audit", Index: 1, Start: 0, End: 0, Since: -1}, {Topic: "other", Index: 0, Start: 0, End: 5},
		},
		ACLs: &evidence.ACLsSeen{Topics: []string{"payments.audit"}},
	}
	h := Heap{Broker: 1, EntryBytes: 264, PerSecond: 38, HeapMax: 2 << 30, UntilFull: 40 * 3600, Plateau: 38 * 605_400 * 264}
	v := &Verdict{
		Level: Storm, Horsemen: []Horseman{{ID: "H1", Status: Found}, {ID: "H2", Status: Found}, {ID: "H5", Status: Absent}},
		Suspects: []Topic{{
			Name: "payments.audit", Explains: 0.96, BatchesMedian: 1, LifeMedian: 0.012,
			Who: []Suspect{{What: "principal", Name: "User:payments-audit", Confidence: Likely}, {What: "client library", Name: "apache-kafka-java 3.7.0"}},
		}, {Name: "orders", Explains: 0.01}},
		Heap: []Heap{h}, Worst: &h,
	}
	return s, v
}

func list(rs []Remedy) string {
	var out strings.Builder
	for _, r := range rs {
		fmt.Fprintf(&out, "[%s] %s: %s\n", r.ID, r.Kind, r.Title)
		for _, part := range [][2]string{{"why", r.Why}, {"risk", r.Risk}, {"undo", r.Undo}, {"check", r.Check}} {
			if part[1] != "" {
				fmt.Fprintf(&out, "  %s: %s\n", part[0], part[1])
			}
		}
		for line := range strings.Lines(r.Command) {
			fmt.Fprintf(&out, "    | %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return out.String()
}

func ids(rs []Remedy) string {
	var out []string
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

func find(rs []Remedy, id string) *Remedy {
	for i := range rs {
		if rs[i].ID == id {
			return &rs[i]
		}
	}
	return nil
}

func TestRemediesByVersion(t *testing.T) {
	for _, c := range []struct{ version, want, command string }{
		{"4.3", "R1-expiration R1-delete-topic R2-connections R2-requests R2-deny R3-client R3-idempotence R4-alerts R4-gate R0-trim R0-restart R0-heap R0-move R0-client", "producer.id.expiration.ms=14400000"},
		{"3.4", "R1-expiration", "--entity-default --add-config producer.id.expiration.ms="},
		{"3.3", "R1-transactional", "transactional.id.expiration.ms="},
		{"2.4", "R1-transactional R1-delete-topic R2-requests", "transactional.id.expiration.ms="},
		{"2.3", "R1-trim R1-transactional R1-delete-topic R2-requests R2-deny R3-client R3-idempotence R4-alerts R4-gate R0-restart R0-heap R0-move R0-client", "kafka-delete-records.sh"},
	} {
		s, v := ill(c.version)
		got := remedies(s, v)
		if !strings.HasPrefix(ids(got), c.want) || !strings.Contains(got[0].Command, c.command) {
			t.Errorf("%s: want %s with %s, got %s:\n%s", c.version, c.want, c.command, ids(got), list(got))
		}
	}
}

func TestRemediesByVendor(t *testing.T) {
	for vendor, want := range map[evidence.Vendor]string{
		evidence.VendorRedpanda:   "R1-redpanda R1-redpanda-time R1-delete-topic R2-connections R3-client R3-idempotence R4-alerts R4-gate R0-trim",
		evidence.VendorOttla:      "R3-client R3-idempotence R4-alerts R4-gate",
		evidence.VendorWarpStream: "R1-delete-topic R3-client R3-idempotence R4-alerts R4-gate",
	} {
		s, v := ill("3.5")
		s.Cluster.Vendor = vendor
		got := remedies(s, v)
		if ids(got) != want {
			t.Errorf("%s: want %s, got %s", vendor, want, ids(got))
		}
		for _, r := range got {
			if vendor != evidence.VendorWarpStream && r.Kind == kindFree && strings.Contains(r.Command, "kafka-") {
				t.Errorf("%s: memory is freed with Kafka's own tools: %s", vendor, r.Command)
			}
		}
	}
}

func TestHealthyNeedsNothing(t *testing.T) {
	s, v := ill("4.3")
	v.Level = Healthy
	if got := remedies(s, v); got != nil {
		t.Errorf("got %s", ids(got))
	}
	empty := &Verdict{Level: Inconclusive}
	if got := remedies(&evidence.Scan{}, empty); len(got) != 0 {
		t.Errorf("nothing is known, got %s", ids(got))
	}
	// Found, and nothing else known: no panic, no empty name.
	empty.Horsemen = []Horseman{{ID: "H1", Status: Found}, {ID: "H4b", Status: Half}, {ID: "H5", Status: Found}}
	if text := list(remedies(&evidence.Scan{}, empty)); strings.Contains(text, "--entity-name --") || strings.Contains(text, "  ''") {
		t.Errorf("a name is empty:\n%s", text)
	}
}

// The time is such that the leak takes a tenth of the heap at most, and never so short that retries are stored twice.
func TestExpirationIsComputed(t *testing.T) {
	for _, c := range []struct {
		rate, heap float64
		want       time.Duration
	}{
		{38, 2 << 30, 4 * time.Hour}, {38, 32 << 30, 2 * 24 * time.Hour}, {0.001, 2 << 30, 2 * 24 * time.Hour}, {5000, 1 << 30, expirationLeast}, {38, 0, expirationLeast},
	} {
		s, v := ill("4.3")
		v.Worst.PerSecond, v.Worst.HeapMax = c.rate, c.heap
		s.Brokers[0].Configs = map[string]evidence.Value{keyProducerExpiration: {Value: "604800000", Source: "static"}}
		x := newTreatment(s, v)
		target, _, _ := x.expiration()
		if target != c.want {
			t.Errorf("%v a second, heap %v: want %v, got %v", c.rate, c.heap, c.want, target)
		}
		if share := c.rate * (target + checkInterval).Seconds() * 264 / c.heap; target > expirationLeast && share > heapWanted {
			t.Errorf("%v of the heap", share)
		}
	}
	s, v := ill("4.3")
	s.Brokers[0].Configs = map[string]evidence.Value{keyProducerExpiration: {Value: "600000", Source: "dynamic-default-broker"}}
	got := remedies(s, v)
	if r := find(got, "R0-expiration"); find(got, "R1-expiration") != nil || r == nil || !strings.HasPrefix(r.Why, "it is already 10 minutes") || got[0].Kind != kindFree {
		t.Errorf("it is as short as can be: %s", list(got))
	}
	if r := find(got, "R0-client"); r == nil || !strings.HasSuffix(r.Why, "wait for that") {
		t.Errorf("there is nothing else to do: %+v", r)
	}
	s, v = ill("2.8")
	s.Tails = []evidence.Tail{{Transactional: 3}}
	if r := find(remedies(s, v), "R1-transactional"); r == nil || !strings.Contains(r.Command, "=86400000") {
		t.Errorf("transactions are in use: %+v", r)
	}
}

func TestUndoIsWhatWas(t *testing.T) {
	s, v := ill("4.3")
	s.Brokers = append(s.Brokers, evidence.Broker{ID: 2, Configs: map[string]evidence.Value{keyProducerExpiration: {Value: "172800000", Source: "dynamic-broker"}}})
	s.Brokers[0].Configs = map[string]evidence.Value{keyProducerExpiration: {Value: "43200000", Source: "dynamic-default-broker"}}
	r := find(remedies(s, v), "R1-expiration")
	if r == nil || strings.Count(r.Command, "kafka-configs.sh") != 2 || !strings.Contains(r.Command, "--entity-name 2 --add-config") ||
		!strings.Contains(r.Undo, "ms=172800000") || !strings.Contains(r.Undo, "--entity-default --add-config producer.id.expiration.ms=43200000") {
		t.Errorf("got %+v", r)
	}
}

// TestRemediesSayWhatTheyDo: the effect is in the title, what was there before is in the way back, and nothing is promised at once.
func TestRemediesSayWhatTheyDo(t *testing.T) {
	s, v := ill("4.3")
	got := remedies(s, v)
	if r := find(got, "R1-expiration"); r == nil || !strings.HasSuffix(r.Title, "without a restart; entries fall to 144 MiB, 7 % of broker 1's heap, within 10 minutes after that") || !strings.Contains(r.Undo, "# or --add-config with the value it had") {
		t.Errorf("%+v", r)
	}
	if r := find(got, "R1-delete-topic"); r == nil || !strings.Contains(r.Title, "within about a minute") {
		t.Errorf("%+v", r)
	}
	s.Brokers[0].Configs = map[string]evidence.Value{keyProducerExpiration: {Value: "86400000", Source: "default"}}
	if r := find(remedies(s, v), "R1-expiration"); r == nil || strings.Contains(r.Undo, "#") || !strings.Contains(r.Undo, "--delete-config") {
		t.Errorf("it was the default: %+v", r)
	}
	s.Brokers[0] = evidence.Broker{ID: 1, Host: "prod-kafka-0.prod-kafka-brokers.streams.svc", Configs: map[string]evidence.Value{keyProducerExpiration: {Value: "43200000", Source: "static"}}}
	if r := find(remedies(s, v), "R1-expiration"); r == nil || !strings.Contains(r.Undo, `"producer.id.expiration.ms":43200000`) {
		t.Errorf("it was set in the resource: %+v", r)
	}
}

func TestPlacesHaveTheirOwnWay(t *testing.T) {
	for host, want := range map[string]string{
		"prod-kafka-0.prod-kafka-brokers.streams.svc":                    `kubectl -n streams patch kafka prod --type merge -p '{"spec":{"kafka":{"config":{"producer.id.expiration.ms":14400000}}}}'`,
		"prod-broker-3.prod-kafka-brokers.streams.svc.cluster.local":     "kubectl -n streams patch kafka prod",
		"b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com":            "kafka-configs.sh",
		"ec2-1-2-3-4.eu-west-1.compute.amazonaws.com":                    "kafka-configs.sh",
		"pkc-example.eu-west-1.aws.confluent.cloud":                      "kafka-configs.sh",
		"x.$(reboot)-kafka-brokers.streams.svc":                          "kafka-configs.sh",
		"prod-kafka-0.prod-kafka-brokers.streams.svc.evil.example.com\n": "kubectl -n streams patch kafka prod",
	} {
		s, v := ill("4.3")
		s.Brokers[0].Host = host
		if r := find(remedies(s, v), "R1-expiration"); r == nil || !strings.HasPrefix(r.Command, want) {
			t.Errorf("%s: want %s, got %+v", host, want, r)
		}
	}
	s, v := ill("4.3")
	s.Brokers[0].Host = "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com"
	if r := find(remedies(s, v), "R1-expiration"); !strings.Contains(r.Why, "Amazon MSK") {
		t.Errorf("got %s", r.Why)
	}
}

// Below 2.4 the newest tenth stays; compacted topics, other topics and empty partitions are left out; a long list is cut and says so.
func TestTrimKeepsTheNewest(t *testing.T) {
	s, v := ill("2.3")
	for i := range remedyPartitionsMax + 7 {
		s.Partitions = append(s.Partitions, evidence.Partition{Topic: "payments.audit", Index: int32(i + 2), Start: 0, End: 10, Since: -1})
	}
	r := find(remedies(s, v), "R1-trim")
	if r == nil || !strings.Contains(r.Command, `{"topic":"payments.audit","partition":0,"offset":10000}`) || strings.Contains(r.Command, `"partition":1,`) ||
		strings.Contains(r.Command, "other") || !strings.Contains(r.Why, "8 partitions more") {
		t.Errorf("got %+v", r)
	}
	s.Topics[0].Configs = map[string]evidence.Value{"cleanup.policy": {Value: "compact"}}
	if r := find(remedies(s, v), "R1-trim"); r != nil {
		t.Errorf("Kafka refuses to delete records of a compacted topic: %+v", r)
	}
}

func TestFutureRecords(t *testing.T) {
	for version, want := range map[string]string{"4.3": "message.timestamp.after.max.ms=3600000", "3.5": "message.timestamp.type=LogAppendTime", "": "message.timestamp.type=LogAppendTime"} {
		s, v := ill(version)
		v.Horsemen = []Horseman{{ID: "H5", Status: Found}}
		s.Tails = []evidence.Tail{{Topic: "reminders", Future: 3}, {Topic: "stamped", Future: 3, LogAppendTime: 3}}
		got := remedies(s, v)
		if r := find(got, "R4-future"); r == nil || !strings.Contains(r.Command, "reminders --add-config "+want) {
			t.Errorf("%s: got %+v", version, r)
		}
		if r := find(got, "R1-delete-topic"); r == nil || !strings.Contains(r.Command, "reminders") || strings.Contains(r.Command, "stamped") {
			t.Errorf("%s: got %+v", version, r)
		}
		if find(got, "R1-expiration") != nil {
			t.Error("a shorter expiration does not free what is dated in the future")
		}
	}
}

// A mere possibility must not be throttled or locked out, and nobody must be where everybody is meant.
func TestOnlyTheLikelyAreThrottled(t *testing.T) {
	for _, c := range []struct {
		who  []Suspect
		from []evidence.Attribution
		want string
	}{
		{[]Suspect{{What: "principal", Name: "User:a", Confidence: Possible}, {What: "principal", Name: "User:b", Confidence: Possible}}, nil, ""},
		{[]Suspect{{What: "principal", Name: "User:*", Confidence: Likely}}, nil, ""},
		{[]Suspect{{What: "principal", Name: "User:a", Confidence: Likely}}, nil, "--entity-type users --entity-name a --add-config"},
		{nil, []evidence.Attribution{{ClientID: "x", Inits: 10}, {ClientID: "y", Inits: 9}}, "--entity-type clients --entity-name x --add-config"},
		{nil, []evidence.Attribution{{ClientID: "x", Inits: 4}, {ClientID: "y", Inits: 3}, {ClientID: "z", Inits: 3}}, ""},
		{nil, []evidence.Attribution{{ClientID: "x", Inits: 10, Topic: "another"}, {ClientID: "y", Inits: 9, Topic: "payments.audit", Principal: "User:ANONYMOUS"}}, "--entity-type clients --entity-name y --add-config"},
	} {
		s, v := ill("4.3")
		v.Suspects[0].Who, s.Attributions = c.who, c.from
		r := find(remedies(s, v), "R2-requests")
		if (r != nil) != (c.want != "") || r != nil && !strings.Contains(r.Command, c.want) {
			t.Errorf("%v %v: want %q, got %+v", c.who, c.from, c.want, r)
		}
	}
}

// Names come from strangers: what is pasted must give the very name to the tool, and nothing else.
func TestCommandsAreQuoted(t *testing.T) {
	for _, name := range []string{"plain.topic-1_x", "a b", "it's", "$(touch pwned)", "`touch pwned`", "a;b|c&d>e<f", "-rf", "*", "~", "#x", "=x", "k=v", "a\nEOF\ntouch pwned", "\x1b[2J", "é", "a\\b", "!!", "", "\xff7", "'$'\n'"} {
		if strings.ContainsRune(name, 0) {
			continue
		}
		out, err := exec.Command("bash", "-c", "printf %s "+quote(name)).CombinedOutput()
		if err != nil || string(out) != name {
			t.Errorf("%q quoted as %s comes out as %q (%v)", name, quote(name), out, err)
		}
		if strings.ContainsFunc(quote(name), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q quoted as %q cannot be read", name, quote(name))
		}
	}
}

// Every command of every kind of cluster is a script that bash can read, whatever the names are; the list of offsets stays one line.
func TestCommandsParse(t *testing.T) {
	for _, name := range []string{"payments.audit", "it's $(touch pwned)\nEOF\n`touch pwned`", "-x"} {
		for _, version := range []string{"", "0.11", "2.3", "2.8", "3.3", "4.3"} {
			for _, vendor := range []evidence.Vendor{evidence.VendorKafka, evidence.VendorRedpanda, evidence.VendorOttla} {
				s, v := ill(version)
				s.Cluster.Vendor, s.Given.ClientConfig = vendor, "my client.properties"
				s.Bootstrap = []string{name}
				s.Partitions[0].Topic, s.Topics[0].Name, v.Suspects[0].Name = name, name, name
				v.Suspects[0].Who = []Suspect{{What: "principal", Name: "User:" + name, Confidence: Likely}}
				s.Attributions = []evidence.Attribution{{ClientID: name, Address: name, Inits: 3}}
				s.Tails = []evidence.Tail{{Topic: name, Future: 1}}
				v.Horsemen = []Horseman{{ID: "H1", Status: Found}, {ID: "H4b", Status: Found}, {ID: "H5", Status: Found}}
				for _, r := range remedies(s, v) {
					if r.Kind != kindRepair {
						bash(t, r.ID, r.Command)
					}
				}
			}
		}
	}
}

// bash runs a command with every tool replaced by one that does nothing, in an empty directory.
func bash(t *testing.T, id, command string) {
	t.Helper()
	if strings.HasPrefix(command, keyTransactionalExpiration+"=") {
		return // a line of server.properties
	}
	dir := t.TempDir()
	script := "kafka-configs.sh() { :; }; kafka-topics.sh() { :; }; kafka-acls.sh() { :; }; kafka-delete-records.sh() { :; }; rpk() { :; }; kubectl() { :; }; ottla() { :; }; gate.sh() { :; }\n" + command
	run := exec.Command("bash", "-euc", script)
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s: %v %s\n%s", id, err, out, command)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "trim.json" {
			t.Errorf("%s made %s:\n%s", id, f.Name(), command)
		}
	}
}

func TestRepairsSpeakTheLibrarysLanguage(t *testing.T) {
	for software, want := range map[string]string{
		"apache-kafka-java 3.7.0": "KafkaProducer", "kgo": "kgo.NewClient", "Sarama 1.43": "sarama.NewAsyncProducer", "confluent-kafka-dotnet": "AddSingleton",
		"confluent-kafka-javascript": "kafka.producer()", "confluent-kafka-python 2.5": "atexit", "something else": "explain H1", "": "explain H1",
	} {
		s, v := ill("4.3")
		v.Suspects[0].Who = []Suspect{{What: "client library", Name: software}}
		if r := find(remedies(s, v), "R3-client"); r == nil || !strings.Contains(r.Command, want) {
			t.Errorf("%s: want %s, got %+v", software, want, r)
		}
	}
	for _, id := range []string{"H1", "H2", "H4b"} {
		if _, found := explain.Page(id); !found {
			t.Errorf("remedies point to the page %s", id)
		}
	}
}

// TestUnsureDeletesNothing: what may be a rolling restart costs nobody a record, also where trimming would help.
func TestUnsureDeletesNothing(t *testing.T) {
	s := traps["rolling restart, running now, rare writers"](1)
	s.Cluster.VersionLeast, s.Cluster.VersionMost = "2.3", "2.3"
	for i := range s.Brokers {
		s.Brokers[i].Configs = nil
	}
	v := Diagnose(s)
	if v.Level != Armed || !v.Life.TrimmingHelps || len(v.Remedies) == 0 {
		t.Fatalf("%s, %+v", v.Level, v.Life)
	}
	for _, r := range v.Remedies {
		if strings.Contains(r.Command, "--delete ") || strings.Contains(r.Command, "kafka-delete-records") {
			t.Errorf("%s: %s", r.ID, r.Command)
		}
	}
}
