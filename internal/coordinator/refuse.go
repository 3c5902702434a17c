package coordinator

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/batch"
	"ottla/internal/partition"
	"ottla/internal/seglog"
)

// Codes that the coordinator itself answers with.
var (
	codeLoading        = kerr.CoordinatorLoadInProgress.Code
	codeNotAvailable   = kerr.CoordinatorNotAvailable.Code
	codeNotCoordinator = kerr.NotCoordinator.Code
	codeInvalidGroup   = kerr.InvalidGroupID.Code
	codeUnknownServer  = kerr.UnknownServerError.Code
)

// refuse is the answer to a request that no group saw, as GroupCoordinatorService gives it.
func refuse(req kmsg.Request, code int16) kmsg.Response {
	resp := req.ResponseKind()
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		r.ErrorCode, r.Generation = code, -1
		if code == codeInvalidGroup {
			r.MemberID = req.(*kmsg.JoinGroupRequest).MemberID
		}
	case *kmsg.SyncGroupResponse:
		r.ErrorCode = code
	case *kmsg.HeartbeatResponse:
		if code != codeLoading { // a group that is loading has its members' patience
			r.ErrorCode = code
		}
	case *kmsg.LeaveGroupResponse:
		r.ErrorCode = code
	case *kmsg.ConsumerGroupHeartbeatResponse:
		r.ErrorCode = code
		if err := kerr.TypedErrorForCode(code); err != nil {
			r.ErrorMessage = kmsg.StringPtr(err.Description)
		}
	}
	return resp
}

// codeOf translates what keeps records from the log, as CoordinatorOperationExceptionHelper does.
func codeOf(err error) int16 {
	switch {
	case errors.Is(err, partition.ErrDeleted), errors.Is(err, ErrNoTopic):
		return codeNotCoordinator
	case errors.Is(err, batch.ErrTooLarge), errors.Is(err, batch.ErrInvalidRecord):
		return codeUnknownServer
	case errors.Is(err, partition.ErrLoading):
		return codeLoading
	}
	return codeNotAvailable
}

// isFinal says that nothing can be appended any more before a restart.
func isFinal(err error) bool {
	return errors.Is(err, seglog.ErrOffline) || errors.Is(err, seglog.ErrClosed)
}
