package diagnose

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

const (
	// deliveryTimeout is the Java client's default of delivery.timeout.ms: how long a producer sends a batch again. An entry that
	// is forgotten earlier lets the second sending be stored twice.
	deliveryTimeout = 2 * time.Minute
	// expirationLeast leaves room for producers with a longer timeout. Shorter brings little: entries are looked for every 10 minutes.
	expirationLeast = 5 * deliveryTimeout
	// transactionalLeast keeps transactional producers that pause, whose id would be forgotten with the same key below 3.4.
	transactionalLeast = time.Hour
	transactionalUsed  = day
	// heapWanted is the share of the heap that leaked entries may take after the treatment.
	heapWanted = 0.10
)

// expirationSteps are the times that are proposed: people recognise them.
var expirationSteps = []time.Duration{
	10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day,
}

// free is what gives memory back, quickest and least harmful first.
func (t *treatment) free() []Remedy {
	switch t.s.Cluster.Vendor {
	case evidence.VendorOttla, evidence.VendorKfake:
		return nil // memory does not grow with producers
	case evidence.VendorRedpanda:
		return append(t.redpanda(), t.deleteTopics()...)
	case evidence.VendorWarpStream:
		return t.deleteTopics()
	}
	var out []Remedy
	if t.leaking || t.churning {
		if t.life.TrimmingHelps && !t.unsure() {
			out = append(out, t.trim()...)
		}
		out = append(out, t.shorten()...)
	}
	return append(out, t.deleteTopics()...)
}

// shorten lets idle entries go earlier, with the key that this version has for it.
func (t *treatment) shorten() []Remedy {
	target, now, _ := t.expiration()
	if target >= now {
		return nil
	}
	setting := fmt.Sprintf("%s=%d", t.life.Key, target.Milliseconds())
	r := Remedy{
		ID: "R1-expiration", Kind: kindFree,
		Title: fmt.Sprintf("let idle producers go after %s instead of %s, without a restart; %s within 10 minutes after that", phrase.SpanInWords(target.Seconds()), phrase.SpanInWords(now.Seconds()), t.effect(target)),
		Risk:  fmt.Sprintf("a producer that is idle for longer is forgotten: if it then sends an old batch again, that is stored twice. So keep it above the delivery.timeout.ms of every application (default %s)", phrase.SpanInWords(deliveryTimeout.Seconds())),
		Why:   t.plateau(target),
		Check: t.ottla("--verify-fix before.json.gz") + " (with the scan that was recorded before: --record before.json.gz)",
	}
	if !t.life.Dynamic {
		r.ID = "R1-transactional"
		r.Title = fmt.Sprintf("let idle producers go after %s instead of %s: this line in every broker's server.properties, then a rolling restart; %s", phrase.SpanInWords(target.Seconds()), phrase.SpanInWords(now.Seconds()), t.effect(target))
		r.Risk = "transactional ids that are idle for longer are forgotten too, and their producers have to be made anew (InvalidPidMappingException); " + r.Risk
		r.Command = setting
		r.Undo = "the old value, and another rolling restart"
		r.Check = "before each next broker, this prints nothing: " + t.tool("kafka-topics.sh", "--describe --under-replicated-partitions") + "; then " + r.Check
		if t.versions.someBelow(3, 4) && !t.versions.allBelow(3, 4) {
			r.Why = strings.TrimSpace(r.Why + " The version lies between " + t.versions.String() + ": from 3.4 on the key is " + keyProducerExpiration + ", and no restart is needed")
		}
	} else {
		r.Command, r.Undo = t.alterBrokers(setting)
	}
	return []Remedy{t.placed(r, setting)}
}

