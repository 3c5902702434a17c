package catalog

import "errors"

// EnsureInternalTopic creates a topic that the broker itself writes to, as AutoTopicCreationManager does for
// __consumer_offsets, unless there is one of that name already: that one is taken as it is, whoever made it. It panics
// if Kafka does not know the name as internal. It may wait for the deletion of a topic of the same name. Safe for
// concurrent use; the topic exists, durably, when it returns nil.
func (c *Catalog) EnsureInternalTopic(spec TopicSpec) error {
	if !IsInternal(spec.Name) {
		panic("BUG: " + spec.Name + " is no internal topic")
	}
	if _, found := c.Topic(spec.Name); found {
		return nil
	}
	_, err := c.CreateTopic(spec, false)
	if errors.Is(err, ErrTopicExists) {
		return nil // somebody was faster
	}
	return err
}
