package group

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Limits of subscriptions by regular expression. Matching takes time in proportion to instructions times the length of all topic
// names, and one group resolves all its expressions at once, in a heartbeat.
const (
	// regexBytesMax is the longest expression, in bytes.
	regexBytesMax = 4096
	// regexInstructionsMax is the largest program an expression may compile to; "x{1000}" has a thousand instructions.
	regexInstructionsMax = 4096
	// regexesMax is how many different expressions the members of one group may subscribe with.
	regexesMax = 256
	// regexRefreshInterval is the shortest time between two looks of one group at all topics
	// (GroupMetadataManager.REGEX_BATCH_REFRESH_MIN_INTERVAL_MS); a new expression is resolved at once.
	regexRefreshInterval = 10 * time.Second
)

// compileRegex makes an RE2 expression one that matches whole names. Kafka uses RE2/J, whose syntax is that of package regexp.
func compileRegex(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > regexBytesMax {
		return nil, fmt.Errorf("longer than %d bytes", regexBytesMax)
	}
	// Checked alone first: a ")(" must not break out of the group that is put around it.
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > regexInstructionsMax {
		return nil, fmt.Errorf("compiles to more than %d instructions", regexInstructionsMax)
	}
	return regexp.Compile(`\A(?:` + pattern + `)\z`)
}

// checkRegex refuses what a member must not subscribe with. One the group has already is good.
func (c *consumerGroup) checkRegex(pattern string) *refusal {
	if r := c.regexes[pattern]; pattern == "" || r != nil && r.members > 0 {
		return nil
	}
	if len(c.regexes) >= regexesMax {
		return &refusal{kerr.InvalidRegularExpression.Code, fmt.Sprintf("The group subscribes with %d regular expressions already.", regexesMax)}
	}
	if _, err := compileRegex(pattern); err != nil {
		return &refusal{kerr.InvalidRegularExpression.Code, fmt.Sprintf("SubscribedTopicRegex `%.100s` is not valid: %v.", pattern, err)}
	}
	return nil
}

// dropRegexes forgets the expressions that nobody subscribes with any more.
func (c *consumerGroup) dropRegexes(out *Output) {
	for _, pattern := range slices.Sorted(maps.Keys(c.regexes)) {
		if r := c.regexes[pattern]; r.members <= 0 {
			delete(c.regexes, pattern)
			c.subscriptions++
			if r.resolved {
				c.tombstone(out, keyRegularExpression, pattern)
			}
		}
	}
}

// resolveRegexes looks up what the expressions stand for: all of them, or only those that were not resolved yet. It says whether any
// of them stands for something else than before.
func (c *consumerGroup) resolveRegexes(now time.Time, topics Topics, all bool, out *Output) (changed bool) {
	var todo []string
	for pattern, r := range c.regexes {
		if all || !r.resolved {
			todo = append(todo, pattern)
		}
	}
	if len(todo) == 0 {
		return false
	}
	slices.Sort(todo)
	found := make(map[string][]string, len(todo))
	for _, pattern := range todo {
		// What was refused when a member brought it does not come here; a damaged record may. It stands for nothing then.
		if r := c.regexes[pattern]; r.compiled == nil {
			r.compiled, _ = compileRegex(pattern)
		}
	}
	topics.Names(func(name string) bool {
		for _, pattern := range todo {
			if re := c.regexes[pattern].compiled; re != nil && re.MatchString(name) {
				found[pattern] = append(found[pattern], name)
			}
		}
		return true
	})
	for _, pattern := range todo {
		r, names := c.regexes[pattern], found[pattern]
		slices.Sort(names)
		if r.resolved && slices.Equal(r.topics, names) {
			continue
		}
		r.resolved, r.topics, r.version, r.millis = true, names, int64(topics.Revision()), now.UnixMilli()
		c.record(out, keyRegularExpression, pattern, encodeRegex(r.topics, r.version, r.millis))
		c.subscriptions++
		changed = true
	}
	return changed
}