// alterBrokers sets the key for the whole cluster, and takes back to what was. Brokers with a value of their own do not listen to the
// default: they are told one by one.
func (t *treatment) alterBrokers(setting string) (do, undo string) {
	alter := func(entity, change string) string {
		return t.tool("kafka-configs.sh", "--alter --entity-type brokers "+entity+" "+change)
	}
	back := "--delete-config " + t.life.Key
	var dos, undos []string
	for i := range t.s.Brokers {
		b := &t.s.Brokers[i]
		was, named := b.Configs[t.life.Key]
		switch {
		case named && was.Source == "dynamic-broker":
			entity := fmt.Sprintf("--entity-name %d", b.ID)
			dos = append(dos, alter(entity, "--add-config "+setting))
			undos = append(undos, alter(entity, "--add-config "+quote(t.life.Key+"="+was.Value)))
		case named && was.Source == "dynamic-default-broker":
			back = "--add-config " + quote(t.life.Key+"="+was.Value)
		}
	}
	if len(dos) < max(1, len(t.s.Brokers)) {
		dos = append([]string{alter("--entity-default", "--add-config "+setting)}, dos...)
		undos = append([]string{alter("--entity-default", back)}, undos...)
	}
	if !t.life.read {
		undos = append(undos, "# or --add-config with the value it had: the configuration was not read, kafka-configs.sh --describe --all tells it")
	}
	return strings.Join(dos, "\n"), strings.Join(undos, "\n")
}

// placed changes the remedy to what the place wants.
func (t *treatment) placed(r Remedy, setting string) Remedy {
	elsewhere := t.place.elsewhere(t.life.Key)
	if elsewhere == "" {
		return r
	}
	r.Why = strings.TrimSpace(r.Why + " " + strings.ToUpper(elsewhere[:1]) + elsewhere[1:])
	if t.place.name == placeStrimzi {
		key, number, _ := strings.Cut(setting, "=")
		patch := func(value string) string {
			return fmt.Sprintf("kubectl -n %s patch kafka %s --type merge -p %s", quote(t.place.namespace), quote(t.place.cluster),
				quote(fmt.Sprintf(`{"spec":{"kafka":{"config":{"%s":%s}}}}`, key, value)))
		}
		r.Command, r.Undo = patch(number), patch("null")
		if was, set := t.wasSet(); set {
			r.Undo = patch(was)
		}
	}
	return r
}

// wasSet is the key's value where somebody set it.
func (t *treatment) wasSet() (string, bool) {
	for i := range t.s.Brokers {
		if was, named := t.s.Brokers[i].Configs[t.life.Key]; named && was.Value != "" && was.Source != "default" {
			return was.Value, true
		}
	}
	return "", false
}

// expiration is the time to set: the longest of the steps with which leaked entries take a tenth of the heap at most, but never below
// least, which retries need. now is the one that is set.
func (t *treatment) expiration() (target, now, least time.Duration) {
	now = time.Duration(math.Min(t.life.Seconds, lifeMax.Seconds()) * float64(time.Second))
	least = expirationLeast
	if t.life.Key == keyTransactionalExpiration {
		least = transactionalLeast
		if t.transactions() {
			least = transactionalUsed
		}
	}
	target = least
	h := t.v.Worst
	if h == nil || h.HeapMax <= 0 || h.PerSecond <= 0 || h.EntryBytes <= 0 {
		return target, now, least
	}
	seconds := heapWanted*h.HeapMax/(h.EntryBytes*h.PerSecond) - checkInterval.Seconds()
	for _, step := range expirationSteps {
		if step > least && step.Seconds() <= seconds && step.Seconds() < t.life.Seconds {
			target = step
		}
	}
	return target, now, least
}

// transactions says whether anybody uses them.
func (t *treatment) transactions() bool {
	if t.s.Transactions != nil && t.s.Transactions.Listed > 0 {
		return true
	}
	for i := range t.s.Tails {
		if t.s.Tails[i].Transactional > 0 {
			return true
		}
	}
	return false
}

