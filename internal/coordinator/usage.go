package coordinator

import (
	"log/slog"
	"sync/atomic"

	"ottla/internal/metrics"
)

// usage counts what is bounded by Limits.
type usage struct {
	live, members, memberBytes, parked, pendingBytes atomic.Int64

	metrics *metrics.Groups
	log     *slog.Logger
	said    [limitsCount]atomic.Bool
}

type limit int

const (
	limitGroups limit = iota
	limitMembers
	limitMemberBytes
	limitCalls
	limitBytes
	limitsCount
)

var limitNames = [limitsCount]string{"groups in memory", "members of all groups", "bytes of all members", "requests that wait", "bytes of records that wait"}

// refused notes a refusal, and says so the first time.
func (u *usage) refused(l limit, at int64) {
	u.metrics.Refused.Inc()
	if !u.said[l].Swap(true) {
		u.log.Warn("consumer groups: a limit is reached and requests are refused; this is said once", "limit", limitNames[l], "at", at)
	}
}

func (u *usage) addLive(n int64) { u.metrics.Live.Set(float64(u.live.Add(n))) }

func (u *usage) addMembers(n int64) {
	if n != 0 {
		u.metrics.Members.Set(float64(u.members.Add(n)))
	}
}

func (u *usage) addMemberBytes(n int64) {
	if n != 0 {
		u.metrics.MemberBytes.Set(float64(u.memberBytes.Add(n)))
	}
}

func (u *usage) addParked(n int64) { u.metrics.ParkedCalls.Set(float64(u.parked.Add(n))) }

func (u *usage) addPending(bytes int64) {
	u.metrics.PendingBytes.Set(float64(u.pendingBytes.Add(bytes)))
}
