package watch

import (
	"time"

	"ottla/internal/investigate/evidence"
)

const (
	// blockSize is how many ids Kafka reserves at once for a broker (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE).
	blockSize  = 1000
	brokersMax = evidence.BrokersMax
)

// births counts producer ids over as long as the watch runs, in memory of one entry for each broker. Every probe that the watch
// makes must be added, in the order of their times, so that its own are not counted.
//
// Where ids come in blocks, a broker that is seen in two blocks handed out the rest of the one and the beginning of the other. Blocks in
// between that no probe fell in were used up by some broker, except that each broker may have one ready that it fetched ahead
// (at 90 % of the last). So the count is exact as long as probes come often enough to meet every block, below it by
// at most one block for each broker otherwise, and above it by what a restart of a broker drops.
type births struct {
	model   evidence.IDModel
	brokers map[int32]counter
	sum     float64 // handed out between probes of one broker, or by the one counter
	base    int64   // highest block of the first round: older ones are not counted
	top     int64   // highest block seen
	met     int64   // blocks above base that a probe fell in
	shown   float64 // never falls
	carried float64 // of counters that were made anew
}

type counter struct {
	pid int64
	at  time.Time
}

// newestBroker is where the one counter of IDsGlobal is kept.
const newestBroker = -1

func newBirths() *births { return &births{brokers: map[int32]counter{}, base: -1, top: -1} }

// known: ids are handed out in a way that can be counted.
func (b *births) known() bool {
	return (b.model == evidence.IDsInBlocks || b.model == evidence.IDsGlobal) && len(b.brokers) > 0
}

// round adds the probes of one scan. model is what the scan found; unknown leaves what was known before.
func (b *births) round(model evidence.IDModel, probes []evidence.CounterProbe) {
	if model != evidence.IDsUnknown && model != b.model {
		b.restart()
		b.model = model
	}
	first := b.base < 0
	if first {
		for _, p := range probes {
			b.base = max(b.base, p.PID/blockSize)
		}
		b.top = b.base
	}
	for _, p := range probes {
		if p.PID < 0 {
			continue
		}
		switch b.model {
		case evidence.IDsInBlocks:
			b.inBlocks(p)
		case evidence.IDsGlobal:
			b.global(p)
		}
	}
	b.shown = max(b.shown, b.total())
}

// restart begins anew and keeps what was counted.
func (b *births) restart() {
	b.carried = b.shown
	b.brokers, b.sum, b.base, b.top, b.met = map[int32]counter{}, 0, -1, -1, 0
}

func (b *births) inBlocks(p evidence.CounterProbe) {
	block := p.PID / blockSize
	was, seen := b.brokers[p.Broker]
	switch {
	case seen && p.PID <= was.pid: // the cluster was made anew, or another one answers
		b.restart()
		b.base, b.top = block, block
	case !seen && len(b.brokers) == brokersMax:
		return
	case !seen:
		if block > b.base { // begun since the watch began; of an older one nobody knows what was handed out before
			b.met++
			b.sum += float64(p.PID % blockSize)
		}
	case was.pid/blockSize == block:
		b.sum += float64(p.PID - was.pid - 1)
	default:
		b.sum += float64(blockSize - 1 - was.pid%blockSize + p.PID%blockSize)
		if block > b.base {
			b.met++
		}
	}
	b.top = max(b.top, block)
	b.brokers[p.Broker] = counter{pid: p.PID, at: p.At}
}

func (b *births) global(p evidence.CounterProbe) {
	was, seen := b.brokers[newestBroker]
	switch {
	case !seen:
	case p.PID > was.pid:
		b.sum += float64(p.PID - was.pid - 1)
	case was.pid-p.PID > blockSize*blockSize:
		b.restart()
	default: // two brokers' answers crossed on their way
		b.sum--
		return
	}
	b.brokers[newestBroker] = counter{pid: p.PID, at: p.At}
}

func (b *births) total() float64 {
	unmet := b.top - b.base - b.met - int64(len(b.brokers))
	return b.carried + max(0, b.sum) + float64(blockSize*max(0, unmet))
}
