package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/coordinator"
	"ottla/internal/partition"
	"ottla/internal/pidstore"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// Kafka's error codes, those that this broker answers with
// (org.apache.kafka.common.protocol.Errors).
const (
	codeNone                      int16 = 0
	codeOffsetOutOfRange          int16 = 1
	codeCorruptMessage            int16 = 2
	codeUnknownTopicOrPartition   int16 = 3
	codeNotLeaderOrFollower       int16 = 6
	codeRequestTimedOut           int16 = 7
	codeMessageTooLarge           int16 = 10
	codeCoordinatorLoadInProgress int16 = 14
	codeCoordinatorNotAvailable   int16 = 15
	codeInvalidTopic              int16 = 17
	codeRecordListTooLarge        int16 = 18
	codeInvalidRequiredAcks       int16 = 21
	codeInconsistentGroupProtocol int16 = 23
	codeInvalidGroupID            int16 = 24
	codeInvalidTimestamp          int16 = 32
	codeUnsupportedSASLMechanism  int16 = 33
	codeIllegalSASLState          int16 = 34
	codeUnsupportedVersion        int16 = 35
	codeTopicAlreadyExists        int16 = 36
	codeInvalidPartitions         int16 = 37
	codeInvalidReplicationFactor  int16 = 38
	codeInvalidReplicaAssignment  int16 = 39
	codeInvalidConfig             int16 = 40
	codeInvalidRequest            int16 = 42
	codePolicyViolation           int16 = 44
	codeOutOfOrderSequence        int16 = 45
	codeDuplicateSequence         int16 = 46
	codeInvalidProducerEpoch      int16 = 47
	codeInvalidTxnState           int16 = 48
	codeTransactionalIDAuth       int16 = 53
	codeSecurityDisabled          int16 = 54
	codeKafkaStorageError         int16 = 56
	codeLogDirNotFound            int16 = 57
	codeDelegationTokenNotAllowed int16 = 64
	codeGroupIDNotFound           int16 = 69
	codeFetchSessionIDNotFound    int16 = 70
	codeInvalidFetchSessionEpoch  int16 = 71
	codeTopicDeletionDisabled     int16 = 73
	codeFencedLeaderEpoch         int16 = 74
	codeUnknownLeaderEpoch        int16 = 75
	codeUnsupportedCompression    int16 = 76
	codeElectionNotNeeded         int16 = 84
	codeNoReassignmentInProgress  int16 = 85
	codeInvalidRecord             int16 = 87
	codeThrottlingQuotaExceeded   int16 = 89
	codeResourceNotFound          int16 = 91
	codeDuplicateResource         int16 = 92
	codeUnacceptableCredential    int16 = 93
	codeFeatureUpdateFailed       int16 = 95
	codeUnknownTopicID            int16 = 100
	codeInconsistentTopicID       int16 = 103
	codeTransactionalIDNotFound   int16 = 105
	codeFetchSessionTopicID       int16 = 106
	codeUnknownSubscriptionID     int16 = 117
	codeTelemetryTooLarge         int16 = 118
	codeInvalidRegularExpression  int16 = 128
)