// effect is what becomes of the leaked entries with another time, for a title.
func (t *treatment) effect(target time.Duration) string {
	h := t.v.Worst
	if h == nil || h.PerSecond <= 0 || h.EntryBytes <= 0 {
		return "entries fall"
	}
	bytes := h.PerSecond * (target + checkInterval).Seconds() * h.EntryBytes
	s := "entries fall to " + phrase.Bytes(bytes)
	if h.HeapMax > 0 {
		s += fmt.Sprintf(", %s of broker %d's heap,", phrase.Percent(bytes/h.HeapMax), h.Broker)
	}
	return s
}

// plateau says what is left of the leak with another time.
func (t *treatment) plateau(target time.Duration) string {
	h := t.v.Worst
	if h == nil || h.PerSecond <= 0 || h.EntryBytes <= 0 {
		return ""
	}
	bytes := h.PerSecond * (target + checkInterval).Seconds() * h.EntryBytes
	s := fmt.Sprintf("broker %d then holds %s of leaked entries instead of %s", h.Broker, phrase.Bytes(bytes), phrase.Bytes(h.Plateau))
	if h.HeapMax > 0 {
		s += ", " + phrase.Percent(bytes/h.HeapMax) + " of its heap"
		if bytes > shareFound*h.HeapMax {
			s += ", which is still too much: throttle as well"
		}
	}
	return s + "."
}

// trim deletes records below 2.4, where their producers go with them.
func (t *treatment) trim() []Remedy {
	list, left, compacted := t.offsets()
	if len(list) == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"version": 1, "partitions": list})
	if err != nil {
		panic("BUG: a list of offsets has no JSON form: " + err.Error())
	}
	r := Remedy{
		ID: "R1-trim", Kind: kindFree, Title: fmt.Sprintf("delete all but the newest tenth of the records of %s; their producers go with them, at once", t.names()),
		Command: "cat > trim.json <<'EOF'\n" + string(body) + "\nEOF\n" + t.deleteRecords("trim.json"),
		Risk:    "the records are gone, also for consumers that have not read them: compare the offsets with kafka-consumer-groups.sh --describe first, and lower them to keep more",
		Undo:    "none",
		Check:   t.ottla("--verify-fix before.json.gz"),
		Why:     "below Kafka 2.4 a producer is forgotten when the log's start passes its last record",
	}
	if left > 0 {
		r.Why += fmt.Sprintf("; %d partitions more are not in this list", left)
	}
	if compacted > 0 {
		r.Why += fmt.Sprintf("; %d partitions are compacted, where Kafka refuses to delete records", compacted)
	}
	return []Remedy{r}
}

func (t *treatment) deleteRecords(file string) string {
	script := "kafka-delete-records.sh"
	return script + " " + t.bootstrap + t.login + " --offset-json-file " + file
}

type trimOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// offsets are up to where to delete: they keep the newest tenth.
func (t *treatment) offsets() (list []trimOffset, left, unable int) {
	treat := map[string]bool{}
	for _, c := range t.topics {
		treat[c.Name] = true
	}
	policies := map[string]bool{}
	for i := range t.s.Topics {
		if c := &t.s.Topics[i]; treat[c.Name] {
			policies[c.Name] = strings.TrimSpace(c.Configs["cleanup.policy"].Value) == "compact"
		}
	}
	for i := range t.s.Partitions {
		p := &t.s.Partitions[i]
		if !treat[p.Topic] || p.Start < 0 || p.End <= p.Start {
			continue
		}
		switch {
		case policies[p.Topic]:
			unable++
		case len(list) >= remedyPartitionsMax:
			left++
		default:
			list = append(list, trimOffset{p.Topic, p.Index, p.End - (p.End-p.Start)/10})
		}
	}
	return list, left, unable
}

