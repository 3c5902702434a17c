package diagnose

import (
	"fmt"

	"ottla/internal/investigate/phrase"
)

// Thresholds of the other causes that look alike from outside.
const (
	manyPartitions  = 4_000   // replicas on one broker
	tooMany         = 10_000  // of them: Kafka's own advice is less than 4,000 a broker
	manyTransaction = 100_000 // transactional ids: some 300 bytes each on their coordinators
)

// others says of each other cause what the scan can tell of it.
func (f *findings) others() []Other {
	return []Other{f.otherTransactions(), f.otherPartitions(), f.otherGroups(), f.otherConnections()}
}

func (f *findings) otherTransactions() Other {
	o := Other{Name: "transactional ids", Status: NotChecked, Why: "transactions were not listed (DESCRIBE on the transactional ids)"}
	t := f.scan.Transactions
	if t == nil {
		return o
	}
	n := t.Listed + max(t.LeftOut, 0)
	o.Status, o.Why = Absent, fmt.Sprintf("%s transactional ids are remembered", phrase.Exact(float64(max(n, 0))))
	if n >= manyTransaction {
		o.Status, o.Why = Found, o.Why+": they live on their coordinators' heap for transactional.id.expiration.ms (7 days)"
	} else if n >= manyTransaction/10 {
		o.Status = Half
	}
	return o
}

func (f *findings) otherPartitions() Other {
	most, broker := 0, int32(-1)
	on := map[int32]int{}
	for i := range f.scan.Partitions {
		for _, id := range f.scan.Partitions[i].Replicas {
			on[id]++
		}
	}
	for id, n := range on {
		if n > most || n == most && id < broker {
			most, broker = n, id
		}
	}
	o := Other{Name: "too many partitions", Status: NotChecked, Why: "no partitions were listed"}
	if most == 0 {
		return o
	}
	o.Status, o.Why = Absent, fmt.Sprintf("at most %s replicas on a broker (%d)", phrase.Exact(float64(most)), broker)
	if most >= tooMany {
		o.Status = Found
	} else if most >= manyPartitions {
		o.Status = Half
	}
	return o
}

func (f *findings) otherGroups() Other {
	o := Other{Name: "consumer groups and their offsets", Status: NotChecked, Why: "a scan does not ask for them: a class histogram with many OffsetAndMetadata tells (ottla autopsy)"}
	records := int64(0)
	for _, p := range f.partitions["__consumer_offsets"] {
		if p.Since >= 0 && p.End >= p.Since {
			records += p.End - p.Since
		}
	}
	if records > 0 {
		o.Why = fmt.Sprintf("%s offset commits since entries last expired; %s", phrase.Exact(float64(records)), o.Why)
	}
	return o
}

func (f *findings) otherConnections() Other {
	return Other{Name: "connections and client ids", Status: NotChecked, Why: "a scan does not ask for them: a class histogram with many KafkaChannel or Sensor tells (ottla autopsy)"}
}
