package diagnose

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"ottla/internal/investigate/evidence"
	"ottla/internal/investigate/phrase"
)

const (
	// pidErrorPerBroker is how far the highest id in use may lag behind the counter: a block that a broker works on and one that
	// it has fetched ahead, 1000 ids each (ProducerIdsBlock, RPCProducerIdManager).
	pidErrorPerBroker = 2000
	// kinkFactor is how much steeper the clock must run after its kink than before.
	kinkFactor = 3
	// clockPointsMin is the fewest points that a kink can be told from.
	clockPointsMin = 4
	// birthsPerSecondMin is one new producer a minute: the least that counts as a leak.
	birthsPerSecondMin = 1.0 / 60
)

// pidError is how far a reading of the clock may be off, in ids.
func pidError(ids evidence.IDModel, brokers int) int64 {
	if ids == evidence.IDsGlobal {
		return pidErrorPerBroker / 2 // a range that the one counter may be read ahead by
	}
	return pidErrorPerBroker * int64(min(max(brokers, 1), evidence.BrokersMax))
}

// kink is what fitting the clock's curve found. Times are ms since 1970, slopes ids per second.
type kink struct {
	known            bool
	at               float64
	earliest, latest float64
	before, after    float64
	whole            float64 // slope over all points
	last             float64 // slope after the kink, or over all points without one: births now, as the clock tells them
	curve            []evidence.ClockPoint
	why              string
}

