package broker

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/coordinator"
	"ottla/internal/wire"
)

// fetchOffsetsWith asks with a budget for answers, and returns what was held of it at most until the answer was sent.
func fetchOffsetsWith(t *testing.T, s *stack, budget *wire.Budget, req *kmsg.OffsetFetchRequest) (*kmsg.OffsetFetchResponse, int64, error) {
	t.Helper()
	r := s.request(req, req.Version)
	r.Session.Responses = budget
	resp, err := s.b.Handle(t.Context(), r).Wait(t.Context())
	held := budget.Used()
	if err == nil {
		resp.(wire.Releaser).Release()
	}
	if used := budget.Used(); used != 0 {
		t.Errorf("version %d: %d bytes are kept", req.Version, used)
	}
	if err != nil {
		return nil, held, err
	}
	return resp.(accounted).Response.(*kmsg.OffsetFetchResponse), held, nil
}

// TestOffsetFetchNamesTooMany: the bound is of the whole request, in every version, and nothing is built beyond it.
func TestOffsetFetchNamesTooMany(t *testing.T) {
	s := withOffsets(t)
	topic := s.topic("orders", 1)
	s.do(commitRequest("g", topic, 7, 0), 9)
	for version := int16(1); version <= 10; version++ {
		for _, extra := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d/%d", version, extra), func(t *testing.T) {
				req := fetchOffsetsRequest(version, "g", topic, make([]int32, offsetFetchPartitionsMax/2+extra)...)
				req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: "other", Partitions: make([]int32, offsetFetchPartitionsMax/2)})
				second := kmsg.NewOffsetFetchRequestGroup()
				second.Group, second.MemberEpoch = "other", -1
				second.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "other", Partitions: make([]int32, offsetFetchPartitionsMax/2)}}
				req.Groups = append(req.Groups, second)
				if version < offsetFetchGroupsMin {
					req.Groups = nil
				} else {
					req.Topics = nil
				}
				resp, held, err := fetchOffsetsWith(t, s, wire.NewBudget(1<<30), req)
				if err != nil {
					t.Fatal(err)
				}
				want := int16(extra) * codeInvalidRequest
				if got := offsetFetchCode(resp); got != want {
					t.Errorf("code %d, want %d", got, want)
				}
				if got := offsetFetchAnswers(resp); version >= offsetFetchErrorMin && got != (1-extra)*offsetFetchPartitionsMax {
					t.Errorf("%d partitions in the answer", got)
				}
				if version >= offsetFetchErrorMin && extra == 1 && held != 0 {
					t.Errorf("%d bytes are held for a refusal", held)
				}
			})
		}
	}
}

// offsetFetchCode is the group's code, the first partition's in versions that have none.
func offsetFetchCode(resp *kmsg.OffsetFetchResponse) int16 {
	switch {
	case resp.Version >= offsetFetchGroupsMin:
		return resp.Groups[0].ErrorCode
	case resp.Version >= offsetFetchErrorMin:
		return resp.ErrorCode
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

func offsetFetchAnswers(resp *kmsg.OffsetFetchResponse) (n int) {
	for i := range resp.Topics {
		n += len(resp.Topics[i].Partitions)
	}
	for i := range resp.Groups {
		for j := range resp.Groups[i].Topics {
			n += len(resp.Groups[i].Topics[j].Partitions)
		}
	}
	return n
}

// TestOffsetFetchAsksForMemory: a group that does not fit is refused in every version, topics that nobody has
// count too, and what it took goes back.
func TestOffsetFetchAsksForMemory(t *testing.T) {
	const partitions = 3000
	s := withOffsets(t)
	topic := s.topic("orders", 1)
	s.do(commitRequest("g", topic, 7, 0), 9)
	unknown := *topic
	unknown.ID[3]++
	for version := int16(1); version <= 10; version++ {
		asked := topic
		if version == 10 {
			asked = &unknown
		}
		req := fetchOffsetsRequest(version, "g", asked, make([]int32, partitions)...)
		budget := wire.NewBudget(partitions * coordinator.OffsetAnswerBytes / 2)
		// Something else is out: otherwise a part larger than the budget is given.
		if !budget.TryAcquire(1) {
			t.Fatal("the budget is empty")
		}
		r := s.request(req, version)
		r.Session.Responses = budget
		resp, err := s.b.Handle(t.Context(), r).Wait(t.Context())
		if version < offsetFetchErrorMin {
			if !errors.Is(err, wire.ErrCloseConnection) || budget.Used() != 1 {
				t.Errorf("version %d: %v, %d bytes are kept", version, err, budget.Used()-1)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if code := offsetFetchCode(resp.(accounted).Response.(*kmsg.OffsetFetchResponse)); code != codeCoordinatorLoadInProgress {
			t.Errorf("version %d: code %d", version, code)
		}
		if used := budget.Used() - 1; used != groupAnswerBytes+1 {
			t.Errorf("version %d: %d bytes are held for a refusal", version, used)
		}
		resp.(wire.Releaser).Release()
		if used := budget.Used(); used != 1 {
			t.Errorf("version %d: %d bytes are kept", version, used-1)
		}
	}
}
