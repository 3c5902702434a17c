package wire

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill gives every field of a message a random value that encodes to something, lists up to three elements.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(3) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			*tags = kmsg.Tags{}
			for range r.IntN(3) {
				tags.Set(uint32(100+r.IntN(1000)), make([]byte, r.IntN(200)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		n := r.IntN(4) - 1
		if n < 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(string(make([]byte, r.IntN(300))))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Float64:
		v.SetFloat(r.Float64())
	default:
		v.SetInt(int64(r.IntN(100)))
	}
}

func keys() []int16 {
	var out []int16
	for key := range schemas {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// TestSchemasMatchTheCodec compares every schema, at every version, with what kmsg writes: the walk must end
// exactly where the body ends, and must refuse every body that is cut short.
func TestSchemasMatchTheCodec(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, key := range keys() {
		last := kmsg.RequestForKey(key).MaxVersion()
		for version := range last + 1 {
			t.Run(fmt.Sprintf("%s/%d", kmsg.NameForKey(key), version), func(t *testing.T) {
				for range 60 {
					m := kmsg.RequestForKey(key)
					m.SetVersion(version)
					fill(r, reflect.ValueOf(m).Elem())
					body := m.AppendTo(nil)
					if got := version >= schemas[key].flexible; got != m.IsFlexible() {
						t.Fatalf("flexible: got %v, the codec says %v", got, m.IsFlexible())
					}
					if _, _, rest, ok := schemas[key].walk(body, version); !ok || rest != 0 {
						t.Fatalf("walk of %d bytes: ok %v, %d left: %+v", len(body), ok, rest, m)
					}
					if _, _, rest, ok := schemas[key].walk(append(body, 7, 7, 7), version); !ok || rest != 3 {
						t.Fatalf("with 3 bytes more: ok %v, %d left", ok, rest)
					}
					for n := range body {
						if _, _, _, ok := schemas[key].walk(body[:n], version); ok {
							t.Fatalf("%d of %d bytes pass", n, len(body))
						}
					}
				}
			})
		}
	}
}

// TestDecodedBytesBoundAllocation measures what kmsg allocates for bodies made of the smallest elements,
// which cost the most by the byte.
func TestDecodedBytesBoundAllocation(t *testing.T) {
	for _, key := range keys() {
		last := kmsg.RequestForKey(key).MaxVersion()
		for version := range last + 1 {
			for _, tagged := range []bool{false, true} {
				m := kmsg.RequestForKey(key)
				m.SetVersion(version)
				dense(reflect.ValueOf(m).Elem(), 40, tagged && m.IsFlexible())
				body := m.AppendTo(nil)
				elements, bytes, _, ok := schemas[key].walk(body, version)
				if !ok {
					t.Fatalf("%s %d: a dense body of %d bytes is refused", kmsg.NameForKey(key), version, len(body))
				}
				const runs = 20
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range runs {
					out := kmsg.RequestForKey(key)
					out.SetVersion(version)
					if err := out.ReadFrom(body); err != nil {
						t.Fatal(err)
					}
				}
				runtime.ReadMemStats(&after)
				got := int(after.TotalAlloc-before.TotalAlloc) / runs
				// Allocations are rounded up to size classes, and the request itself is on top. Strings and
				// numbers are copied, twice under the race detector.
				if bound := elements*elementBytes*9/8 + 2*bytes + 1024; got > bound {
					t.Errorf("%s %d, tags %v: decoding %d bytes with %d elements allocates %d bytes, bound %d",
						kmsg.NameForKey(key), version, tagged, len(body), elements, got, bound)
				}
			}
		}
	}
}

// dense makes every list n zero elements long, and gives every structure one unknown tag.
func dense(v reflect.Value, n int, tagged bool) {
	switch v.Kind() {
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if tagged {
				tags.Set(1000, nil)
			}
			return
		}
		for i := range v.NumField() {
			dense(v.Field(i), n, tagged)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			dense(v.Index(i), n, tagged)
		}
	}
}

func TestWalkRefusesLies(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // 2^32-1
	produce9 := []byte{0, 0, 1, 0, 0, 0, 0}      // null transactional id, acks, timeout
	for name, c := range map[string]struct {
		key, version int16
		body         []byte
	}{
		"tags without end":             {18, 3, append([]byte{2, 'a', 2, 'b'}, huge...)},
		"tag longer than the body":     {18, 3, []byte{2, 'a', 2, 'b', 1, 0, 5, 1}},
		"number of six bytes":          {18, 3, []byte{2, 'a', 2, 'b', 0x80, 0x80, 0x80, 0x80, 0x80, 0}},
		"number above 32 bits":         {18, 3, []byte{2, 'a', 2, 'b', 0xff, 0xff, 0xff, 0xff, 0x1f}},
		"string beyond Kafka's length": {18, 3, append([]byte{0x81, 0x80, 0x04}, make([]byte, 1<<16)...)},
		"more topics than bytes":       {0, 9, append(slices.Clone(produce9), huge...)},
		"topics that are not there":    {0, 9, append(slices.Clone(produce9), 4, 1, 1)},
		"old style count":              {3, 1, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0}},
		"tags inside a known tag":      {1, 15, append(make([]byte, 4+4+4+1+4+4), 1, 1, 1, 1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)},
		"cursor cut off":               {75, 0, []byte{1, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if elements, _, rest, ok := schemas[c.key].walk(c.body, c.version); ok {
				t.Errorf("passes with %d elements, %d bytes left", elements, rest)
			}
		})
	}
}

// TestWalkBoundsElements: as many elements as there are bytes for, honest but far too many.
func TestWalkBoundsElements(t *testing.T) {
	m := kmsg.NewPtrProduceRequest()
	m.SetVersion(13)
	m.Topics = make([]kmsg.ProduceRequestTopic, 1)
	m.Topics[0].Partitions = make([]kmsg.ProduceRequestTopicPartition, elementsMax-1)
	if elements, _, _, ok := schemas[0].walk(m.AppendTo(nil), 13); !ok || elements != elementsMax {
		t.Errorf("at the limit: ok %v, %d elements", ok, elements)
	}
	m.Topics[0].Partitions = make([]kmsg.ProduceRequestTopicPartition, 3*elementsMax)
	elements, _, _, ok := schemas[0].walk(m.AppendTo(nil), 13)
	if ok {
		t.Error("three times the limit passes")
	}
	if elements > elementsMax+1 {
		t.Errorf("walked %d elements, want to stop after %d", elements, elementsMax)
	}
}
