package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/explain"
	"ottla/internal/investigate/phrase"
)

// culprit is who leaks, as far as is known. Empty: not known.
type culprit struct {
	principal, client, address, library string
}

// whose names the treated topics' application as far as quotas and access rules may be pointed at it: what a log counted, then what
// the verdict holds for likely. A mere possibility is for people to look into.
func (t *treatment) whose() culprit {
	var c culprit
	set := func(to *string, name string) {
		if *to == "" {
			*to = name
		}
	}
	if a := t.loudest(); a != nil {
		c = culprit{principal: a.Principal, client: a.ClientID, address: a.Address, library: a.Software}
	}
	for _, topic := range t.topics {
		for _, w := range topic.Who {
			switch {
			case w.What == "client library":
				set(&c.library, w.Name)
			case w.Confidence == Possible || w.Confidence == "":
			case w.What == "principal":
				set(&c.principal, w.Name)
			case w.What == "address":
				set(&c.address, w.Name)
			}
		}
	}
	if c.principal == "User:ANONYMOUS" || c.principal == "User:*" {
		c.principal = "" // quotas and access rules would meet everybody
	}
	return c
}

// loudest is who asked for half of the producer ids or more, by a log; nil if there is none.
func (t *treatment) loudest() *evidence.Attribution {
	var most *evidence.Attribution
	var total float64
	for i := range t.s.Attributions {
		a := &t.s.Attributions[i]
		if a.Topic != "" && !slices.ContainsFunc(t.topics, func(c *Topic) bool { return c.Name == a.Topic }) {
			continue
		}
		total += float64(max(a.Inits, 0))
		if a.Inits > 0 && (most == nil || a.Inits > most.Inits) {
			most = a
		}
	}
	if most == nil || float64(most.Inits) < total/2 {
		return nil
	}
	return most
}

func (c culprit) String() string {
	var parts []string
	for _, p := range [][2]string{{"principal ", c.principal}, {"client id ", c.client}, {"at ", c.address}, {"with ", c.library}} {
		if p[1] != "" {
			parts = append(parts, p[0]+p[1])
		}
	}
	return strings.Join(parts, ", ")
}

// throttle is what buys time today, while the client is not repaired yet.
func (t *treatment) throttle() []Remedy {
	if !t.leaking && !t.churning {
		return nil
	}
	c := t.whose()
	switch {
	case t.s.Cluster.Vendor == evidence.VendorRedpanda:
		return []Remedy{{
			ID: "R2-connections", Kind: kindThrottle, Title: "slow down new connections, by broker and core",
			Command: "rpk cluster config set kafka_connection_rate_limit 20",
			Risk:    "it meets every client of the cluster, also after a restart of many; addresses that must not wait go into kafka_connection_rate_limit_overrides",
			Undo:    "rpk cluster config set kafka_connection_rate_limit ''", Check: "births fall: " + t.ottla(""),
		}}
	case !t.kafka():
		return nil
	}
	var out []Remedy
	if !t.versions.allBelow(2, 7) {
		out = append(out, t.connections(c))
	}
	out = append(out, t.requests(c)...)
	return append(out, t.deny(c)...)
}

// connections is the quota of KIP-612, 2.7 and later.
func (t *treatment) connections(c culprit) Remedy {
	address := c.address
	r := Remedy{
		ID: "R2-connections", Kind: kindThrottle, Title: "slow down new connections from the application's address (2.7 and later): a producer for each record mostly is a connection for each",
		Risk:  "every application at that address waits when it connects; behind a NAT those are many",
		Check: "births fall to about one for each connection that is let in: " + t.ottla(""),
	}
	if address == "" {
		address = "ADDRESS"
		r.Why = "the address is not known: netstat on the broker, or --logs with a request log, tells who connects most"
	}
	entity := "--entity-type ips --entity-name" + value(address)
	r.Command = t.tool("kafka-configs.sh", "--alter "+entity+" --add-config connection_creation_rate=1")
	r.Undo = t.tool("kafka-configs.sh", "--alter "+entity+" --delete-config connection_creation_rate")
	return r
}

// requests is the quota on a broker's threads, by user, client id, or both.
func (t *treatment) requests(c culprit) []Remedy {
	var entity string
	if user, found := strings.CutPrefix(c.principal, "User:"); found {
		entity = " --entity-type users --entity-name" + value(user)
	}
	if c.client != "" {
		entity += " --entity-type clients --entity-name" + value(c.client)
	}
	if entity == "" {
		return nil
	}
	r := Remedy{
		ID: "R2-requests", Kind: kindThrottle, Title: "give the application one hundredth of one broker thread",
		Risk: "it slows everything that this user or client id sends",
		Why:  "the broker answers at once and tells the client to wait: one that throws its producer away after each record and makes many at a time hardly waits. Connections and access rules hold it better",
	}
	alter := func(change string) string {
		if t.versions.allBelow(2, 6) { // KIP-546 brought quotas to the admin protocol
			return "kafka-configs.sh --zookeeper ZOOKEEPER:2181 --alter" + entity + " " + change
		}
		return t.tool("kafka-configs.sh", "--alter"+entity+" "+change)
	}
	r.Command, r.Undo = alter("--add-config request_percentage=1"), alter("--delete-config request_percentage")
	r.Check = "births fall: " + t.ottla("")
	return []Remedy{r}
}

