package collect

import "ottla/internal/investigate/evidence"

// asked is what one request asks of a broker's partitions, by topic as Kafka's requests and answers have it, and what has not been answered yet.
// W is what the asker wants back with a partition's answer. One goroutine's.
type asked[W any] struct {
	topics []topicAsked[W] // in the order of their first mention
	open   map[string]map[int32]W
	part   func(W) *evidence.Partition
}

// topicAsked is what is asked of one topic's partitions, in the order of the work.
type topicAsked[W any] struct {
	topic string
	work  []W
}

// ask groups work, in which no partition may be twice.
func ask[W any](work []W, part func(W) *evidence.Partition) *asked[W] {
	a := &asked[W]{open: map[string]map[int32]W{}, part: part}
	at := map[string]int{}
	for _, w := range work {
		p := part(w)
		i, seen := at[p.Topic]
		if !seen {
			i = len(a.topics)
			at[p.Topic] = i
			a.topics = append(a.topics, topicAsked[W]{topic: p.Topic})
			a.open[p.Topic] = map[int32]W{}
		}
		a.topics[i].work = append(a.topics[i].work, w)
		a.open[p.Topic][p.Index] = w
	}
	return a
}

// take is for what an answer is about. It says no to what was not asked, or has been answered before: brokers may send anything.
func (a *asked[W]) take(topic string, index int32) (w W, wanted bool) {
	if w, wanted = a.open[topic][index]; wanted {
		delete(a.open[topic], index)
	}
	return w, wanted
}

// unanswered reports each partition that nothing was said about as trouble.
func (a *asked[W]) unanswered(s *step) {
	for _, left := range a.open {
		for _, w := range left {
			s.trouble(partitionError(a.part(w), errNothing), "")
		}
	}
}
