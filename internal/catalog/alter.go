package catalog

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ResourceType is what a configuration belongs to; the numbers are those of the protocol.
type ResourceType int8

// The resource types of Kafka. Topics, brokers and groups have a configuration here.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// AlterOp is what to do with a key; the numbers are those of the protocol.
type AlterOp int8

// The operations.
const (
	OpSet      AlterOp = 0
	OpDelete   AlterOp = 1
	OpAppend   AlterOp = 2
	OpSubtract AlterOp = 3
)

// ConfigChange changes one key.
type ConfigChange struct {
	Name  string
	Op    AlterOp
	Value *string
}

// ResourceChange changes keys of one resource.
type ResourceChange struct {
	Type    ResourceType
	Name    string
	Changes []ConfigChange
}

// IncrementalAlterConfigs changes the keys that are named and leaves the others. All resources that are not refused
// change in one atomic step; the answers are in the order of the resources.
func (c *Catalog) IncrementalAlterConfigs(resources []ResourceChange, validateOnly bool) []error {
	return c.alter(resources, validateOnly, false)
}

// AlterConfigs replaces the configuration of resources: keys that are not named go back to their defaults.
func (c *Catalog) AlterConfigs(resources []ResourceChange, validateOnly bool) []error {
	return c.alter(resources, validateOnly, true)
}

func (c *Catalog) alter(resources []ResourceChange, validateOnly, replace bool) []error {
	out := make([]error, len(resources))
	type key struct {
		typ  ResourceType
		name string
	}
	count := make(map[key]int, len(resources))
	for _, r := range resources {
		count[key{r.Type, r.Name}]++
	}
	for i, r := range resources {
		if count[key{r.Type, r.Name}] > 1 {
			out[i] = Refuse(ErrInvalidRequest, "Each resource must appear at most once.")
		} else {
			out[i] = c.precheck(&resources[i])
		}
	}
	err := c.committer.propose(func(t *tx) error {
		for i := range resources {
			if out[i] != nil {
				continue
			}
			x, err := c.alteration(t.state, &resources[i], replace)
			out[i] = err
			if err == nil && !validateOnly && len(x.settings) > 0 {
				t.add(x)
			}
		}
		return nil
	})
	for i := range out {
		if out[i] == nil {
			out[i] = err
		}
	}
	return out
}

