package server

import (
	"math/bits"
	"sync"
)

// Buffers are pooled by size, from the smallest class to the largest; what is larger is made for its one
// use, so that no pool keeps giants.
const (
	bufferBitsMin = 12 // 4 KiB
	bufferBitsMax = 20 // 1 MiB
)

// buffers is a pool of byte slices. The zero value is ready.
type buffers struct {
	classes [bufferBitsMax - bufferBitsMin + 1]sync.Pool
}

// get returns a slice of length n with undefined content.
func (p *buffers) get(n int) *[]byte {
	class := classOf(n)
	if class >= len(p.classes) {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<(class+bufferBitsMin))
	return &b
}

// put gives back what get returned, grown or not.
func (p *buffers) put(b *[]byte) {
	n := cap(*b)
	if n < 1<<bufferBitsMin || n > 1<<bufferBitsMax {
		return
	}
	// The class whose every slice has at least this capacity: rounded down, get rounds up.
	p.classes[bits.Len(uint(n))-1-bufferBitsMin].Put(b)
}

// classOf is the smallest class that holds n bytes.
func classOf(n int) int {
	return max(0, bits.Len(uint(max(n, 1)-1))-bufferBitsMin)
}
