package diagnose

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

// suspectsOfTopicMax is the longest list of applications named for one topic.
const suspectsOfTopicMax = 8

// suspects are the ranked topics, and how much of the cluster's births they explain; -1 if births are not known.
func (f *findings) suspects() ([]Topic, float64) {
	var out []Topic
	explained, bytes := 0.0, 0.0
	sizes := make([]float64, len(f.ranked))
	for i, t := range f.ranked {
		sizes[i] = t.entries * t.stay * f.entrySize(t) * float64(t.replicas)
		bytes += sizes[i]
	}
	for i, t := range f.ranked[:min(len(f.ranked), SuspectsMax)] {
		topic := f.topicOf(t)
		if f.births.Known && !f.birthsOfTopics && f.births.PerSecond > 0 {
			topic.Explains = math.Min(t.localBirths()/f.births.PerSecond, 1)
			explained += topic.Explains
		}
		if bytes > 0 {
			topic.HeapShare = finite(sizes[i] / bytes)
		}
		out = append(out, topic)
	}
	if !f.births.Known || f.birthsOfTopics {
		return out, -1
	}
	return out, math.Min(explained, 1)
}

// localBirths leaves out the ids of other clusters.
func (f *topicFacts) localBirths() float64 {
	if f.newborn == 0 {
		return f.births
	}
	return f.births * math.Max(1-float64(f.foreign)/float64(f.newborn), 0)
}

func (f *findings) topicOf(t *topicFacts) Topic {
	live := f.live(t)
	out := Topic{
		Name: t.name, Partitions: t.partitions, Replicas: t.replicas, Sampled: t.sampled, Batches: t.batches, Producers: t.total, Newborn: t.newborn,
		NewbornShare: t.share, BatchesMedian: finite(t.batchesMedian), LifeMedian: finite(t.lifeMedian), BirthsPerSecond: t.births, EntriesPerSecond: t.entries,
		Live: -1, LiveBound: int64(live.bound), LiveSource: live.source, PIDLeast: t.least, PIDMost: t.most, Lives: t.lives,
	}
	if t.batches > 0 {
		out.IdempotentShare = math.Min(float64(t.idempotent)/float64(t.batches), 1)
	}
	if live.count >= 0 {
		out.Live = int64(math.Min(live.count, 1e18))
	}
	out.Who = f.who(t)
	return out
}

// who gathers what points to the application: access rules, logs, transactional ids, fingerprints. The surest first.
func (f *findings) who(t *topicFacts) []Suspect {
	out := slices.Concat(f.byACL(t), f.byAttribution(t), f.byTransaction(t), f.byFingerprint(t))
	order := map[Confidence]int{Confirmed: 0, Likely: 1, Possible: 2}
	slices.SortStableFunc(out, func(a, b Suspect) int { return order[a.Confidence] - order[b.Confidence] })
	return out[:min(len(out), suspectsOfTopicMax)]
}

// byACL: who may write. One principal alone is near certainty.
func (f *findings) byACL(t *topicFacts) []Suspect {
	if f.scan.ACLs == nil || f.scan.ACLs.NoAuthorizer {
		return nil
	}
	seen := map[string]bool{}
	var names []string
	for i := range f.scan.ACLs.ACLs {
		a := &f.scan.ACLs.ACLs[i]
		if !strings.EqualFold(a.Permission, "allow") || !covers(a, t.name) || seen[a.Principal] {
			continue
		}
		switch strings.ToLower(a.Operation) {
		case "write", "all", "any":
			seen[a.Principal] = true
			names = append(names, a.Principal)
		}
	}
	sort.Strings(names)
	var out []Suspect
	for _, name := range names {
		s := Suspect{What: "principal", Name: name, Confidence: Possible, Source: evidence.SourceACLs, Why: fmt.Sprintf("one of %d that may write to %s", len(names), t.name)}
		if len(names) == 1 && name != "User:*" {
			s.Confidence, s.Why = Likely, "nobody else may write to "+t.name+", superusers aside"
		}
		out = append(out, s)
	}
	return out
}

