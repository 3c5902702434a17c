package broker

// feature is something that clients may ask for before they use it (KIP-584).
type feature struct {
	name     string
	min, max int16 // levels that this broker can have
	level    int16 // the level in force
	// groups is set for what only a broker that serves groups has.
	groups bool
}

// features are all of them. Of Kafka 4.3's others, share.version, streams.version and
// transaction.version are at level 0 here, which clients assume of what is not told; metadata.version,
// kraft.version and eligible.leader.replicas.version are about controllers that do not exist.
var features = []feature{
	{name: "group.version", min: 0, max: 1, level: 1, groups: true}, // 1: the consumer protocol, KIP-848
}

// features lists those that the broker has.
func (b *Broker) features() []feature {
	var out []feature
	for _, f := range features {
		if !f.groups || b.o.Groups != nil {
			out = append(out, f)
		}
	}
	return out
}

func (b *Broker) feature(name string) (feature, bool) {
	for _, f := range b.features() {
		if f.name == name {
			return f, true
		}
	}
	return feature{}, false
}
