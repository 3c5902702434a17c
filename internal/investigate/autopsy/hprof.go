package autopsy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Tags of records and of what is inside of heap dump segments (HotSpot's heapDumper.cpp).
const (
	tagString      = 0x01
	tagLoadClass   = 0x02
	tagHeapDump    = 0x0c
	tagHeapSegment = 0x1c
	tagHeapEnd     = 0x2c

	subRootUnknown   = 0xff
	subRootJNIGlobal = 0x01
	subRootJNILocal  = 0x02
	subRootFrame     = 0x03
	subRootNative    = 0x04
	subRootSticky    = 0x05
	subRootBlock     = 0x06
	subRootMonitor   = 0x07
	subRootThread    = 0x08
	subClass         = 0x20
	subInstance      = 0x21
	subObjects       = 0x22
	subPrimitives    = 0x23
)

// Types of fields and of elements of arrays.
const (
	typeObject  = 2
	typeBoolean = 4
	typeChar    = 5
	typeFloat   = 6
	typeDouble  = 7
	typeByte    = 8
	typeShort   = 9
	typeInt     = 10
	typeLong    = 11
)

const (
	// dumpBuffer is how much of a dump is in memory at a time, in bytes.
	dumpBuffer = 1 << 20
	// dumpSeek is from how many bytes on it is quicker to seek than to read.
	dumpSeek = 1 << 20
	// instanceBytesMax is the largest instance that is decoded; arrays are not instances.
	instanceBytesMax = 64 << 10
	stringBytesMax   = 1 << 10 // longer ones are no name of a class or field
	fieldsMax        = 1 << 12 // of one class
)

var (
	// errStop ends a pass that has found all it looked for.
	errStop = errors.New("found everything")
	// errCut says that a dump ends in the middle.
	errCut = errors.New("the dump is cut")
	// errNoDump says that a file is not a heap dump.
	errNoDump = errors.New("not a heap dump")
)

// dumpVisitor is what a pass wants to see. Ids are addresses. Slices are valid during the call only.
type dumpVisitor interface {
	// text is a string of the symbol table.
	text(id uint64, s []byte)
	// load ties a class to the string that is its name.
	load(class, name uint64)
	// class is the description of a class.
	class(c *classDump)
	// instance is an object.
	instance(id, class uint64, fields []byte)
	// objects is an array of n references; if it returns true, elements is called with them, in order, in parts.
	objects(id, class uint64, n int) bool
	elements(first int, refs []byte)
	// primitives is an array of n numbers of a type; if it returns true, content is called with the first stringBytesMax
	// bytes of it.
	primitives(id uint64, kind byte, n int) bool
	content(b []byte)
	// done is asked after each segment whether the rest is of no interest.
	done() bool
}

// classDump is one class: what of it is in its instances.
type classDump struct {
	id, super uint64
	fields    []dumpField // own ones, in the order in which instances have them
}

type dumpField struct {
	name uint64
	kind byte
}

// dumpReader reads a heap dump from its beginning to its end.
type dumpReader struct {
	in       io.Reader
	seeker   io.Seeker
	buf      []byte
	lo, hi   int
	at       int64 // position of buf[lo]
	ids      int
	time     time.Time
	v        dumpVisitor
	c        classDump
	damage   []string // at most damageMax
	open     bool     // segments were read, and not yet the mark of their end
	progress func(at int64) error
	reported int64
}

const damageMax = 10

// readDump reads a dump and shows it to v; begin is called when the header is known. What ends too early is errCut; what is damaged inside is left out up to the next
// record and told in damage.
func readDump(in io.Reader, v dumpVisitor, begin func(*dumpReader), progress func(at int64) error) (*dumpReader, error) {
	d := &dumpReader{in: in, buf: make([]byte, dumpBuffer), v: v, progress: progress}
	if s, ok := in.(io.Seeker); ok {
		d.seeker = s
	}
	if err := d.header(); err != nil {
		return d, err
	}
	if begin != nil {
		begin(d)
	}
	for {
		if d.progress != nil && d.at-d.reported >= 32<<20 {
			d.reported = d.at
			if err := d.progress(d.at); err != nil {
				return d, err
			}
		}
		if !d.need(1) {
			if d.open {
				return d, d.cut("the end, whose mark is missing")
			}
			return d, nil
		}
		if !d.need(9) {
			return d, d.cut("a record")
		}
		b := d.buf[d.lo:]
		tag, length := b[0], int64(binary.BigEndian.Uint32(b[5:]))
		d.forward(9)
		if err := d.record(tag, length); errors.Is(err, errStop) {
			return d, nil
		} else if err != nil {
			return d, err
		}
	}
}

func (d *dumpReader) header() error {
	if !d.need(32) || string(d.buf[d.lo:d.lo+16]) != "JAVA PROFILE 1.0" {
		return errNoDump
	}
	end := d.lo + 16
	for end < d.lo+31 && d.buf[end] != 0 {
		end++
	}
	if d.buf[end] != 0 {
		return errNoDump
	}
	d.forward(end + 1 - d.lo)
	if !d.need(12) {
		return d.cut("the header")
	}
	d.ids = int(binary.BigEndian.Uint32(d.buf[d.lo:]))
	if d.ids != 4 && d.ids != 8 {
		return fmt.Errorf("ids of %d bytes: %w", d.ids, errNoDump)
	}
	if ms := int64(binary.BigEndian.Uint64(d.buf[d.lo+4:])); ms > 0 && ms < 1<<43 {
		d.time = time.UnixMilli(ms).UTC()
	}
	d.forward(12)
	return nil
}

func (d *dumpReader) cut(where string) error {
	return fmt.Errorf("%w at byte %d, in %s", errCut, d.at+int64(d.hi-d.lo), where)
}

// need makes at least n bytes visible from lo on, n at most dumpBuffer.
func (d *dumpReader) need(n int) bool {
	if d.hi-d.lo >= n {
		return true
	}
	copy(d.buf, d.buf[d.lo:d.hi])
	d.lo, d.hi = 0, d.hi-d.lo
	for d.hi < n {
		got, err := d.in.Read(d.buf[d.hi:])
		d.hi += got
		if err != nil {
			return d.hi >= n
		}
	}
	return true
}

func (d *dumpReader) forward(n int) {
	d.lo += n
	d.at += int64(n)
}

// skip goes forward n bytes.
func (d *dumpReader) skip(n int64) bool {
	if have := int64(d.hi - d.lo); n > have {
		d.forward(int(have))
		n -= have
		if d.seeker != nil && n >= dumpSeek {
			return d.seek(n)
		}
		for n > 0 {
			if !d.need(1) {
				return false
			}
			step := min(n, int64(d.hi-d.lo))
			d.forward(int(step))
			n -= step
		}
		return true
	}
	d.forward(int(n))
	return true
}

// seek jumps over n bytes, all but the last by the file itself: reading that one shows whether it is there.
func (d *dumpReader) seek(n int64) bool {
	if _, err := d.seeker.Seek(n-1, io.SeekCurrent); err != nil {
		return false
	}
	d.at += n - 1
	if !d.need(1) {
		return false
	}
	d.forward(1)
	return true
}

func (d *dumpReader) record(tag byte, length int64) error {
	switch tag {
	case tagString:
		if length < int64(d.ids) || length > int64(d.ids)+stringBytesMax {
			break
		}
		if !d.need(int(length)) {
			return d.cut("a string")
		}
		b := d.buf[d.lo : d.lo+int(length)]
		d.v.text(d.id(b), b[d.ids:])
		d.forward(int(length))
		return nil
	case tagLoadClass:
		if length != int64(8+2*d.ids) {
			break
		}
		if !d.need(int(length)) {
			return d.cut("a class record")
		}
		b := d.buf[d.lo:]
		d.v.load(d.id(b[4:]), d.id(b[8+d.ids:]))
		d.forward(int(length))
		return nil
	case tagHeapDump, tagHeapSegment:
		d.open = tag == tagHeapSegment
		return d.segment(length)
	case tagHeapEnd:
		d.open = false
	}
	if !d.skip(length) {
		return d.cut(fmt.Sprintf("a record of type %#x", tag))
	}
	return nil
}

func (d *dumpReader) id(b []byte) uint64 {
	if d.ids == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return uint64(binary.BigEndian.Uint32(b))
}

// segment reads what is inside of a heap dump record. An unknown tag means damage: the rest of the segment is left out. Java 8 and 11
// write the length when a segment is whole: in one that was cut it is 0, and what is there goes on to the end.
func (d *dumpReader) segment(length int64) error {
	end := d.at + length
	endless := length == 0 && d.need(1) && subTag(d.buf[d.lo])
	if endless {
		end = math.MaxInt64
	}
	for d.at < end {
		if endless && d.need(1) && (d.buf[d.lo] == tagHeapSegment || d.buf[d.lo] == tagHeapEnd) {
			break
		}
		if d.progress != nil && d.at-d.reported >= 32<<20 {
			d.reported = d.at
			if err := d.progress(d.at); err != nil {
				return err
			}
		}
		known, whole := d.sub(end)
		if !whole {
			return d.cut("a heap dump segment")
		}
		if known {
			continue
		}
		if endless {
			return d.cut("a heap dump segment without a length")
		}
		if len(d.damage) < damageMax {
			d.damage = append(d.damage, fmt.Sprintf("damaged at byte %d: %d bytes left out", d.at, end-d.at))
		}
		if d.at < end && !d.skip(end-d.at) {
			return d.cut("a heap dump segment")
		}
	}
	if d.v.done() {
		return errStop
	}
	return nil
}

// subTag knows the tags inside of a segment.
func subTag(tag byte) bool {
	_, _, root := rootBytes(tag)
	return root || tag >= subClass && tag <= subPrimitives
}

// rootBytes is what follows the tag of a root, in ids and further bytes; false if it is none.
func rootBytes(tag byte) (ids, more int, ok bool) {
	switch tag {
	case subRootUnknown, subRootSticky, subRootMonitor:
		return 1, 0, true
	case subRootJNIGlobal:
		return 2, 0, true
	case subRootJNILocal, subRootFrame, subRootThread:
		return 1, 8, true
	case subRootNative, subRootBlock:
		return 1, 4, true
	}
	return 0, 0, false
}

// sub reads one thing inside of a segment that ends at end. known is false if its tag or length makes no sense, whole is
// false if the dump ends in it.
func (d *dumpReader) sub(end int64) (known, whole bool) {
	ids := d.ids
	d.need(1 + 2*ids + 9) // as much as any head has; less is there at the very end
	if d.hi == d.lo {
		return true, false
	}
	b := d.buf[d.lo:d.hi]
	switch tag := b[0]; tag {
	case subInstance:
		head := 1 + ids + 4 + ids + 4
		if len(b) < head {
			return true, false
		}
		id, class, n := d.id(b[1:]), d.id(b[5+ids:]), int64(binary.BigEndian.Uint32(b[5+2*ids:]))
		if d.at+int64(head)+n > end {
			return false, true
		}
		if n > instanceBytesMax {
			return true, d.skip(int64(head) + n)
		}
		if !d.need(head + int(n)) {
			return true, false
		}
		d.v.instance(id, class, d.buf[d.lo+head:d.lo+head+int(n)])
		d.forward(head + int(n))
		return true, true
	case subObjects, subPrimitives:
		return d.array(tag, end)
	case subClass:
		return d.classDump(end)
	default:
		idCount, more, ok := rootBytes(tag)
		if !ok || d.at+int64(1+idCount*ids+more) > end {
			return false, true
		}
		return true, d.skip(int64(1 + idCount*ids + more))
	}
}

func (d *dumpReader) array(tag byte, end int64) (known, whole bool) {
	ids := d.ids
	head := 1 + ids + 4 + 4 + 1
	if tag == subObjects {
		head = 1 + ids + 4 + 4 + ids
	}
	if d.hi-d.lo < head {
		return true, false
	}
	b := d.buf[d.lo:]
	id, n := d.id(b[1:]), int64(binary.BigEndian.Uint32(b[5+ids:]))
	if tag == subObjects {
		class := d.id(b[9+ids:])
		if d.at+int64(head)+n*int64(ids) > end {
			return false, true
		}
		want := d.v.objects(id, class, int(n))
		d.forward(head)
		if !want {
			return true, d.skip(n * int64(ids))
		}
		return true, d.refs(n)
	}
	kind := b[9+ids]
	size := int64(typeSize(kind, ids))
	if size == 0 || d.at+int64(head)+n*size > end {
		return false, true
	}
	want := d.v.primitives(id, kind, int(n))
	d.forward(head)
	if want {
		part := int(min(n*size, stringBytesMax))
		if !d.need(part) {
			return true, false
		}
		d.v.content(d.buf[d.lo : d.lo+part])
	}
	return true, d.skip(n * size)
}

func (d *dumpReader) refs(n int64) bool {
	for first := int64(0); first < n; {
		if !d.need(d.ids) {
			return false
		}
		part := min(n-first, int64((d.hi-d.lo)/d.ids))
		bytes := int(part) * d.ids
		d.v.elements(int(first), d.buf[d.lo:d.lo+bytes])
		d.forward(bytes)
		first += part
	}
	return true
}

// typeSize is how many bytes a field takes in a dump; 0 for types that there are not.
func typeSize(kind byte, ids int) int {
	switch kind {
	case typeObject:
		return ids
	case typeBoolean, typeByte:
		return 1
	case typeChar, typeShort:
		return 2
	case typeFloat, typeInt:
		return 4
	case typeDouble, typeLong:
		return 8
	}
	return 0
}

// classDump reads the description of a class. Constants and statics are walked over, one by one since their lengths differ.
func (d *dumpReader) classDump(end int64) (known, whole bool) {
	ids := d.ids
	head := 1 + ids + 4 + 6*ids + 4
	if !d.need(head + 2) {
		return true, false
	}
	b := d.buf[d.lo:]
	d.c = classDump{id: d.id(b[1:]), super: d.id(b[5+ids:]), fields: d.c.fields[:0]}
	d.forward(head)
	for _, nameBytes := range []int{2, ids} { // the constant pool, then statics
		if !d.need(2) {
			return true, false
		}
		n := int(binary.BigEndian.Uint16(d.buf[d.lo:]))
		d.forward(2)
		for range n {
			if !d.need(nameBytes + 1) {
				return true, false
			}
			size := typeSize(d.buf[d.lo+nameBytes], ids)
			if size == 0 || d.at+int64(nameBytes+1+size) > end {
				return false, true
			}
			if !d.skip(int64(nameBytes + 1 + size)) {
				return true, false
			}
		}
	}
	if !d.need(2) {
		return true, false
	}
	n := int(binary.BigEndian.Uint16(d.buf[d.lo:]))
	d.forward(2)
	if n > fieldsMax || d.at+int64(n*(ids+1)) > end {
		return false, true
	}
	if !d.need(n * (ids + 1)) {
		return true, false
	}
	for i := range n {
		b := d.buf[d.lo+i*(ids+1):]
		if typeSize(b[ids], ids) == 0 {
			return false, true
		}
		d.c.fields = append(d.c.fields, dumpField{d.id(b), b[ids]})
	}
	d.forward(n * (ids + 1))
	d.v.class(&d.c)
	return true, true
}