func covers(a *evidence.ACL, topic string) bool {
	kind, name, found := strings.Cut(a.Resource, ":")
	if found && !strings.EqualFold(kind, "topic") {
		return false
	}
	if !found {
		name = a.Resource
	}
	if strings.EqualFold(a.Pattern, "prefixed") {
		return strings.HasPrefix(topic, name)
	}
	return name == topic || name == "*"
}

// byAttribution: who asked for producer ids, by a log or a broker that remembers it.
func (f *findings) byAttribution(t *topicFacts) []Suspect {
	type line struct {
		what, name, from string
		inits, produces  int64
		direct           bool
	}
	var lines []line
	total := 0.0
	for i := range f.scan.Attributions {
		a := &f.scan.Attributions[i]
		if a.Topic != "" && a.Topic != t.name {
			continue
		}
		total += math.Max(float64(a.Inits), 0)
		l := line{from: a.From, inits: a.Inits, produces: a.Produces, direct: a.Topic == t.name}
		switch {
		case a.ClientID != "":
			l.what, l.name = "client id", a.ClientID
		case a.Principal != "":
			l.what, l.name = "principal", a.Principal
		case a.Address != "":
			l.what, l.name = "address", a.Address
		case a.Software != "":
			l.what, l.name = "client library", a.Software
		default:
			continue
		}
		if a.ClientID != "" && a.Principal != "" {
			l.name += " of " + a.Principal
		}
		if a.Inits > 0 && (l.direct || a.Produces == 0 || float64(a.Inits) >= 0.05*float64(a.Produces)) {
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return compare(b.inits, a.inits) })
	var out []Suspect
	for _, l := range lines {
		part := float64(l.inits) / total
		s := Suspect{What: l.what, Name: l.name, Confidence: Possible, Source: evidence.SourceLogs}
		s.Why = fmt.Sprintf("asked for %s producer ids (%s of all) and produced %s times, by %s", phrase.Exact(float64(l.inits)), phrase.Percent(part), phrase.Exact(math.Max(float64(l.produces), 0)), l.from)
		if l.direct || part >= 0.5 {
			s.Confidence = Likely
		}
		if l.direct && part >= 0.5 {
			s.Confidence = Confirmed
		}
		out = append(out, s)
	}
	return out
}

func (f *findings) byTransaction(t *topicFacts) []Suspect {
	if f.scan.Transactions == nil {
		return nil
	}
	var out []Suspect
	for _, known := range f.scan.Transactions.Known {
		i, found := slices.BinarySearchFunc(t.producers, known.PID, func(p seen, pid int64) int { return compare(p.pid, pid) })
		if !found || !t.producers[i].txn || !t.churn {
			continue
		}
		out = append(out, Suspect{"transactional id", known.ID, Likely, evidence.SourceTransactions, fmt.Sprintf("holds producer id %d, which wrote here", known.PID)})
		if len(out) == 3 {
			break
		}
	}
	return out
}

// byFingerprint: what the application writes names it, if not its owner.
func (f *findings) byFingerprint(t *topicFacts) []Suspect {
	var out []Suspect
	for i := range f.scan.Fingerprints {
		p := &f.scan.Fingerprints[i]
		if p.Topic != t.name {
			continue
		}
		if len(p.HeaderKeys) > 0 {
			keys := make([]string, 0, len(p.HeaderKeys))
			for key := range p.HeaderKeys {
				keys = append(keys, key)
			}
			sort.Strings(keys)
			out = append(out, Suspect{"header keys", strings.Join(keys[:min(len(keys), 8)], ", "), Possible, evidence.SourceFingerprint, "headers of the records that newborn producers write"})
		}
		if p.SchemaID > 0 {
			out = append(out, Suspect{"schema", fmt.Sprint(p.SchemaID), Possible, evidence.SourceFingerprint, "schema id of the records: the schema registry knows its subject and owner"})
		}
		if len(out) >= 4 {
			break
		}
	}
	return out
}
