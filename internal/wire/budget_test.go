package wire

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestBudgetServesInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		acquire(t, b, 8)
		var order []int64
		var mu sync.Mutex
		// 9 does not fit, and 1, which would, waits behind it.
		for _, n := range []int64{9, 1, 10} {
			go func() {
				acquire(t, b, n)
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		if len(order) != 0 || b.TryAcquire(1) {
			t.Fatalf("somebody overtook the first: %v", order)
		}
		b.Release(8)
		synctest.Wait()
		if b.Used() != 10 || len(order) != 2 {
			t.Fatalf("used %d, served %v, want 9 and 1", b.Used(), order)
		}
		b.Release(1)
		b.Release(9)
		synctest.Wait()
		if b.Used() != 10 || len(order) != 3 {
			t.Fatalf("used %d, served %v", b.Used(), order)
		}
		b.Release(10)
	})
}

func acquire(t *testing.T, b *Budget, n int64) {
	t.Helper()
	if err := b.Acquire(t.Context(), n); err != nil {
		t.Error(err)
	}
}

func TestBudgetGivesMoreThanItHasToOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		acquire(t, b, 3)
		served := false
		go func() { acquire(t, b, 1000); served = true }()
		synctest.Wait()
		if served {
			t.Fatal("served while something else was out")
		}
		b.Release(3)
		synctest.Wait()
		if !served || b.TryAcquire(1) {
			t.Fatalf("served %v, or something else next to it", served)
		}
		b.Release(1000)
		if b.Used() != 0 {
			t.Errorf("used %d at the end", b.Used())
		}
	})
}

func TestBudgetWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		acquire(t, b, 8)
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { err = b.Acquire(ctx, 5) }()
		synctest.Wait()
		served := false
		go func() { acquire(t, b, 2); served = true }()
		synctest.Wait()
		if served {
			t.Fatal("overtook the first in line")
		}
		cancel()
		synctest.Wait()
		if !errors.Is(err, context.Canceled) || !served || b.Used() != 10 {
			t.Errorf("got %v, the next one served: %v, used %d", err, served, b.Used())
		}
	})
}

func TestBudgetOfNobody(t *testing.T) {
	var b *Budget
	acquire(t, b, 5)
	if !b.TryAcquire(5) {
		t.Error("no budget refused")
	}
	b.Release(10)
}

func TestBudgetRefusesToGetMoreBack(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("more came back than was out, and nobody noticed")
		}
	}()
	NewBudget(10).Release(1)
}

// TestBudgetNeverOverspends: whoever comes, waits and gives up, the sum out is within the bound (or one part),
// and everything comes back.
func TestBudgetNeverOverspends(t *testing.T) {
	const bytesMax, rounds = 100, 2000
	b := NewBudget(bytesMax)
	var out atomic.Int64
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		wg.Go(func() {
			for range rounds {
				n := int64(1 + r.IntN(60))
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(4) == 0 {
					go cancel()
				}
				if err := b.Acquire(ctx, n); err == nil {
					if sum := out.Add(n); sum > bytesMax {
						t.Errorf("%d bytes are out", sum)
					}
					out.Add(-n)
					b.Release(n)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes never came back", b.Used())
	}
}