// errorCodes is the one place where an error of ours becomes a code of Kafka's. The
// first row that the error is decides. Every exported sentinel of the packages below
// has a row; what has none is codeKafkaStorageError, which clients retry.
var errorCodes = []struct {
	err  error
	code int16
}{
	{batch.ErrOldMagic, codeInvalidRecord}, // ProduceRequest.validateRecords
	{batch.ErrTooLarge, codeMessageTooLarge},
	{batch.ErrInvalidRecord, codeInvalidRecord},
	{batch.ErrInvalidTimestamp, codeInvalidTimestamp},
	{batch.ErrUnsupportedCompression, codeUnsupportedCompression},
	{batch.ErrTruncated, codeInvalidRecord}, // no complete batch: ProduceRequest.validateRecords
	{batch.ErrCorrupt, codeCorruptMessage},

	{producer.ErrOutOfOrderSequence, codeOutOfOrderSequence},
	{producer.ErrInvalidProducerEpoch, codeInvalidProducerEpoch},
	{producer.ErrDuplicateSequence, codeDuplicateSequence},
	{producer.ErrCorruptEntry, codeKafkaStorageError},

	{pidstore.ErrRetryLookup, codeKafkaStorageError},
	{pidstore.ErrColdRead, codeKafkaStorageError},
	{pidstore.ErrIDsReserved, codeKafkaStorageError},
	{pidstore.ErrLoaded, codeKafkaStorageError},
	{pidstore.ErrNotLoaded, codeNotLeaderOrFollower},
	{pidstore.ErrClosed, codeNotLeaderOrFollower},
	{pidstore.ErrDropped, codeUnknownTopicOrPartition},
	{pidstore.ErrInvalidPID, codeInvalidRecord},
	{pidstore.ErrTrimTimeout, codeRequestTimedOut},

	{partition.ErrLoading, codeNotLeaderOrFollower},
	{partition.ErrDeleted, codeUnknownTopicOrPartition},
	{partition.ErrContended, codeKafkaStorageError},

	{seglog.ErrOffsetOutOfRange, codeOffsetOutOfRange},
	{seglog.ErrClosed, codeNotLeaderOrFollower},
	{seglog.ErrOffline, codeKafkaStorageError},
	{seglog.ErrDiskFull, codeKafkaStorageError},
	{seglog.ErrIO, codeKafkaStorageError},
	{seglog.ErrCorrupt, codeKafkaStorageError},
	{seglog.ErrVersion, codeKafkaStorageError},
	{seglog.ErrTopicID, codeKafkaStorageError},

	{catalog.ErrUnknownTopic, codeUnknownTopicOrPartition},
	{catalog.ErrTopicExists, codeTopicAlreadyExists},
	{catalog.ErrInvalidTopicName, codeInvalidTopic},
	{catalog.ErrInvalidPartitions, codeInvalidPartitions},
	{catalog.ErrInvalidReplicationFactor, codeInvalidReplicationFactor},
	{catalog.ErrInvalidReplicaAssignment, codeInvalidReplicaAssignment},
	{catalog.ErrInvalidConfig, codeInvalidConfig},
	{catalog.ErrInvalidRequest, codeInvalidRequest},
	{catalog.ErrUnknownTopicID, codeUnknownTopicID},
	{catalog.ErrPolicyViolation, codePolicyViolation},
	{catalog.ErrTopicDeletionDisabled, codeTopicDeletionDisabled},
	{catalog.ErrCorrupt, codeKafkaStorageError},
	{catalog.ErrStale, codeKafkaStorageError},
	{catalog.ErrBroken, codeKafkaStorageError},
	{catalog.ErrClosed, codeKafkaStorageError},

	{coordinator.ErrLoading, codeCoordinatorLoadInProgress},
	{coordinator.ErrOffline, codeCoordinatorNotAvailable},
	{coordinator.ErrNoTopic, codeCoordinatorNotAvailable},

	{context.DeadlineExceeded, codeRequestTimedOut},
	{context.Canceled, codeRequestTimedOut},
}

// codeOf returns the code of an error; that of nil is codeNone.
func codeOf(err error) int16 {
	code, _ := lookupCode(err)
	return code
}

// lookupCode also says whether the table knows the error.
func lookupCode(err error) (code int16, known bool) {
	if err == nil {
		return codeNone, true
	}
	for _, e := range errorCodes {
		if errors.Is(err, e.err) {
			return e.code, true
		}
	}
	return codeKafkaStorageError, false
}

// code returns the code to answer with, and logs what the client cannot be told:
// failures of the storage, and errors that the table does not know.
func (b *Broker) code(doing string, err error) int16 {
	code, known := lookupCode(err)
	if code != codeKafkaStorageError {
		return code
	}
	if omitted, speak := b.failures.next(time.Now()); speak {
		b.log.Error("request failed", "doing", doing, "err", err, "known", known, "more_before", omitted)
	}
	return code
}

// failureLogInterval is how often a failing request is logged: a disk that is gone
// fails every one of them.
const failureLogInterval = time.Second

// failureLog says which failures to log.
type failureLog struct {
	sync.Mutex
	last    time.Time
	omitted int64
}

// next says whether to log now, and how many were not logged before.
func (l *failureLog) next(now time.Time) (omitted int64, speak bool) {
	l.Lock()
	defer l.Unlock()
	if d := now.Sub(l.last); d >= 0 && d < failureLogInterval {
		l.omitted++
		return 0, false
	}
	omitted = l.omitted
	l.last, l.omitted = now, 0
	return omitted, true
}

// clientMessage is the text that goes with the code to the client: nil where it
// would say what only the operator should read.
func clientMessage(code int16, err error) *string {
	if err == nil || code == codeKafkaStorageError {
		return nil
	}
	s := err.Error()
	return &s
}