// cleaned sorts points by time and leaves out those that cannot be: ids above most (foreign, if most > 0), negative ones, times after
// until, and readings dated so early that most later ones lie below them (old data written again under its old dates).
func cleaned(points []evidence.ClockPoint, most, until, slack int64) []evidence.ClockPoint {
	out := make([]evidence.ClockPoint, 0, min(len(points), evidence.ClockPointsMax))
	for _, p := range points {
		if p.PID < 0 || p.Time <= 0 || until > 0 && p.Time > until || most > 0 && p.PID > most {
			continue
		}
		if len(out) == evidence.ClockPointsMax {
			break
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b evidence.ClockPoint) int {
		switch {
		case a.Time != b.Time:
			return compare(a.Time, b.Time)
		default:
			return compare(a.PID, b.PID)
		}
	})
	out = slices.CompactFunc(out, func(a, b evidence.ClockPoint) bool { return a.Time == b.Time && a.PID == b.PID })
	kept := make([]evidence.ClockPoint, 0, len(out))
	for i, p := range out {
		later, below := len(out)-i-1, 0
		for _, q := range out[i+1:] {
			if q.PID+slack < p.PID {
				below++
			}
		}
		if later >= 3 && below*5 > later*4 {
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// runningMax turns readings, each a lower bound of the counter at its time, into the best lower bound.
func runningMax(points []evidence.ClockPoint) []evidence.ClockPoint {
	out := slices.Clone(points)
	for i := 1; i < len(out); i++ {
		if out[i].PID < out[i-1].PID {
			out[i].PID = out[i-1].PID
		}
	}
	return out
}

// fitClock fits two segments that meet: births before, births after. idsOff is the error of each reading in ids. points must be clean.
func fitClock(points []evidence.ClockPoint, idsOff int64) kink {
	k := kink{curve: runningMax(points)}
	n := len(k.curve)
	if n < 2 || k.curve[0].Time == k.curve[n-1].Time {
		k.why = "fewer than two readings of the clock: no batch of a newborn producer is old enough"
		return k
	}
	x, y := make([]float64, n), make([]float64, n)
	for i, p := range k.curve {
		x[i], y[i] = float64(p.Time-k.curve[0].Time)/1000, float64(p.PID-k.curve[0].PID)
	}
	k.whole = y[n-1] / x[n-1]
	k.last = k.whole
	rise := y[n-1]
	if n < clockPointsMin {
		k.why = fmt.Sprintf("%d readings of the clock are too few for a kink", n)
		return k
	}
	if rise <= 2*float64(idsOff) {
		k.why = fmt.Sprintf("the ids rose by %.0f over all that is retained, which is within the error of %d", rise, idsOff)
		return k
	}
	h := bestHinge(x, y)
	k.before, k.after = math.Max(h.slope, 0), h.slope+h.bend
	if h.bend <= 0 || k.after < kinkFactor*math.Max(k.before, 0) || k.after < birthsPerSecondMin {
		k.why = steady(k.whole, k.curve[0].Time)
		return k
	}
	k.bracket(x, y, h, float64(idsOff))
	return k
}

func steady(slope float64, since int64) string {
	if slope < birthsPerSecondMin {
		return "the ids rise by less than one a minute over all that is retained: no leak is dated"
	}
	return fmt.Sprintf("the ids have risen by %s since the oldest data that is retained (%s): the leak is older, or there is none that began",
		phrase.RateInWords(slope, ""), time.UnixMilli(since).UTC().Format("2 Jan 2006"))
}

// bracket finds the readings on both sides of the kink: the first one that lies above the old line by more than the error is
// after it; the last before that may hide births within the error, which took idsOff / slope.
func (k *kink) bracket(x, y []float64, h hinge, idsOff float64) {
	// At its rate the leak cannot have begun earlier than the ids above the old line allow.
	base := func(t float64) float64 { return h.level + k.before*t }
	first := len(x) - 1
	for i := range x {
		if y[i] > base(x[i])+idsOff {
			first = i
			break
		}
	}
	hidden := idsOff / k.after
	origin := float64(k.curve[0].Time)
	latest := x[first]
	earliest := x[max(first-1, 0)]
	if first == 0 {
		k.why = steady(k.whole, k.curve[0].Time)
		return
	}
	// Readings just before the first one above may already lie on the slope.
	earliest = math.Max(math.Min(earliest, h.at)-hidden, x[0]-hidden)
	earliest = math.Max(earliest, latest-(y[first]-base(latest)+idsOff)/k.after)
	k.known, k.last = true, k.after
	k.earliest, k.latest = origin+1000*earliest, origin+1000*math.Max(latest, earliest)
	k.at = math.Min(math.Max(origin+1000*h.at, k.earliest), k.latest)
}

// anchor dates a leak that is as old as the oldest reading, where the cluster is older: counting from zero, so few ids were given
// before that reading that they cannot have come at the same rate. complete: the log that it is from was never trimmed.
func (k *kink) anchor(oldest int64, complete bool, idsOff int64) {
	if k.known || len(k.curve) < 2 || oldest <= 0 || k.whole < birthsPerSecondMin {
		return
	}
	first := k.curve[0]
	rise := k.curve[len(k.curve)-1].PID - first.PID
	age := float64(first.Time-oldest) / 1000
	if age <= 0 || float64(rise) <= 2*float64(idsOff) {
		return
	}
	before := float64(first.PID) / age
	if k.whole < kinkFactor*before {
		return
	}
	hidden := float64(idsOff)
	if !complete {
		hidden += float64(first.PID)
	}
	k.known, k.before, k.after, k.why = true, before, k.whole, ""
	k.latest = float64(first.Time) + 1000*float64(idsOff)/k.whole
	k.earliest = math.Max(float64(first.Time)-1000*hidden/k.whole, float64(oldest))
	if k.at = float64(first.Time); !complete {
		k.at = (k.earliest + float64(first.Time)) / 2
	}
}

// hinge is the line level + slope*x, steeper by bend from at on. x in seconds, y in ids.
type hinge struct {
	at, level, slope, bend float64
	loss                   float64
}

// bestHinge tries a break in every gap between readings and refines it within the best one. The loss is convex enough inside a
// gap that golden sections find its minimum.
func bestHinge(x, y []float64) hinge {
	best := hinge{loss: math.Inf(1)}
	gap := 0
	for i := 1; i < len(x); i++ {
		for _, at := range [...]float64{x[i-1], (x[i-1] + x[i]) / 2} {
			if h := fitHinge(x, y, at); h.loss < best.loss {
				best, gap = h, i
			}
		}
	}
	if math.IsInf(best.loss, 1) {
		return hinge{}
	}
	low, high := x[max(gap-2, 0)], x[min(gap, len(x)-1)]
	const golden = 0.6180339887498949
	for range 60 {
		a, b := high-golden*(high-low), low+golden*(high-low)
		ha, hb := fitHinge(x, y, a), fitHinge(x, y, b)
		if ha.loss < best.loss {
			best = ha
		}
		if hb.loss < best.loss {
			best = hb
		}
		if ha.loss < hb.loss {
			high = b
		} else {
			low = a
		}
	}
	return best
}

// fitHinge is the least-squares fit with a break at a given place. With all readings on one side it is one line.
func fitHinge(x, y []float64, at float64) hinge {
	n := float64(len(x))
	var sx, sz, sy, sxx, sxz, szz, sxy, szy float64
	for i := range x {
		z := math.Max(0, x[i]-at)
		sx, sz, sy = sx+x[i], sz+z, sy+y[i]
		sxx, sxz, szz = sxx+x[i]*x[i], sxz+x[i]*z, szz+z*z
		sxy, szy = sxy+x[i]*y[i], szy+z*y[i]
	}
	// Centred sums: two unknowns remain, slope and bend.
	cxx, cxz, czz := sxx-sx*sx/n, sxz-sx*sz/n, szz-sz*sz/n
	cxy, czy := sxy-sx*sy/n, szy-sz*sy/n
	h := hinge{at: at}
	if det := cxx*czz - cxz*cxz; det > 1e-9*cxx*czz && det > 0 {
		h.slope, h.bend = (cxy*czz-czy*cxz)/det, (czy*cxx-cxy*cxz)/det
	} else if cxx > 0 {
		h.slope = cxy / cxx
	}
	h.level = (sy - h.slope*sx - h.bend*sz) / n
	for i := range x {
		d := y[i] - h.level - h.slope*x[i] - h.bend*math.Max(0, x[i]-at)
		h.loss += d * d
	}
	if math.IsNaN(h.loss) {
		h.loss = math.Inf(1)
	}
	return h
}

// refineClock spreads further readings over the gap that the kink lies in.
func refineClock(points []evidence.ClockPoint, brokers, most int) []int64 {
	off := pidError(evidence.IDsInBlocks, brokers)
	clean := cleaned(points, 0, 0, off)
	k := fitClock(clean, off)
	if !k.known || most <= 0 {
		return nil
	}
	i := sort.Search(len(clean), func(i int) bool { return float64(clean[i].Time) >= k.latest })
	from, to := k.earliest, k.latest
	if i > 0 {
		from = math.Max(from, float64(clean[i-1].Time)-(to-float64(clean[i-1].Time)))
	}
	var out []int64
	for j := range most {
		t := int64(from + (to-from)*float64(j+1)/float64(most+1))
		if len(out) == 0 || t > out[len(out)-1] {
			out = append(out, t)
		}
	}
	return out
}
