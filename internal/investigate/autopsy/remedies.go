package autopsy

import (
	"fmt"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/report"
)

// remedies are what helps this broker, by its version; nothing where nothing is wrong.
func (f *facts) remedies() []diagnose.Remedy {
	if f.r.Level != diagnose.Armed && f.r.Level != diagnose.Storm || f.r.Heap.Entries <= 0 {
		return nil
	}
	topic := "TOPIC"
	if names, _ := f.suspectTopics(); len(names) > 0 && f.r.Suspects[0].Topic != "" {
		topic = names[0]
	}
	out := f.freeMemory(topic)
	if f.found("H1") {
		out = append(out, diagnose.Remedy{ID: "R3-client", Kind: "repair the client", Title: fmt.Sprintf("make one producer per process in the application that writes to %s, and keep it", topic),
			Why: "every new idempotent producer leaves an entry on every replica of every partition that it writes to", Check: "ottla investigate --verify-fix"})
	}
	return append(out,
		diagnose.Remedy{ID: "R4-gate", Kind: "prevent", Title: "run ottla investigate as a gate before a release, and alert on the rate of new producers", Command: "ottla investigate --bootstrap HOST:PORT --fail-on armed"},
		diagnose.Remedy{ID: "R0-heap", Kind: "does not help", Title: "a restart, or more heap", Why: "entries are reloaded from snapshots and logs; more heap moves the date"})
}

func (f *facts) freeMemory(topic string) (out []diagnose.Remedy) {
	least, most := versionNumber(f.r.Version.Least), versionNumber(f.r.Version.Most)
	if most == 0 {
		most = 9999
	}
	const expiration, transactional, trimming = 304, 204, 203
	if most >= expiration {
		out = append(out, diagnose.Remedy{ID: "R1-expiration", Kind: "free memory", Title: "from Kafka 3.4 on: shorten the life of idle entries, without a restart",
			Command: "kafka-configs.sh --bootstrap-server HOST:PORT --entity-type brokers --entity-default --alter --add-config producer.id.expiration.ms=600000",
			Risk:    "a producer that is idle for longer is forgotten; keep it above delivery.timeout.ms (2 minutes unless changed)",
			Undo:    "the same with --delete-config producer.id.expiration.ms", Check: "entries fall within 10 minutes: a second histogram"})
	}
	if least < expiration && most >= transactional {
		out = append(out, diagnose.Remedy{ID: "R1-transactional", Kind: "free memory", Title: "from Kafka 2.4 to 3.3: set transactional.id.expiration.ms in server.properties and restart the brokers one after another",
			Command: "transactional.id.expiration.ms=3600000",
			Risk:    "idle transactional ids are forgotten after that time as well", Undo: "the old value and another rolling restart", Check: "entries fall after the restart: a second histogram"})
	}
	if least <= trimming {
		out = append(out, diagnose.Remedy{ID: "R1-trim", Kind: "free memory", Title: fmt.Sprintf("below Kafka 2.4: delete the records of %s; its producers go with them", topic),
			Command: "kafka-delete-records.sh --bootstrap-server HOST:PORT --offset-json-file trim.json", Risk: "the records are gone", Check: "a second histogram"})
	} else {
		out = append(out, diagnose.Remedy{ID: "R0-trim", Kind: "does not help", Title: "deleting records (2.4 and later)", Why: "entries live by their own clock since KAFKA-7190"})
	}
	if f.found("H5") {
		out = append(out, diagnose.Remedy{ID: "R1-future", Kind: "free memory", Title: fmt.Sprintf("entries dated in the future do not expire: delete and make %s anew, or wait for %s", topic, report.Clock(msTime(f.content.FutureMax))),
			Command: fmt.Sprintf("kafka-configs.sh --bootstrap-server HOST:PORT --entity-type topics --entity-name %s --alter --add-config message.timestamp.after.max.ms=3600000", topic), Why: "the setting (3.6 and later) refuses such records from now on"})
	}
	return out
}
