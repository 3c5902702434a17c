package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla/internal/investigate/evidence"
)

const (
	calibrationBrokers = 2
	calibrationProbes  = 5
	counterBytes       = 128
	// counterTries and counterPause: a broker that is waiting for its next block of ids says so, for some milliseconds.
	counterTries = 5
	counterPause = 200 * time.Millisecond
	// idsBlock is how many ids Kafka reserves at once for a broker (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
	idsBlock = 1_000
	// idsLeap is more than any counter advances between two probes that follow each other at once.
	idsLeap = 10_000_000
)

var sourceCounter = source{
	name:        evidence.SourceCounter,
	level0:      true,
	twice:       true,
	what:        "the producer-id counter of each broker; each probe burns one id and leaves no state",
	permissions: "IDEMPOTENT_WRITE on Cluster, or WRITE on any topic",
	run:         askCounter,
	most: func(s *step) (int64, int64) {
		n := int64(len(s.scan.Brokers))
		if !s.o.CounterOnly {
			n = 2*n + calibrationBrokers*(calibrationProbes-1) + 1
		}
		return n, n * counterBytes
	},
}

// askCounter probes each broker. In the first round it also learns how ids are handed out: five probes back to back on each of two
// brokers, and the first of them once more.
func askCounter(ctx context.Context, s *step) error {
	brokers := s.answering()
	if s.round == 0 && !s.o.CounterOnly {
		slow := brokers[:min(len(brokers), calibrationBrokers)]
		brokers = brokers[len(slow):]
		s.calibrate(ctx, slow)
		s.write(func(scan *evidence.Scan) {
			scan.Cluster.IDs, scan.Cluster.IDsWhy = idModel(scan.Cluster.Vendor, scan.Counter)
		})
	}
	perBroker(ctx, s, oneEach(brokers), func(ctx context.Context, id int32, _ struct{}) { s.probe(ctx, id, false) })
	s.write(func(scan *evidence.Scan) {
		slices.SortStableFunc(scan.Counter, func(a, b evidence.CounterProbe) int { return a.At.Compare(b.At) })
	})
	return nil
}

func (s *step) calibrate(ctx context.Context, brokers []int32) {
	for _, id := range brokers {
		for range calibrationProbes {
			if !s.probe(ctx, id, true) {
				break
			}
		}
	}
	if len(brokers) > 1 {
		s.probe(ctx, brokers[0], true)
	}
}

// probe asks one broker for one id and says whether it got one.
func (s *step) probe(ctx context.Context, broker int32, calibration bool) bool {
	out := evidence.CounterProbe{Broker: broker, PID: -1, Calibration: calibration}
	var err error
	for range counterTries {
		var resp *kmsg.InitProducerIDResponse
		resp, err = kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, s.at(broker, counterBytes))
		if err == nil {
			err = coded(resp.ErrorCode)
		}
		if err == nil && resp.ProducerID < 0 {
			err = errors.New("a producer id below 0")
		}
		if err == nil {
			out.PID, out.Epoch = resp.ProducerID, resp.ProducerEpoch
			break
		}
		waiting := errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.NotCoordinator)
		if !waiting || !s.waitUntil(ctx, s.now().Add(counterPause)) {
			break
		}
	}
	out.At = s.now().UTC()
	if err != nil {
		out.Error = plain(err)
		s.trouble(fmt.Errorf("producer id of broker %d: %w", broker, err), "IDEMPOTENT_WRITE on Cluster, or WRITE on any Topic")
	} else {
		s.ok()
	}
	s.write(func(scan *evidence.Scan) {
		if len(scan.Counter) < evidence.CounterProbesMax {
			scan.Counter = append(scan.Counter, out)
		}
	})
	return err == nil
}

// idModel says how ids are handed out, from the probes of the calibration in their order.
func idModel(vendor evidence.Vendor, probes []evidence.CounterProbe) (evidence.IDModel, string) {
	byBroker := map[int32][]int64{}
	var order []int32
	for _, p := range probes {
		if !p.Calibration || p.PID < 0 {
			continue
		}
		if byBroker[p.Broker] == nil {
			order = append(order, p.Broker)
		}
		byBroker[p.Broker] = append(byBroker[p.Broker], p.PID)
	}
	for _, id := range order {
		ids := byBroker[id]
		for i := 1; i < len(ids); i++ {
			if step := ids[i] - ids[i-1]; step <= 0 || step > idsLeap {
				return evidence.IDsRandom, fmt.Sprintf("broker %d gave %d, then %d", id, ids[i-1], ids[i])
			}
		}
	}
	switch {
	case len(order) == 0 || len(byBroker[order[0]]) < 2:
		return evidence.IDsUnknown, "too few ids were given to tell"
	case len(order) == 1:
		return idModelOfOne(vendor, order[0])
	}
	first, second := byBroker[order[0]], byBroker[order[1]]
	for _, a := range first {
		for _, b := range second {
			if a/idsBlock == b/idsBlock {
				return evidence.IDsGlobal, fmt.Sprintf("brokers %d and %d gave %d and %d, out of one block", order[0], order[1], a, b)
			}
		}
	}
	last := first[len(first)-1]
	if len(first) > calibrationProbes && last > second[len(second)-1] && first[calibrationProbes-1] < second[0] && vendor != evidence.VendorKafka {
		return evidence.IDsGlobal, fmt.Sprintf("ids rose from broker to broker, and back on broker %d rose on", order[0])
	}
	return evidence.IDsInBlocks, fmt.Sprintf("broker %d gives from the block of %d, broker %d from that of %d", order[0], last/idsBlock*idsBlock, order[1], second[0]/idsBlock*idsBlock)
}

// idModelOfOne decides by vendor where a single broker answers: one broker's ids look alike in both models.
func idModelOfOne(vendor evidence.Vendor, broker int32) (evidence.IDModel, string) {
	why := fmt.Sprintf("ids of broker %d ascend, and that is how %s does it", broker, vendor)
	switch vendor {
	case evidence.VendorRedpanda, evidence.VendorWarpStream:
		return evidence.IDsGlobal, why
	case evidence.VendorKafka, evidence.VendorAutoMQ, evidence.VendorOttla:
		return evidence.IDsInBlocks, why
	}
	return evidence.IDsInBlocks, fmt.Sprintf("ids of broker %d ascend; taken for Kafka's blocks", broker)
}
