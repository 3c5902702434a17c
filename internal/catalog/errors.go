package catalog

import (
	"errors"
	"fmt"
)

// The kinds of refusal. Each stands for one error code of Kafka's protocol, which only the broker knows.
var (
	// ErrUnknownTopic says that there is no topic, or no partition, of that name.
	ErrUnknownTopic = errors.New("this server does not host this topic-partition")
	// ErrUnknownTopicID says that there is no topic of that id.
	ErrUnknownTopicID = errors.New("this server does not host this topic ID")
	// ErrTopicExists says that the name is taken.
	ErrTopicExists = errors.New("topic already exists")
	// ErrInvalidTopicName says that no topic can have that name.
	ErrInvalidTopicName = errors.New("invalid topic name")
	// ErrInvalidPartitions says that a number of partitions is not possible.
	ErrInvalidPartitions = errors.New("invalid number of partitions")
	// ErrInvalidReplicationFactor says that there are not that many brokers.
	ErrInvalidReplicationFactor = errors.New("invalid replication factor")
	// ErrInvalidReplicaAssignment says that replicas were asked for where none can be.
	ErrInvalidReplicaAssignment = errors.New("invalid replica assignment")
	// ErrInvalidConfig says that a configuration key is unknown or a value out of range.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrInvalidRequest says that a request contradicts itself or asks for what does not exist.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrPolicyViolation says that a limit of this broker would be passed.
	ErrPolicyViolation = errors.New("limit exceeded")
	// ErrTopicDeletionDisabled says that delete.topic.enable is false.
	ErrTopicDeletionDisabled = errors.New("topic deletion is disabled")

	// ErrNewerFormat says that a file was written by a newer version of this program.
	ErrNewerFormat = errors.New("catalog: file format is newer than this program")
	// ErrCorrupt says that a file of the catalog was changed by somebody else than this program, or that a disk
	// lost what it had acknowledged.
	ErrCorrupt = errors.New("catalog: corrupt")
	// ErrForeignDirectory says that a directory holds something but no catalog: it is not ours to write to, or the catalog was lost.
	ErrForeignDirectory = errors.New("not an empty directory, and not one of Ottla's")
	// ErrStale says that somebody else changed the catalog first (compare-and-swap of the revision).
	ErrStale = errors.New("catalog: revision is stale")
	// ErrBroken says that an earlier fsync of the journal failed: nothing is written until the next start.
	ErrBroken = errors.New("catalog: offline after a failed write")
	// ErrClosed says that the catalog was closed.
	ErrClosed = errors.New("catalog: closed")
)

// Refusal is a request that cannot be fulfilled, with the words for the client.
type Refusal struct {
	// Kind is one of the sentinels of this package.
	Kind error
	// Message is what Kafka would say.
	Message string
}

// Error returns the message alone: the kind travels as an error code.
func (r *Refusal) Error() string { return r.Message }

// Unwrap makes errors.Is find the kind.
func (r *Refusal) Unwrap() error { return r.Kind }

// Refuse makes a Refusal.
func Refuse(kind error, format string, args ...any) error {
	return &Refusal{Kind: kind, Message: fmt.Sprintf(format, args...)}
}
