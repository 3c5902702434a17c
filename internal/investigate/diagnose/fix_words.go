package diagnose

import (
	"fmt"
	"math"
	"strings"

	"ottla/internal/investigate/phrase"
)

// judgement is what the readings amount to. Sentences name the largest suspect; the numbers are those of all.
type judgement struct {
	fix                *Fix
	first              *findings
	before, last       reading
	p                  prediction
	name               string
	highest, predicted float64
	fits               bool
	others             []*topicFacts // leak now, and did not in the first scan
}

func (fix *Fix) judge(first *findings, rs []reading, p prediction) {
	last, before := rs[len(rs)-1], rs[0]
	j := judgement{fix: fix, first: first, before: before, last: last, p: p, name: first.ranked[0].name, highest: before.entries, predicted: p.at(last)}
	for _, r := range rs[:len(rs)-1] {
		j.highest = math.Max(j.highest, r.entries)
	}
	for _, t := range newLeaks(last.f, first.ranked) {
		if t.entries > fixStopped*before.births {
			j.others = append(j.others, t)
		}
	}
	known := !last.unseen && (len(last.f.topics) > 0 || last.f.counter.known)
	fix.Stopped = known && last.births <= math.Max(fixStopped*before.births, 0) && !math.IsInf(p.stopped, 1)
	j.fits = last.entries <= j.predicted*(1+fixTolerance)+newbornEnough
	fix.Falling = last.measured && j.fits && last.entries < j.highest*(1-fixFell)
	if fix.Stopped {
		fix.Done = p.gone(last)
	}
	switch {
	case !known && (len(last.still) == 0 || last.births <= fixStopped*before.births): // one that still leaks is enough to know
		j.unknown()
	case fix.Stopped:
		j.stopped()
	default:
		j.goesOn()
	}
}

func (j *judgement) say(exit int, format string, args ...any) {
	j.fix.Exit = exit
	j.fix.Sentence = [...]string{"The fix works", "Not yet", "It does not work", "Cannot tell"}[exit] + ": " + fmt.Sprintf(format, args...) + "."
}

func (j *judgement) unknown() {
	switch {
	case j.fix.Falling:
		j.say(1, "the live entries of %s fell from %s to %s, as they would if it got no new producers; neither its batches nor the counter could be read to confirm it; %s; %s; look again with a scan that can read it",
			j.name, phrase.Count(j.highest), j.left(), j.setting(), j.safety())
	case len(j.others) > 0:
		j.say(3, "the last scan could not read %s; another topic leaks: %s", j.name, j.othersWords())
	default:
		j.say(3, "the last scan could read neither %s nor the counter", j.name)
	}
}

// stopped: no suspect topic gets new producers.
func (j *judgement) stopped() {
	none := j.name + " gets no new producers any more"
	past := !j.fix.Done.After(j.last.at)
	done := moment(j.fix.Done, j.last.at)
	switch {
	case len(j.others) > 0:
		j.say(2, "%s, but another topic leaks: %s", none, j.othersWords())
	case j.first.life.Bounded != "":
		j.say(0, "%s", none)
	case !j.last.measured && past:
		j.say(0, "%s; its live entries could not be counted, by the rule the last was gone by %s", none, done)
	case !j.last.measured:
		j.say(1, "%s; its live entries could not be counted, by the rule the last is gone by %s: look again then; %s; %s", none, done, j.setting(), j.safety())
	case j.fix.Falling:
		end := fmt.Sprintf("%s live, the last gone by %s", j.left(), done)
		switch {
		case j.last.direct && j.last.entries < 1:
			end = "none is left"
		case past && j.last.entries < 1:
			end = fmt.Sprintf("by the age of its records the last was gone by %s, which describe-producers or metrics would confirm", done)
		}
		j.say(0, "%s, and its live entries fell from %s to %s as predicted (at most %s); %s", none, phrase.Count(j.highest), j.left(), phrase.Count(j.predicted), end)
	case past && !j.last.direct:
		j.say(1, "%s; by the rule its last entry was gone by %s, but offsets alone say no more than %s: describe-producers or metrics would count them; %s; %s",
			none, done, j.left(), j.setting(), j.safety())
	case j.fits || !j.last.direct:
		begin := ""
		if starts := j.p.starts(j.last); starts.After(j.last.at) {
			begin = fmt.Sprintf("begin to go on %s and ", moment(starts, j.last.at))
		}
		j.say(1, "%s, but %s entries %sare there until %s at the latest: look again then; %s; %s", none, j.left(), begin, done, j.setting(), j.safety())
	default:
		j.say(2, "%s, but %s entries live where %s were predicted: they do not expire as they should", none, phrase.Count(j.last.entries), phrase.Count(j.predicted))
	}
}

