package wire

import "math"

// A schema is the shape of a request body, enough to walk over its bytes without building anything.
//
// Why every body is walked before kmsg decodes it: kmsg believes a count when as many bytes are left,
// and makes that many elements of up to 100 bytes each at once (a frame of 100 MiB could make it allocate 7
// GiB), and it loops over a count of tags, up to 2^32, even when no byte is left. A body that passed the
// walk has every element it claims, no more of them than elementsMax, and every tag.
//
// The walk reads lengths exactly as kmsg does, so both see the same structure; a length that kmsg refuses
// (null where null is not allowed) may pass here, because kmsg reads nothing any more after that.
type schema struct {
	flexible int16 // first version with compact lengths and tags
	body     structure
}

type structure struct {
	fields []field
	// known are the tags that have a structure of their own, by tag; all others are only skipped.
	known map[uint32]*structure
	// bare structures have no tag section: they stand for the elements of a list of strings.
	bare bool
}

type field struct {
	kind     kind
	bytes    int // of a fixed field or of one element of fixedList
	min, max int16
	of       *structure
}

type kind uint8

const (
	fixed     kind = iota
	text           // string, nullable or not
	blob           // bytes, nullable or not
	fixedList      // list of numbers
	list           // list of structures
	optional       // nullable structure
)

// elementsMax bounds the structures, strings in lists and tags of one request: far above what a real client
// asks for (every partition of a large cluster), low enough that decoding stays below 40 MiB.
const elementsMax = 1 << 18

// elementBytes is what decoding one element takes at most, apart from copies of its strings and lists of
// numbers, which the walk counts by the byte.
const elementBytes = 144

// taggedElements is what the first unknown tag of a structure counts as: kmsg makes a map for it.
const taggedElements = 4

// walker walks over one body.
type walker struct {
	rest     []byte
	version  int16
	flexible bool
	elements int
	bytes    int // of strings and lists of numbers, which are copied, and of tags, which keep the frame
}

// walk returns how many elements the body has, how many bytes of it stay in memory with its decoded form
// beside them, and how many bytes follow it; ok is false when the body does not have this shape. Blobs do not
// count: they alias the frame, and a handler uses them up while the frame is accounted for.
func (s *schema) walk(body []byte, version int16) (elements, bytes, rest int, ok bool) {
	w := walker{rest: body, version: version, flexible: version >= s.flexible}
	ok = w.structure(&s.body)
	return w.elements, w.bytes, len(w.rest), ok
}

func (w *walker) structure(s *structure) bool {
	for i := range s.fields {
		f := &s.fields[i]
		if w.version < f.min || w.version > f.max {
			continue
		}
		if !w.field(f) {
			return false
		}
	}
	if w.flexible && !s.bare {
		return w.tags(s.known)
	}
	return true
}

func (w *walker) field(f *field) bool {
	switch f.kind {
	case fixed:
		return w.skip(f.bytes)
	case text:
		n, ok := w.length(2)
		return ok && n <= math.MaxInt16 && w.keep(max(n, 0)) // Kafka's bound, also where a compact length could say more
	case blob:
		n, ok := w.length(4)
		return ok && w.skip(max(n, 0))
	case fixedList:
		n, ok := w.length(4)
		return ok && n <= len(w.rest) && w.keep(max(n, 0)*f.bytes)
	case list:
		return w.list(f.of)
	case optional:
		if len(w.rest) == 0 {
			return false
		}
		present := int8(w.rest[0])
		w.rest = w.rest[1:]
		return present == -1 || w.structure(f.of)
	}
	panic("BUG: wire: a schema has a field of no kind")
}

func (w *walker) list(of *structure) bool {
	n, ok := w.length(4)
	if !ok || n > len(w.rest) {
		return false
	}
	for range max(n, 0) {
		if !w.count(1) || !w.structure(of) {
			return false
		}
	}
	return true
}

func (w *walker) tags(known map[uint32]*structure) bool {
	n, ok := w.uvarint()
	if !ok {
		return false
	}
	if n == 0 {
		return true
	}
	if !w.count(taggedElements) {
		return false
	}
	for range n {
		tag, ok := w.uvarint()
		if !ok || !w.count(1) {
			return false
		}
		size, ok := w.uvarint()
		if !ok || uint64(size) > uint64(len(w.rest)) {
			return false
		}
		if of := known[tag]; of != nil && !w.inside(int(size), of) {
			return false
		}
		if !w.keep(int(size)) {
			return false
		}
	}
	return true
}

// inside walks the structure of a known tag, which must not reach past the tag's own bytes.
func (w *walker) inside(size int, of *structure) bool {
	inner := walker{rest: w.rest[:size], version: w.version, flexible: w.flexible, elements: w.elements}
	ok := inner.structure(of)
	w.elements = inner.elements
	return ok
}

// count adds elements and reports whether they are still within bounds.
func (w *walker) count(n int) bool {
	w.elements += n
	return w.elements <= elementsMax
}

// keep skips what stays in memory until the request is answered.
func (w *walker) keep(n int) bool {
	w.bytes += n
	return w.skip(n)
}

func (w *walker) skip(n int) bool {
	if n > len(w.rest) {
		return false
	}
	w.rest = w.rest[n:]
	return true
}

// length reads the length of a string (2 bytes), of bytes or of a list (4 bytes), or the compact form of
// any of them. Negative is null.
func (w *walker) length(bytes int) (int, bool) {
	if w.flexible {
		n, ok := w.uvarint()
		if n > math.MaxInt32 { // kmsg would take it for null in a list
			return 0, false
		}
		return int(n) - 1, ok
	}
	if len(w.rest) < bytes {
		return 0, false
	}
	var n int
	if bytes == 2 {
		n = int(int16(uint16(w.rest[0])<<8 | uint16(w.rest[1])))
	} else {
		n = int(int32(uint32(w.rest[0])<<24 | uint32(w.rest[1])<<16 | uint32(w.rest[2])<<8 | uint32(w.rest[3])))
	}
	w.rest = w.rest[bytes:]
	return n, true
}

// uvarint reads at most 32 bits in at most 5 bytes; like kmsg it does not insist on the shortest form.
func (w *walker) uvarint() (uint32, bool) {
	var x uint32
	for i, c := range w.rest {
		if i == 4 {
			if c > 0x0f {
				return 0, false
			}
			w.rest = w.rest[5:]
			return x | uint32(c)<<28, true
		}
		x |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			w.rest = w.rest[i+1:]
			return x, true
		}
	}
	return 0, false
}
