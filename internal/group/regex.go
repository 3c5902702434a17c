package group

import (
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Limits of subscriptions by regular expression. Matching takes time in proportion to the size of an expression's program times the
// length of the names of all topics, in a heartbeat, while other groups of the host wait.
const (
	// regexBytesMax is the longest expression, in bytes.
	regexBytesMax = 1024
	// regexSizeMax is the largest program an expression may compile to, in instructions and what their character classes hold, see
	// programSize; "x{1000}" has a thousand.
	regexSizeMax = 1024
	// regexesMax is how many different expressions the members of one group may subscribe with.
	regexesMax = 64
	// regexRefreshInterval is the shortest time between two looks of one group at all topics
	// (GroupMetadataManager.REGEX_BATCH_REFRESH_MIN_INTERVAL_MS); a new expression is resolved at once while regexWorkMax allows it.
	regexRefreshInterval = 10 * time.Second
	// regexWorkMax is how much one group may match in one regexRefreshInterval, in bytes of names times the size of the program that
	// reads them: some tens of milliseconds. A thousand topics with names of 50 bytes and an expression of 80 instructions take it.
	// What is left to do is done in the next interval; until then an expression stands for what it stood for before.
	regexWorkMax = 4 << 20
	// Work that is not matching, in the same unit: compiling, for each instruction; a name that has not the expression's prefix.
	regexCompileWork = 64
	regexWideWork    = regexWorkMax / 4 // for each character that regexWideMax is about
	regexPrefixWork  = 2
	// regexWideMax is how many characters outside ASCII an expression may name that sets flags: to fold the case of a range up to one
	// of them costs milliseconds. Names of topics have none.
	regexWideMax = 4
	// runesPerInstruction is how many bounds of a character class weigh as much as an instruction; \p{L} has about 1,300.
	runesPerInstruction = 16
)

// topicRegex is an expression that matches whole names.
type topicRegex struct {
	re     *regexp.Regexp
	prefix string // all that it matches begins with this
	size   int    // see programSize
}

func (t *topicRegex) match(name string) bool {
	return strings.HasPrefix(name, t.prefix) && t.re.MatchString(name)
}

// work is what match costs, in the unit of regexWorkMax.
func (t *topicRegex) work(name string) int {
	if !strings.HasPrefix(name, t.prefix) {
		return regexPrefixWork
	}
	return t.size * (len(name) + 1)
}

// compileRegex makes an RE2 expression one that matches whole names. Kafka uses RE2/J, whose syntax is that of package regexp.
func compileRegex(pattern string) (*topicRegex, error) {
	if len(pattern) > regexBytesMax {
		return nil, fmt.Errorf("longer than %d bytes", regexBytesMax)
	}
	if strings.Contains(pattern, "(?") && wideRunes(pattern) > regexWideMax {
		return nil, fmt.Errorf("more than %d characters that are not ASCII", regexWideMax)
	}
	// Checked alone first: a ")(" must not break out of the group that is put around it.
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	// A short expression may stand for a program of millions of instructions, which must not even be made.
	tooLarge := fmt.Errorf("compiles to more than %d instructions", regexSizeMax)
	if treeSize(parsed) > 4*regexSizeMax {
		return nil, tooLarge
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	size := programSize(prog)
	if size > regexSizeMax {
		return nil, tooLarge
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, err
	}
	prefix, _ := prog.Prefix()
	return &topicRegex{re: re, prefix: prefix, size: size}, nil
}

func wideRunes(pattern string) int {
	n := strings.Count(pattern, `\x{`)
	for _, r := range pattern {
		if r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

// programSize is what a program takes of time and memory, in instructions.
func programSize(prog *syntax.Prog) int {
	n := len(prog.Inst)
	for i := range prog.Inst {
		n += len(prog.Inst[i].Rune) / runesPerInstruction
	}
	return n
}

// treeSize is about what programSize will be, never less than half of it, at most a little above the limit that its caller has.
func treeSize(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = max(1, len(re.Rune))
	case syntax.OpCharClass:
		n += len(re.Rune) / runesPerInstruction
	}
	for _, sub := range re.Sub {
		n += treeSize(sub) + 1
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max)
	}
	return min(n, 1<<20) // times a thousand it is still an int
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
			c.unqueueRegex(pattern)
			c.subscriptions++
			if r.resolved {
				c.tombstone(out, keyRegularExpression, pattern)
			}
		}
	}
}

// regexPass is one look at all topics that is not over. It may take several intervals, see regexWorkMax, and sees the topics as they
// were when it began; what changed since makes the group look again after it.
type regexPass struct {
	begun    bool // names and revision are known
	names    []string
	revision uint64
	todo     []string // expressions, the first one is at work
	next     int      // the first of names that it has not seen
	found    []string // what it matched
}