// redpanda lowers how many producers are remembered, and for how long.
func (t *treatment) redpanda() []Remedy {
	const few = 10_000
	out := []Remedy{{
		ID: "R1-redpanda", Kind: kindFree, Title: fmt.Sprintf("remember at most %s producers on each core; the longest idle ones go at once, without a restart", phrase.Count(few)),
		Command: fmt.Sprintf("rpk cluster config set %s %d", keyRedpandaProducers, few),
		Risk:    "a live producer that is among the longest idle ones gets an out-of-order error at its next batch: set it well above the number of producers that are meant to live, by core",
		Undo:    t.redpandaUndo(),
		Check:   "vectorized_cluster_producer_state_manager_producer_manager_total_active_producers falls, ..._evicted_producers rises only by what leaks",
	}}
	if target := 2 * time.Hour; t.life.Seconds > target.Seconds() {
		out = append(out, Remedy{
			ID: "R1-redpanda-time", Kind: kindFree, Title: fmt.Sprintf("or: let idle producers go after %s instead of %s, without a restart", phrase.SpanInWords(target.Seconds()), phrase.SpanInWords(t.life.Seconds)),
			Command: fmt.Sprintf("rpk cluster config set %s %d", keyRedpandaExpiration, target.Milliseconds()),
			Risk:    "transactional ids that are idle for longer are forgotten too",
			Undo:    fmt.Sprintf("rpk cluster config set %s %.0f", keyRedpandaExpiration, t.life.Seconds*1000),
			Check:   "vectorized_cluster_producer_state_manager_producer_manager_total_active_producers falls",
		})
	}
	return out
}

func (t *treatment) redpandaUndo() string {
	for i := range t.s.Brokers {
		if c, found := t.s.Brokers[i].Configs[keyRedpandaProducers]; found {
			return "rpk cluster config set " + keyRedpandaProducers + value(c.Value)
		}
	}
	return "rpk cluster config set " + keyRedpandaProducers + " with the value that rpk cluster config get printed before"
}

// unsure: a mere rolling restart may look like this. That is no reason to delete anything.
func (t *treatment) unsure() bool {
	if t.churning || t.immortal || t.v.Level == Storm {
		return false
	}
	return slices.ContainsFunc(t.v.Horsemen, func(h Horseman) bool { return h.ID == "H1" && h.Status == Half && h.Confidence == Possible })
}

// deleteTopics is right on every version, and the only thing that frees entries which are dated in the future.
func (t *treatment) deleteTopics() []Remedy {
	if t.unsure() {
		return nil
	}
	names := map[string]bool{}
	for i := range t.s.Topics {
		if t.s.Topics[i].Internal {
			names[t.s.Topics[i].Name] = true // never propose to delete what Kafka itself needs
		}
	}
	var topics []string
	for _, c := range t.topics {
		if !names[c.Name] {
			topics, names[c.Name] = append(topics, c.Name), true
		}
	}
	for _, name := range t.future {
		if !names[name] {
			topics, names[name] = append(topics, name), true
		}
	}
	if len(topics) == 0 {
		return nil
	}
	var commands []string
	for _, name := range topics {
		commands = append(commands, t.tool("kafka-topics.sh", "--delete --topic"+value(topicPattern(name))))
	}
	r := Remedy{
		ID: "R1-delete-topic", Kind: kindFree, Title: "last resort: delete " + strings.Join(topics, ", ") + " and make it anew; its entries are gone within about a minute, on every version",
		Command: strings.Join(commands, "\n"), Risk: "all its records are gone; where topics are made on demand, the application makes it again with default settings",
		Undo: "none: note its partitions and settings first (kafka-topics.sh --describe, kafka-configs.sh --describe)",
	}
	if t.immortal {
		r.Why = "entries dated in the future do not go before their date and " + t.life.Key + " have passed; no setting shortens that"
	}
	if t.s.Cluster.Vendor == evidence.VendorRedpanda {
		for i, name := range topics {
			commands[i] = "rpk topic delete" + value(name)
		}
		r.Command = strings.Join(commands, "\n")
		r.Undo = "none: note its partitions and settings first (rpk topic describe)"
	}
	return []Remedy{r}
}