// goesOn: some suspect topic still gets new producers.
func (j *judgement) goesOn() {
	if !j.fix.Falling && j.last.life >= j.before.life {
		j.say(2, "%s, and %s entries live", j.stillWords(), j.left())
		return
	}
	effect := fmt.Sprintf("its live entries fell from %s to %s", phrase.Count(j.highest), j.left())
	if j.last.life < j.before.life {
		check := checkInterval.Seconds()
		effect = fmt.Sprintf("which come to %s instead of %s", phrase.Count(j.last.births*(j.last.life+check)), phrase.Count(j.before.births*(j.before.life+check)))
	}
	j.say(1, "%s, %s; %s; %s; look again on %s", j.setting(), effect, j.stillWords(), j.safety(), moment(j.last.at.Add(checkInterval), j.last.at))
}

// left is how many entries there are, or the bound of it.
func (j *judgement) left() string {
	if !j.last.direct {
		return "at most " + phrase.Count(j.last.entries)
	}
	return phrase.Count(j.last.entries)
}

// setting is what is configured now.
func (j *judgement) setting() string {
	key := j.last.f.life.Key
	switch {
	case !j.last.f.life.read:
		return fmt.Sprintf("entries live %s by default (%s was not read)", phrase.SpanInWords(j.last.life), key)
	case j.last.life != j.before.life:
		return fmt.Sprintf("entries now live %s instead of %s (%s)", phrase.SpanInWords(j.last.life), phrase.SpanInWords(j.before.life), key)
	}
	return fmt.Sprintf("entries live %s as before (%s)", phrase.SpanInWords(j.last.life), key)
}

// stillWords name the topics that leak on.
func (j *judgement) stillWords() string {
	if j.last.byCounter || len(j.last.still) == 0 {
		return fmt.Sprintf("the cluster still makes %s, and %s was not read", phrase.RateInWords(j.last.births, "new producers"), j.name)
	}
	var parts []string
	for i, t := range j.last.still {
		if i == namedMax {
			parts = append(parts, fmt.Sprintf("%d topics more", len(j.last.still)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s still gets %s", t.name, phrase.RateInWords(t.perSecond, "new entries")))
	}
	return strings.Join(parts, ", ")
}

const namedMax = 3 // topics in a sentence

func (j *judgement) othersWords() string {
	var parts []string
	for _, t := range j.others[:min(len(j.others), namedMax)] {
		parts = append(parts, fmt.Sprintf("%s gets %s", t.name, phrase.RateInWords(t.entries, "new entries")))
	}
	return strings.Join(parts, ", ")
}

// safety is whether the fullest broker's heap can take what is there and what comes.
func (j *judgement) safety() string {
	f := j.last.f
	if len(f.heap) == 0 {
		return "the brokers' heap is not known"
	}
	h := &f.heap[0]
	heapMax, guessed := f.judgedHeap(h)
	// At most all of the entries are on one broker.
	bytes := math.Max(math.Max(h.Plateau, h.Bytes), finite(j.last.entries*h.EntryBytes))
	part, of := shareOf(bytes, heapMax), "a heap of "+phrase.Bytes(heapMax)
	if guessed {
		of += " (a guess)"
	}
	verdict := "is safe now"
	if part > shareFound {
		verdict = "is not safe yet"
	}
	return fmt.Sprintf("broker %d %s: entries come to %s at most, %s of %s", h.Broker, verdict, phrase.Bytes(bytes), phrase.Percent(part), of)
}
