package catalog

import "strings"

const topicNameBytesMax = 249 // leaves room for "-<partition>" in a directory name of 255 bytes

// ClusterMetadataTopic is Kafka's name for its own metadata log; nobody may create it.
const ClusterMetadataTopic = "__cluster_metadata"

// internalTopics are written by the broker itself.
var internalTopics = map[string]bool{
	"__consumer_offsets":  true,
	"__transaction_state": true,
	"__share_group_state": true,
}

// IsInternal says whether Kafka reserves the topic for the broker's own records.
func IsInternal(topic string) bool { return internalTopics[topic] }

// ValidateTopicName applies Kafka's rules for topic names.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return Refuse(ErrInvalidTopicName, "Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return Refuse(ErrInvalidTopicName, "Topic name is invalid: '%s' is not allowed", name)
	case len(name) > topicNameBytesMax:
		return Refuse(ErrInvalidTopicName, "Topic name is invalid: the length of '%s' is longer than the max allowed length %d",
			name, topicNameBytesMax)
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == '-' {
			continue
		}
		return Refuse(ErrInvalidTopicName,
			"Topic name is invalid: '%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

// collisionKey is equal for names that Kafka's metric names cannot tell apart.
func collisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }
