package catalog

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of what groups are told one by one. A group that has a configuration need not exist, and nobody would ever
// remove those of single-use names.
const (
	// GroupConfigsMax is how many groups may have a configuration of their own.
	GroupConfigsMax = 10_000
	// GroupConfigBytesMax is how many bytes of memory all of it may take, names and values included.
	GroupConfigBytesMax = 8 << 20

	groupNameBytesMax    = math.MaxInt16 // what a record of __consumer_offsets can name
	groupConfigOverhead  = 128           // of a group, beside its texts
	groupSettingOverhead = 48            // of a key, beside its texts
)

// bound is a broker key that limits a group key, with Kafka's default where this broker does not have the key.
type bound struct {
	name string
	def  int64
}

// groupKey is one row of the configuration of a group: Kafka's GroupConfig.
type groupKey struct {
	name    string
	typ     ConfigType
	def     string
	synonym string // the broker key that is its default; empty: none
	min     int64  // of numbers, whatever the broker says
	// low and high are what the broker allows; no name: anything.
	low, high bound
	choices   []string
	check     func(value string) (refused string)
	doc       string
}

const (
	groupSession   = "session.timeout.ms"
	groupHeartbeat = "heartbeat.interval.ms"

	noShareGroups   = " This broker has no share groups."
	noStreamsGroups = " This broker has no streams groups."
)

// groupKinds are what the keys of a group begin with, in the order in which Kafka checks them.
var groupKinds = []string{"consumer.", "share.", "streams."}

func between(key string, low, high int64) (bound, bound) {
	kind, rest, _ := strings.Cut(key, ".")
	return bound{"group." + kind + ".min." + rest, low}, bound{"group." + kind + ".max." + rest, high}
}

// groupNumber is a row of a number that has a broker key of the same meaning, and a lowest and a highest one.
func groupNumber(name string, def, min, low, high int64, doc string) groupKey {
	k := groupKey{name: name, typ: TypeInt, def: strconv.FormatInt(def, 10), synonym: "group." + name, min: min, doc: doc}
	k.low, k.high = between(name, low, high)
	return k
}

// groupKeys are the keys that Kafka 4.3 takes, in the order in which it checks ranges. Those of share and streams groups
// have no effect, as at a Kafka whose features share.version and streams.version are 0: it takes them too.
var groupKeys = []groupKey{
	groupNumber("consumer.heartbeat.interval.ms", 5000, 1, 5000, 15000,
		"Time from one heartbeat to the next, as members of the group are told. Consumer protocol."),
	groupNumber("consumer.session.timeout.ms", 45000, 1, 45000, 60000,
		"Time without a heartbeat after which a member of the group is given up. Consumer protocol."),
	assignmentInterval("consumer.assignment.interval.ms", "0",
		"Time from one assignment of the group to the next, at least. A large group waits up to a second anyway. Consumer protocol."),
	groupNumber("share.heartbeat.interval.ms", 5000, 1, 5000, 15000, "Time from one heartbeat to the next."+noShareGroups),
	groupNumber("share.session.timeout.ms", 45000, 1, 45000, 60000, "Time without a heartbeat after which a member is given up."+noShareGroups),
	groupNumber("share.record.lock.duration.ms", 30000, 1000, 15000, 60000, "Time for which a record is given to a consumer."+noShareGroups),
	groupNumber("share.delivery.count.limit", 5, 2, 2, 10, "How often a record is given to a consumer at most."+noShareGroups),
	groupNumber("share.partition.max.record.locks", 2000, 100, 100, 4000, "Records of a partition that are given to consumers at the same time."+noShareGroups),
	assignmentInterval("share.assignment.interval.ms", "1000", "Time from one assignment to the next, at least."+noShareGroups),
	groupNumber("streams.heartbeat.interval.ms", 5000, 1, 5000, 15000, "Time from one heartbeat to the next."+noStreamsGroups),
	groupNumber("streams.session.timeout.ms", 45000, 1, 45000, 60000, "Time without a heartbeat after which a member is given up."+noStreamsGroups),
	{name: "streams.num.standby.replicas", typ: TypeInt, def: "0", synonym: "group.streams.num.standby.replicas",
		high: bound{"group.streams.max.standby.replicas", 2}, doc: "Standby copies of each task." + noStreamsGroups},
	assignmentInterval("streams.assignment.interval.ms", "1000", "Time from one assignment to the next, at least."+noStreamsGroups),
	{name: "streams.initial.rebalance.delay.ms", typ: TypeInt, def: "3000", synonym: "group.streams.initial.rebalance.delay.ms",
		doc: "Time that the first rebalance of a new group waits for more members." + noStreamsGroups},
	{name: "share.auto.offset.reset", typ: TypeString, def: "latest", check: checkShareReset,
		doc: "Where a partition begins for the group: earliest, latest, or by_duration: and an ISO 8601 duration before now." + noShareGroups},
	{name: "share.isolation.level", typ: TypeString, def: "read_uncommitted", choices: []string{"read_committed", "read_uncommitted"},
		doc: "Whether records of open and aborted transactions are given to consumers." + noShareGroups},
	{name: "share.renew.acknowledge.enable", typ: TypeBoolean, def: "true", doc: "Whether consumers may ask for more time." + noShareGroups},
}