// regexesDue says that expressions have to be looked at although no member has changed: again, because the topics have changed, or
// still, because there was no time for all of them.
func (c *consumerGroup) regexesDue(now time.Time) bool {
	if c.pass != nil {
		return now.Sub(c.regexWindow) >= regexRefreshInterval
	}
	return c.refreshesRegexes(now)
}

func (c *consumerGroup) refreshesRegexes(now time.Time) bool {
	return c.pass == nil && c.regexesStale && len(c.regexes) > 0 && now.Sub(c.regexesChecked) >= regexRefreshInterval
}

// resolveRegexes looks up what expressions stand for: all of them when the topics have changed, else those that were not resolved yet
// and those that a pass has left. It says whether any of them stands for something else than before.
func (c *consumerGroup) resolveRegexes(now time.Time, topics Topics, out *Output) (changed bool) {
	all := c.refreshesRegexes(now)
	if now.Sub(c.regexWindow) >= regexRefreshInterval || now.Before(c.regexWindow) {
		c.regexWindow, c.regexWork = now, 0
	}
	c.queueRegexes(all)
	if all {
		c.regexesStale, c.regexesChecked = false, now
	}
	for c.pass != nil {
		pattern := c.pass.todo[0]
		r := c.regexes[pattern]
		if !c.matchNames(r, pattern, topics) {
			return changed
		}
		if c.resolved(now, r, pattern, out) {
			changed = true
		}
		c.nextRegex()
	}
	return changed
}

// queueRegexes begins a pass, or adds new expressions to the one that is not over, before those that were resolved once.
func (c *consumerGroup) queueRegexes(all bool) {
	var todo []string
	for pattern, r := range c.regexes {
		if all || !r.resolved && (c.pass == nil || !slices.Contains(c.pass.todo, pattern)) {
			todo = append(todo, pattern)
		}
	}
	slices.Sort(todo)
	switch {
	case len(todo) == 0:
	case c.pass != nil:
		c.pass.todo = slices.Insert(c.pass.todo, 1, todo...)
	default:
		c.pass = &regexPass{todo: todo}
	}
}

// unqueueRegex takes an expression out of the pass, which so never has more than there are.
func (c *consumerGroup) unqueueRegex(pattern string) {
	p := c.pass
	if p == nil {
		return
	}
	at := slices.Index(p.todo, pattern)
	if at == 0 {
		c.nextRegex()
	} else if at > 0 {
		p.todo = slices.Delete(p.todo, at, at+1)
	}
}

// nextRegex ends the pass for the expression that is at work.
func (c *consumerGroup) nextRegex() {
	p := c.pass
	if p.todo, p.next, p.found = p.todo[1:], 0, nil; len(p.todo) == 0 {
		c.pass = nil
	}
}

// matchNames goes on with the expression that is at work; false: there is no time for all of it.
func (c *consumerGroup) matchNames(r *regexSubscription, pattern string, topics Topics) bool {
	p := c.pass
	if c.regexWork >= regexWorkMax {
		return false
	}
	if !p.begun {
		p.begun, p.revision = true, topics.Revision()
		topics.Names(func(name string) bool {
			p.names = append(p.names, name)
			return true
		})
		c.regexWork += len(p.names)
	}
	if r.compiled == nil {
		// What was refused when a member brought it does not come here; a damaged record may. It stands for nothing then.
		compiled, err := compileRegex(pattern)
		if err != nil {
			c.regexWork += regexSizeMax * regexCompileWork
			return true
		}
		r.compiled = compiled
		c.regexWork += compiled.size*regexCompileWork + wideRunes(pattern)*regexWideWork
	}
	for ; p.next < len(p.names); p.next++ {
		if c.regexWork >= regexWorkMax {
			return false
		}
		name := p.names[p.next]
		c.regexWork += r.compiled.work(name)
		if r.compiled.match(name) {
			p.found = append(p.found, name)
		}
	}
	return true
}

// resolved takes what the expression at work has matched; it says whether that is something else than before.
func (c *consumerGroup) resolved(now time.Time, r *regexSubscription, pattern string, out *Output) bool {
	names := c.pass.found
	slices.Sort(names)
	if r.resolved && slices.Equal(r.topics, names) {
		return false
	}
	r.resolved, r.topics, r.version, r.millis = true, names, int64(c.pass.revision), now.UnixMilli()
	c.record(out, keyRegularExpression, pattern, encodeRegex(r.topics, r.version, r.millis))
	c.subscriptions++
	return true
}