// deny is for a heap that is full within a week, and one known principal.
func (t *treatment) deny(c culprit) []Remedy {
	h := t.v.Worst
	if !strings.HasPrefix(c.principal, "User:") || h == nil || h.HeapMax <= 0 || h.UntilFull < 0 || h.UntilFull > week.Seconds() || len(t.topics) == 0 {
		return nil
	}
	if t.s.ACLs == nil || t.s.ACLs.NoAuthorizer {
		return nil
	}
	var add, remove []string
	for _, topic := range t.topics {
		rule := "--deny-principal" + value(c.principal) + " --operation Write --topic" + value(topic.Name)
		add = append(add, t.tool("kafka-acls.sh", "--add "+rule))
		remove = append(remove, t.tool("kafka-acls.sh", "--remove --force "+rule))
	}
	return []Remedy{{
		ID: "R2-deny", Kind: kindThrottle, Title: fmt.Sprintf("stop it: forbid %s to write to %s", c.principal, t.names()),
		Command: strings.Join(add, "\n"), Undo: strings.Join(remove, "\n"),
		Risk:  "the application gets TOPIC_AUTHORIZATION_FAILED, and what it wants to write is lost unless it keeps it",
		Check: "births are back to what they were: " + t.ottla(""),
		Why:   fmt.Sprintf("broker %d's heap is full in %s", h.Broker, phrase.SpanInWords(h.UntilFull)),
	}}
}

// repair is what ends the leak.
func (t *treatment) repair() []Remedy {
	if !t.leaking && !t.churning {
		return nil
	}
	c := t.whose()
	library := explain.Library(c.library)
	var out []Remedy
	if t.churning {
		out = append(out, t.pool(library))
	}
	if t.leaking {
		out = append(out, t.reuse(c, library), t.single(library))
	}
	return out
}

func (t *treatment) reuse(c culprit, library string) Remedy {
	r := Remedy{
		ID: "R3-client", Kind: kindRepair, Title: "make one producer when the process starts and keep it until the process ends", Check: "births fall to one for each start of a process: " + t.ottla(""),
		Command: "ottla investigate explain H1",
	}
	if who := c.String(); who != "" {
		r.Title += " (" + who + ")"
	}
	if len(t.topics) > 0 {
		w := t.topics[0]
		r.Why = fmt.Sprintf("in %s half of the producers write at most %s and live at most %s; ", w.Name, phrase.Plural(w.BatchesMedian, "batch", "batches"), lifetime(w.LifeMedian))
	}
	r.Why += "producers are made to be shared by threads, in every library"
	if library == "" {
		return r
	}
	r.Why += "; idempotence is " + explain.Idempotence(library)
	if snippet, found := explain.Snippet("H1", library); found {
		r.Command = snippet
	}
	return r
}

// single is for those who really need a producer for each task: functions, plug-ins, short batch jobs.
func (t *treatment) single(library string) Remedy {
	r := Remedy{
		ID: "R3-idempotence", Kind: kindRepair, Title: "where a producer for each task cannot be avoided: without idempotence it leaves no entry", Command: "enable.idempotence=false",
		Risk: "a batch that is sent again after a lost answer is stored twice; with retries and more than one request in flight, records may change places",
		Undo: "enable.idempotence=true", Check: "batches without a producer id: H2 falls", Why: "`ottla investigate explain H2` says which libraries switch it on by themselves",
	}
	if snippet, found := explain.Snippet("H2", library); found {
		r.Command = snippet
	}
	return r
}

func (t *treatment) pool(library string) Remedy {
	r := Remedy{
		ID: "R3-pool", Kind: kindRepair, Title: "use transactional ids again: one for each instance that runs at the same time, from a small fixed set, not one for each task",
		Command: "ottla investigate explain H4b", Check: "the same producer id comes back with a higher epoch: H4b goes to ABSENT",
		Risk: "two instances with the same id fence each other: a set must be as large as what runs at the same time",
	}
	if snippet, found := explain.Snippet("H4b", library); found {
		r.Command = snippet
	}
	return r
}

func lifetime(seconds float64) string {
	if seconds < 1 {
		return "a second"
	}
	return phrase.SpanInWords(seconds)
}
