package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Groups counts what the coordinator of consumer groups does.
type Groups struct {
	// Cold is the store of groups and committed offsets.
	Cold *Cold

	Live           prometheus.Gauge // groups in memory
	Members        prometheus.Gauge
	MemberBytes    prometheus.Gauge // what members have told
	ParkedCalls    prometheus.Gauge
	PendingBytes   prometheus.Gauge // records that are not durable and applied yet
	Requests       prometheus.Counter
	Refused        prometheus.Counter // for a limit
	Offsets        prometheus.Counter // committed
	OffsetsExpired prometheus.Counter
	OffsetsDeleted prometheus.Counter
	GroupsDeleted  prometheus.Counter
	Appends        prometheus.Counter
	AppendErrors   prometheus.Counter
	Loads          prometheus.Counter
	LoadErrors     prometheus.Counter
	LoadSeconds    prometheus.Histogram
	BadRecords     prometheus.Counter
}

func newGroups(f promauto.Factory) *Groups {
	const s = "group"
	return &Groups{
		Cold:           newColdNamed(f, "group_cold", "the cold store of groups"),
		Live:           f.NewGauge(gaugeOpts(s, "live", "Groups in memory.")),
		Members:        f.NewGauge(gaugeOpts(s, "members", "Members of groups.")),
		MemberBytes:    f.NewGauge(gaugeOpts(s, "member_bytes", "Ids, metadata and assignments of members.")),
		ParkedCalls:    f.NewGauge(gaugeOpts(s, "parked_calls", "Requests of members that wait for others or for the disk.")),
		PendingBytes:   f.NewGauge(gaugeOpts(s, "pending_bytes", "Group records appended and not yet durable and applied.")),
		Requests:       f.NewCounter(counterOpts(s, "requests_total", "Requests of members and commits of offsets.")),
		Refused:        f.NewCounter(counterOpts(s, "refused_total", "Requests refused because a limit of the coordinator was reached.")),
		Offsets:        f.NewCounter(counterOpts(s, "offsets_committed_total", "Offsets committed.")),
		OffsetsExpired: f.NewCounter(counterOpts(s, "offsets_expired_total", "Committed offsets removed because they expired.")),
		OffsetsDeleted: f.NewCounter(counterOpts(s, "offsets_deleted_total", "Committed offsets removed on request or with their topic.")),
		GroupsDeleted:  f.NewCounter(counterOpts(s, "deleted_total", "Groups removed, on request or because they were empty.")),
		Appends:        f.NewCounter(counterOpts(s, "appends_total", "Batches of group records appended.")),
		AppendErrors:   f.NewCounter(counterOpts(s, "append_errors_total", "Batches of group records that could not be appended.")),
		Loads:          f.NewCounter(counterOpts(s, "loads_total", "Partitions of groups that were loaded.")),
		LoadErrors:     f.NewCounter(counterOpts(s, "load_errors_total", "Loads that failed and are tried again.")),
		LoadSeconds:    f.NewHistogram(latencyOpts(s, "load_seconds", "Duration of loading one partition of groups.")),
		BadRecords:     f.NewCounter(counterOpts(s, "bad_records_total", "Group records that could not be read and were passed over.")),
	}
}
