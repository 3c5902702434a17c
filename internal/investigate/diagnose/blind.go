package diagnose

import (
	"fmt"

	"ottla/internal/investigate/evidence"
)

// sourceFacts says of each source what the verdict lacks without it, and what would usually allow it.
var sourceFacts = []struct{ name, matters, permission string }{
	{evidence.SourceAPIVersions, "the version is not known: remedies and the state's life are those of the newest", ""},
	{evidence.SourceMetadata, "topics and replicas are not known", "DESCRIBE on the topics"},
	{evidence.SourceConfigs, "the state's life is the version's default, not what is configured", "DESCRIBE_CONFIGS on Cluster"},
	{evidence.SourceOffsets, "there is no upper bound of live producers, and the costly sources cannot be gated", "DESCRIBE on the topics"},
	{evidence.SourceCounter, "how many producers the whole cluster makes is not known: what the suspects explain of it cannot be said", "IDEMPOTENT_WRITE on Cluster"},
	{evidence.SourceTails, "which topic gets new producers, and how many, cannot be seen", "READ on the topics"},
	{evidence.SourceClock, "when it began cannot be dated", "READ on the topics"},
	{evidence.SourceSets, "live entries are computed from rates, not counted", "READ on the topics"},
	{evidence.SourceTransactions, "whether producers have a stable transactional id was not looked up", "DESCRIBE on the transactional ids"},
	{evidence.SourceACLs, "who may write to the suspect topics is not known", "DESCRIBE on Cluster"},
	{evidence.SourceFingerprint, "what the suspect application writes was not looked at", "READ on the topics"},
	{evidence.SourceMetrics, "the heap's size and its live bytes are not known", "a metrics URL (--metrics) or --heap"},
	{evidence.SourceLogs, "client ids and addresses of the producers are not known", "request logs of the brokers (--logs)"},
}

// blind lists what could not be seen. What was not needed is left out: a source that was skipped where nothing leaks.
func (f *findings) blind() []Blind {
	var out []Blind
	needed := len(f.ranked) > 0
	for _, facts := range sourceFacts {
		s := f.scan.Source(facts.name)
		b := Blind{Source: facts.name, State: evidence.Skipped, Why: "not asked", Permission: facts.permission, Matters: facts.matters}
		optional := false
		switch facts.name {
		case evidence.SourceSets, evidence.SourceTransactions, evidence.SourceACLs, evidence.SourceFingerprint, evidence.SourceMetrics, evidence.SourceLogs, evidence.SourceClock:
			optional = true
		}
		if s != nil {
			if s.State == evidence.Seen {
				continue
			}
			b.State, b.Why = s.State, s.Why
			if s.Permission != "" {
				b.Permission = s.Permission
			} else if s.State != evidence.Denied && s.State != evidence.Skipped {
				b.Permission = ""
			}
			if b.Why == "" && len(s.Errors) > 0 {
				b.Why = s.Errors[0]
			}
		}
		if optional && !needed && (b.State == evidence.Skipped || b.State == evidence.Unsupported) {
			continue
		}
		out = append(out, b)
	}
	if n := f.silentBrokers(); n > 0 {
		out = append(out, Blind{
			Source: evidence.SourceMetadata, State: evidence.Partly, Why: fmt.Sprintf("%d of %d brokers did not answer", n, len(f.scan.Brokers)),
			Matters: "partitions that they lead were not read",
		})
	}
	return out
}

func (f *findings) silentBrokers() (n int) {
	for i := range f.scan.Brokers {
		if b := &f.scan.Brokers[i]; !b.Answered && b.Error != "" {
			n++
		}
	}
	return n
}