// precheck is ConfigAdminManager.preprocess: what needs no state.
func (c *Catalog) precheck(r *ResourceChange) error {
	seen := make(map[string]bool, len(r.Changes))
	var null []string
	for _, x := range r.Changes {
		if seen[x.Name] {
			return Refuse(ErrInvalidRequest, "Error due to duplicate config keys")
		}
		seen[x.Name] = true
		if x.Value == nil && x.Op != OpDelete {
			null = append(null, x.Name)
		}
	}
	if null != nil {
		return Refuse(ErrInvalidRequest, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	for _, x := range r.Changes {
		if x.Op < OpSet || x.Op > OpSubtract {
			return Refuse(ErrInvalidRequest, "Unknown operations type %d", x.Op)
		}
	}
	switch r.Type {
	case ResourceTopic:
		if r.Name == "" {
			return Refuse(ErrInvalidRequest, "Default topic resources are not allowed.")
		}
		return ValidateTopicName(r.Name)
	case ResourceBroker:
		return c.checkBrokerName(r.Name)
	case ResourceGroup:
		return checkGroupName(r.Name)
	case ResourceBrokerLogger, ResourceClientMetrics:
		return Refuse(ErrInvalidRequest, "Resource type %d has no configuration on this broker", r.Type)
	}
	return Refuse(ErrInvalidRequest, "Unknown resource type %d", r.Type)
}

func checkGroupName(name string) error {
	switch {
	case name == "":
		return Refuse(ErrInvalidRequest, "Default group resources are not allowed.")
	case len(name) > groupNameBytesMax:
		return Refuse(ErrInvalidRequest, "The name of a group can have %d bytes, not %d.", groupNameBytesMax, len(name))
	}
	return nil
}

func (c *Catalog) checkBrokerName(name string) error {
	if name == "" {
		return nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return Refuse(ErrInvalidRequest, "Node id must be an integer, but it is: %s", name)
	}
	if int32(id) != c.o.NodeID {
		return Refuse(ErrInvalidRequest, "Unexpected broker id, expected %d, but received %s", c.o.NodeID, name)
	}
	return nil
}

// alteration returns the change that a request makes to a resource, with no settings if it makes none.
func (c *Catalog) alteration(s *state, r *ResourceChange, replace bool) (change, error) {
	switch r.Type {
	case ResourceGroup:
		return c.groupAlteration(s, r, replace)
	case ResourceBroker:
		name := r.Name
		if name != "" {
			name = c.nodeName()
		}
		next, err := c.nextBrokerConfig(s.brokers[name], r, replace)
		return change{kind: kindBrokerConfig, name: name, settings: difference(s.brokers[name], next)}, err
	}
	t := s.byName[r.Name]
	var current map[string]string
	if t != nil {
		current = t.configs
	}
	next, err := nextConfig(current, r, replace, topicListDefault)
	if err == nil {
		err = checkAltered(current, next)
	}
	if err == nil {
		err = checkPinned(r.Name, touched(current, next))
	}
	if err == nil {
		err = c.checkTopicTogether(touched(current, next), next)
	}
	if err != nil {
		return change{}, err
	}
	if t == nil {
		return change{}, Refuse(ErrUnknownTopic, "The topic '%s' does not exist.", r.Name)
	}
	return change{kind: kindTopicConfig, id: t.id, settings: difference(current, canonicalAltered(current, next))}, nil
}

// checkAltered does not judge what another version has stored and nobody touched.
func checkAltered(current, next map[string]string) error {
	return checkTopicConfig(touched(current, next))
}

func canonicalAltered(current, next map[string]string) map[string]string {
	out := maps.Clone(next)
	maps.Copy(out, canonicalConfig(touched(current, next)))
	return out
}

func touched(current, next map[string]string) map[string]string {
	out := make(map[string]string, len(next))
	for k, v := range next {
		if old, found := current[k]; !found || old != v {
			out[k] = v
		}
	}
	return out
}

func difference(current, next map[string]string) []setting {
	out := settingsOf(touched(current, next))
	for _, k := range slices.Sorted(maps.Keys(current)) {
		if _, found := next[k]; !found {
			out = append(out, setting{key: k, removed: true})
		}
	}
	return out
}

// topicListDefault is the default of a topic key whose value is a list.
func topicListDefault(name string) (def string, list bool) {
	k := topicKeyByName[name]
	if k == nil || k.typ != TypeList {
		return "", false
	}
	return k.def, true
}

// nextConfig is the configuration after a request, unchecked. listDefault says which keys are lists.
func nextConfig(current map[string]string, r *ResourceChange, replace bool, listDefault func(string) (string, bool)) (map[string]string, error) {
	next := map[string]string{}
	if !replace {
		maps.Copy(next, current)
	}
	for _, x := range r.Changes {
		switch x.Op {
		case OpSet:
			next[x.Name] = *x.Value
		case OpDelete:
			delete(next, x.Name)
		default:
			def, list := listDefault(x.Name)
			if !list {
				return nil, Refuse(ErrInvalidConfig, "Can't %s to key %s because its type is not LIST.", opName(x.Op), x.Name)
			}
			old, found := next[x.Name]
			if !found {
				old = def
			}
			next[x.Name] = editList(old, *x.Value, x.Op)
		}
	}
	return next, nil
}

func opName(op AlterOp) string {
	if op == OpAppend {
		return "APPEND"
	}
	return "SUBTRACT"
}

func editList(old, edit string, op AlterOp) string {
	items := splitList(old)
	for _, item := range splitList(edit) {
		at := slices.Index(items, item)
		switch {
		case op == OpAppend && at < 0:
			items = append(items, item)
		case op == OpSubtract && at >= 0:
			items = slices.Delete(items, at, at+1)
		}
	}
	return strings.Join(items, ",")
}

// nextBrokerConfig checks only what the request sets: what is read-only cannot have got in.
func (c *Catalog) nextBrokerConfig(current map[string]string, r *ResourceChange, replace bool) (map[string]string, error) {
	next := map[string]string{}
	if !replace {
		maps.Copy(next, current)
	}
	var fixed []string
	for _, x := range r.Changes {
		if x.Op == OpDelete {
			delete(next, x.Name)
			continue
		}
		k, known := c.brokerKey(x.Name)
		if !known {
			return nil, Refuse(ErrInvalidConfig, "Unknown config name: %s", x.Name)
		}
		text := *x.Value
		if x.Op != OpSet {
			if k.Type != TypeList {
				return nil, Refuse(ErrInvalidConfig, "Config value %s is not allowed for config key: %s",
					strings.ToLower(opName(x.Op)), x.Name)
			}
			old, found := next[x.Name]
			if !found {
				old = k.Default
			}
			text = editList(old, text, x.Op)
		}
		if !c.dynamic(x.Name) {
			fixed = append(fixed, x.Name)
			continue
		}
		value, err := c.parseBroker(k, text)
		if err != nil {
			return nil, err
		}
		next[x.Name] = value
	}
	if fixed != nil {
		return nil, Refuse(ErrInvalidRequest, "Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))
	}
	return next, nil
}

// parseBroker checks a value of a dynamic broker key. Kafka answers with INVALID_REQUEST here (KAFKA-13609).
func (c *Catalog) parseBroker(k StaticConfig, text string) (string, error) {
	if t := topicKeyByBroker[k.Name]; t != nil {
		value, err := t.parse(k.Name, text)
		if err != nil {
			return "", Refuse(ErrInvalidRequest, "%s", err)
		}
		return value, nil
	}
	value, refused := parseValue(k.Type, strings.TrimSpace(text))
	if refused == "" && k.Check != nil {
		if err := k.Check(value); err != nil {
			refused = err.Error()
		}
	}
	if refused != "" {
		return "", Refuse(ErrInvalidRequest, "Invalid value %s for configuration %s: %s", value, k.Name, refused)
	}
	return value, nil
}

// publishBrokerConfigLocked puts changed broker keys in force: as defaults of topics, and for who listens.
func (c *Catalog) publishBrokerConfigLocked(x *change) {
	before := map[string]string{}
	for _, s := range x.settings {
		before[s.key] = c.BrokerValue(s.key)
	}
	next := *c.brokers.Load()
	switch x.name {
	case "":
		next.general = applySettings(next.general, x.settings)
	case c.nodeName():
		next.own = applySettings(next.own, x.settings)
	}
	c.brokers.Store(&next)

	clear(c.live.shared)
	for _, t := range c.live.byName {
		u := *t
		c.applyLocked(&u)
		c.putLocked(&u)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		now := c.BrokerValue(name)
		if topicKeyByBroker[name] == nil && now != before[name] && c.o.OnBrokerConfig != nil {
			c.o.OnBrokerConfig(name, now)
		}
	}
}

// Resource names something that has a configuration.
type Resource struct {
	Type ResourceType
	Name string
}

// ConfigResources lists what has a configuration, of the given types; of groups those that have one of their own.
func (c *Catalog) ConfigResources(types ...ResourceType) []Resource {
	var out []Resource
	if slices.Contains(types, ResourceBroker) {
		out = append(out, Resource{ResourceBroker, c.nodeName()})
	}
	if slices.Contains(types, ResourceBrokerLogger) {
		out = append(out, Resource{ResourceBrokerLogger, c.nodeName()})
	}
	if slices.Contains(types, ResourceGroup) {
		for _, name := range c.configuredGroups() {
			out = append(out, Resource{ResourceGroup, name})
		}
	}
	if slices.Contains(types, ResourceTopic) {
		for _, t := range c.Topics() {
			out = append(out, Resource{ResourceTopic, t.Name})
		}
	}
	return out
}