func assignmentInterval(name, def, doc string) groupKey {
	k := groupNumber(name, 0, 0, 0, 15000, doc)
	k.def = def
	return k
}

var groupKeyByName = func() map[string]*groupKey {
	m := make(map[string]*groupKey, len(groupKeys))
	for i := range groupKeys {
		m[groupKeys[i].name] = &groupKeys[i]
	}
	return m
}()

// durationForm is what java.time.Duration.parse takes.
var durationForm = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?$`)

const durationBytesMax = 128

// checkShareReset is ShareGroupAutoOffsetResetStrategy.Validator.
func checkShareReset(value string) string {
	if value == "earliest" || value == "latest" {
		return ""
	}
	if text, found := strings.CutPrefix(value, "by_duration:"); found && isDuration(text) {
		return ""
	}
	return "Invalid value `" + value + "` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
}

// isDuration says whether text is an ISO 8601 duration that is not negative and that 63 bits of seconds can hold.
func isDuration(text string) bool {
	if len(text) > durationBytesMax {
		return false
	}
	p := durationForm.FindStringSubmatch(text)
	if p == nil || strings.EqualFold(p[3], "T") || p[2] == "" && p[3] == "" {
		return false
	}
	total := 0.0
	for i, unit := range map[int]float64{2: 86400, 4: 3600, 5: 60, 6: 1} {
		if p[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(p[i], 10, 64)
		if err != nil {
			return false
		}
		total += float64(n) * unit
	}
	if fraction, err := strconv.ParseFloat("0."+p[7]+"0", 64); err == nil && strings.HasPrefix(p[6], "-") {
		total -= fraction
	} else if err == nil {
		total += fraction
	}
	if p[1] == "-" {
		total = -total
	}
	return total >= 0 && total < math.MaxInt64
}

// parse returns the canonical text of a value, as ConfigDef does.
func (k *groupKey) parse(text string) (string, error) {
	value, refused := parseValue(k.typ, strings.TrimSpace(text))
	switch {
	case refused != "":
	case k.typ == TypeInt:
		if n, _ := strconv.ParseInt(value, 10, 64); n < k.min {
			refused = "Value must be at least " + strconv.FormatInt(k.min, 10)
		}
	case k.choices != nil && !slices.Contains(k.choices, value):
		refused = "String must be one of: " + strings.Join(k.choices, ", ")
	case k.check != nil:
		refused = k.check(value)
	}
	if refused != "" {
		return "", Refuse(ErrInvalidConfig, "Invalid value %s for configuration %s: %s", value, k.name, refused)
	}
	return value, nil
}

// groupDefault is the value of a key of a group that was not told another one.
func (c *Catalog) groupDefault(k *groupKey) string {
	if k.synonym != "" && k.name != "consumer.assignment.interval.ms" {
		if v := c.BrokerValue(k.synonym); v != "" {
			return v
		}
	}
	return k.def
}

func (c *Catalog) boundValue(b bound) int64 {
	if n, err := strconv.ParseInt(c.BrokerValue(b.name), 10, 64); err == nil {
		return n
	}
	return b.def
}

// groupAlteration returns the change that a request makes to a group, with no settings if it makes none.
func (c *Catalog) groupAlteration(s *state, r *ResourceChange, replace bool) (change, error) {
	current := s.groups[r.Name]
	next, err := nextConfig(current, r, replace, func(string) (string, bool) { return "", false }) // there is no list
	if err == nil {
		err = c.checkGroupConfig(next)
	}
	if err != nil {
		return change{}, err
	}
	for name, text := range next {
		value, err := groupKeyByName[name].parse(text)
		if err != nil {
			panic("BUG: unchecked group configuration: " + err.Error())
		}
		next[name] = value
	}
	if err := checkGroupRoom(s, r.Name, current, next); err != nil {
		return change{}, err
	}
	return change{kind: kindGroupConfig, name: r.Name, settings: difference(current, next)}, nil
}

// checkGroupRoom refuses what would go over a limit. What takes less than before is never refused.
func checkGroupRoom(s *state, name string, current, next map[string]string) error {
	switch bytes := s.groupBytes - groupConfigBytes(name, current) + groupConfigBytes(name, next); {
	case current == nil && len(next) > 0 && len(s.groups) >= GroupConfigsMax:
		return Refuse(ErrPolicyViolation, "At most %d groups can have a configuration of their own.", GroupConfigsMax)
	case bytes > GroupConfigBytesMax && bytes > s.groupBytes:
		return Refuse(ErrPolicyViolation, "The configurations of groups can take %d bytes at most.", GroupConfigBytesMax)
	}
	return nil
}

// groupConfigBytes is what a group's configuration counts for, 0 if it is empty.
func groupConfigBytes(name string, configs map[string]string) int {
	if len(configs) == 0 {
		return 0
	}
	n := groupConfigOverhead + len(name)
	for k, v := range configs {
		n += groupSettingOverhead + len(k) + len(v)
	}
	return n
}

// checkGroupConfig is GroupConfig.validate: names, then values, then what the broker allows, then two keys together.
func (c *Catalog) checkGroupConfig(overrides map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if groupKeyByName[name] == nil {
			return Refuse(ErrInvalidConfig, "Unknown group config name: %s", name)
		}
	}
	numbers := map[string]int64{}
	for i := range groupKeys {
		k := &groupKeys[i]
		text, found := overrides[k.name]
		if !found {
			text = c.groupDefault(k)
		}
		value, err := k.parse(text)
		if err != nil {
			return err
		}
		numbers[k.name], _ = strconv.ParseInt(value, 10, 64) // 0 for what is no number
	}
	for i := range groupKeys {
		k := &groupKeys[i]
		if _, found := overrides[k.name]; !found {
			continue // the broker's own are checked when it starts
		}
		if k.low.name != "" && numbers[k.name] < c.boundValue(k.low) {
			return Refuse(ErrInvalidConfig, "%s must be greater than or equal to %s", k.name, k.low.name)
		}
		if k.high.name != "" && numbers[k.name] > c.boundValue(k.high) {
			return Refuse(ErrInvalidConfig, "%s must be less than or equal to %s", k.name, k.high.name)
		}
	}
	for _, kind := range groupKinds {
		if numbers[kind+groupSession] <= numbers[kind+groupHeartbeat] {
			return Refuse(ErrInvalidConfig, "%s must be greater than %s", kind+groupSession, kind+groupHeartbeat)
		}
	}
	return nil
}

// GroupConfig describes the configuration of a group, by name, as ConfigHelper.createGroupConfigEntry does: keys of groups
// that were told nothing, and of those that do not exist, have the broker's values.
func (c *Catalog) GroupConfig(group string) []ConfigEntry {
	overrides := c.GroupOverrides(group)
	out := make([]ConfigEntry, 0, len(groupKeys))
	for i := range groupKeys {
		k := &groupKeys[i]
		e := ConfigEntry{Name: k.name, Value: c.groupDefault(k), Type: k.typ, Doc: k.doc, Source: SourceDefault}
		synonyms := []Synonym{{k.name, k.def, SourceDefault}}
		if k.synonym != "" && k.name != "consumer.assignment.interval.ms" {
			if synonyms = c.brokerSynonyms(same(k.synonym)); synonyms == nil {
				synonyms = []Synonym{{k.synonym, k.def, SourceDefault}} // a key of Kafka's that this broker does not have
			}
		}
		e.Source = synonyms[0].Source
		if v, found := overrides[k.name]; found {
			e.Value, e.Source = v, SourceGroup
			e.Synonyms = []Synonym{{k.name, v, SourceGroup}}
		}
		e.Default = e.Source == SourceDefault
		e.Synonyms = append(e.Synonyms, synonyms...)
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// GroupOverrides returns what a group was told and others were not, nil if nothing. The map is shared and must not be
// changed. It is cheap.
func (c *Catalog) GroupOverrides(group string) map[string]string {
	c.groups.RLock()
	defer c.groups.RUnlock()
	return c.groups.configs[group]
}

// publishGroupConfig puts a change in force.
func (c *Catalog) publishGroupConfig(x *change) {
	c.groups.Lock()
	defer c.groups.Unlock()
	if m := applySettings(c.groups.configs[x.name], x.settings); m != nil {
		c.groups.configs[x.name] = m
	} else {
		delete(c.groups.configs, x.name)
	}
}

// configuredGroups lists the groups that were told something, by name.
func (c *Catalog) configuredGroups() []string {
	c.groups.RLock()
	defer c.groups.RUnlock()
	return slices.Sorted(maps.Keys(c.groups.configs))
}
