package watch

import (
	"math/rand/v2"
	"testing"
	"time"

	"ottla/internal/investigate/evidence"
)

// allocator hands out ids as Kafka's brokers do: a block of 1000 each, the next one fetched ahead at 90 %.
type allocator struct {
	next    int64
	brokers []struct{ at, ready int64 } // next id; first id of the block that lies ready, -1: none
}

func newAllocator(brokers int) *allocator {
	a := &allocator{next: 1000 * 1000, brokers: make([]struct{ at, ready int64 }, brokers)}
	for i := range a.brokers {
		a.brokers[i].at, a.brokers[i].ready = a.block(), -1
	}
	return a
}

func (a *allocator) block() int64 {
	a.next += blockSize
	return a.next - blockSize
}

func (a *allocator) id(broker int) int64 {
	b := &a.brokers[broker]
	id := b.at
	b.at++
	switch b.at % blockSize {
	case 0:
		if b.at, b.ready = b.ready, -1; b.at < 0 {
			b.at = a.block()
		}
	case 900:
		b.ready = a.block()
	}
	return id
}

func (a *allocator) restart(broker int) {
	a.brokers[broker].at, a.brokers[broker].ready = a.block(), -1
}

func (a *allocator) probe(at time.Time) (out []evidence.CounterProbe) {
	for i := range a.brokers {
		out = append(out, evidence.CounterProbe{At: at, Broker: int32(i), PID: a.id(i)})
	}
	return out
}

func TestBirthsInBlocks(t *testing.T) {
	for _, test := range []struct {
		name    string
		brokers int
		rates   []int // ids a minute of each broker
		behind  float64
	}{
		{"idle", 3, []int{0, 0, 0}, 0},
		{"one slow leak", 3, []int{0, 7, 0}, 0},
		{"every block is met", 3, []int{150, 890, 40}, 0},
		{"one broker, many blocks a minute", 1, []int{60_000}, 1000},
		{"blocks that no reading meets", 3, []int{60_000, 100, 7_000}, 3000},
		{"many brokers", 12, []int{900, 1, 0, 55, 2000, 300, 12, 5000, 7, 1, 0, 999}, 12_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := newAllocator(test.brokers), newBirths()
			rng := rand.New(rand.NewPCG(1, 2))
			at := time.Unix(1_800_000_000, 0)
			b.round(evidence.IDsInBlocks, a.probe(at))
			truth, last := 0.0, 0.0
			for range 4 * 60 {
				at = at.Add(time.Minute)
				left, brokers := append([]int(nil), test.rates...), len(test.rates)
				for sum := sumOf(left); sum > 0; sum-- {
					i := rng.IntN(brokers)
					for left[i] == 0 {
						i = (i + 1) % brokers
					}
					left[i]--
					a.id(i)
					truth++
				}
				b.round(evidence.IDsUnknown, a.probe(at))
				if b.shown < last {
					t.Fatalf("the count fell from %.0f to %.0f", last, b.shown)
				}
				last = b.shown
				if b.shown > truth || b.shown < truth-test.behind {
					t.Fatalf("counted %.0f of %.0f, may be behind by %.0f", b.shown, truth, test.behind)
				}
			}
		})
	}
}

func sumOf(n []int) (sum int) {
	for _, v := range n {
		sum += v
	}
	return sum
}

func TestBirthsOfRestartedAndMissingBrokers(t *testing.T) {
	a, b := newAllocator(3), newBirths()
	at := time.Unix(1_800_000_000, 0)
	b.round(evidence.IDsInBlocks, a.probe(at)[:2]) // one is down
	for range 50 {
		a.id(0)
	}
	a.restart(2)
	for range 30 {
		a.id(2)
	}
	b.round(evidence.IDsUnknown, a.probe(at.Add(time.Minute)))
	if b.shown != 80 {
		t.Errorf("counted %.0f, want 80: the third broker's block was begun later", b.shown)
	}
	a.restart(0)
	b.round(evidence.IDsUnknown, a.probe(at.Add(2*time.Minute)))
	if b.shown < 80 || b.shown > 80+2*blockSize {
		t.Errorf("counted %.0f; a restart may add what it dropped, up to two blocks", b.shown)
	}
}

func TestBirthsOfOneCounter(t *testing.T) {
	b := newBirths()
	at := time.Unix(1_800_000_000, 0)
	probes := func(pids ...int64) (out []evidence.CounterProbe) {
		for i, pid := range pids {
			at = at.Add(time.Second)
			out = append(out, evidence.CounterProbe{At: at, Broker: int32(i % 3), PID: pid})
		}
		return out
	}
	b.round(evidence.IDsGlobal, probes(10, 11, 12))
	b.round(evidence.IDsUnknown, probes(20, 19, 21, -1)) // 13 to 18 are others'; two answers crossed
	if b.shown != 6 {
		t.Errorf("counted %.0f, want 6", b.shown)
	}
	b.round(evidence.IDsUnknown, probes(9_000_021))
	b.round(evidence.IDsUnknown, probes(3, 5)) // made anew
	if b.shown != 6+8_999_999+1 {
		t.Errorf("counted %.0f, want 9000006", b.shown)
	}
	b.round(evidence.IDsRandom, probes(77, 3))
	if b.known() || b.shown != 9_000_006 {
		t.Errorf("random ids count nothing: %.0f", b.shown)
	}
}

// FuzzBirths: whatever ids a cluster gives, the count never falls and memory stays bounded.
func FuzzBirths(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true)
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, blocks bool) {
		b, model := newBirths(), evidence.IDsGlobal
		if blocks {
			model = evidence.IDsInBlocks
		}
		for last := 0.0; len(data) >= 9; data = data[9:] {
			var pid int64
			for _, c := range data[1:9] {
				pid = pid<<8 | int64(c)
			}
			b.round(model, []evidence.CounterProbe{{Broker: int32(data[0]), PID: pid}})
			if !(b.shown >= last) || b.shown > 1e21 || len(b.brokers) > 256 {
				t.Fatalf("%.0f after %.0f, %d brokers", b.shown, last, len(b.brokers))
			}
			last = b.shown
		}
	})
}
