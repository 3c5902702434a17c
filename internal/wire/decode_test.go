package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func allAPIs() []API {
	var out []API
	for _, key := range keys() {
		out = append(out, API{Key: key, Max: kmsg.RequestForKey(key).MaxVersion()})
	}
	return out
}

func newDecoder(t testing.TB, frameBytesMax int32, apis ...API) *Decoder {
	t.Helper()
	if apis == nil {
		apis = allAPIs()
	}
	d, err := NewDecoder(apis, frameBytesMax)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// frameOf is the frame, with its size, that a client sends.
func frameOf(r kmsg.Request, clientID *string, correlationID int32) []byte {
	f := kmsg.NewRequestFormatter()
	if clientID != nil {
		f = kmsg.NewRequestFormatter(kmsg.FormatterClientID(*clientID))
	}
	return f.AppendRequest(nil, r, correlationID)
}

func produce(version int16, records []byte) *kmsg.ProduceRequest {
	p := kmsg.NewPtrProduceRequest()
	p.SetVersion(version)
	p.Acks = -1
	p.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 3, Records: records}}}}
	return p
}

func TestDecode(t *testing.T) {
	d := newDecoder(t, 1<<20)
	id := "a client"
	for _, version := range []int16{0, 3, 8, 9, 12} {
		for _, clientID := range []*string{nil, &id, new(string)} {
			frame := frameOf(produce(version, []byte("records")), clientID, 77)
			size, err := d.CheckHead(frame[:HeadBytes])
			if err != nil || size != len(frame)-SizeBytes {
				t.Fatalf("CheckHead: %d, %v, want %d", size, err, len(frame)-SizeBytes)
			}
			r := Request{Session: &Session{}}
			if err := d.Decode(frame[SizeBytes:], &r); err != nil {
				t.Fatal(err)
			}
			want := ""
			if clientID != nil {
				want = *clientID
			}
			if r.Key != 0 || r.Version != version || r.CorrelationID != 77 || r.ClientID != want || r.Unsupported {
				t.Errorf("got %+v", r)
			}
			body := r.Body.(*kmsg.ProduceRequest)
			if body.Topics[0].Topic != "t" || string(body.Topics[0].Partitions[0].Records) != "records" {
				t.Errorf("got %+v", body)
			}
			// Records alias the frame, strings do not.
			clear(frame)
			if string(body.Topics[0].Partitions[0].Records) == "records" || body.Topics[0].Topic != "t" || r.ClientID != want {
				t.Error("records must alias the frame, strings must not")
			}
		}
	}
}

func TestDecodeIgnoresWhatFollowsTheBody(t *testing.T) {
	d := newDecoder(t, 1<<20)
	frame := append(frameOf(produce(9, []byte("r")), nil, 1), "garbage"...)
	var r Request
	if err := d.Decode(frame[SizeBytes:], &r); err != nil {
		t.Fatal(err)
	}
}

func TestDecodeSkipsHeaderTags(t *testing.T) {
	d := newDecoder(t, 1<<20)
	frame := []byte{0, 60, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 1, 200, 1, 3, 'a', 'b', 'c', 1, 0}
	var r Request
	if err := d.Decode(frame, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Body.(*kmsg.DescribeClusterRequest).IncludeClusterAuthorizedOperations || r.CorrelationID != 9 {
		t.Errorf("got %+v", r.Body)
	}
}

func TestDecodeRefuses(t *testing.T) {
	d := newDecoder(t, 1<<20, API{Key: 0, Min: 3, Max: 12}, API{Key: 18, Min: 0, Max: 4})
	good := frameOf(produce(9, []byte("r")), kmsg.StringPtr("client"), 1)[SizeBytes:]
	edit := func(at int, b ...byte) []byte {
		out := append([]byte(nil), good...)
		copy(out[at:], b)
		return out
	}
	for name, c := range map[string]struct {
		frame []byte
		want  error
	}{
		"nothing":                  {nil, ErrMalformed},
		"half a header":            {good[:9], ErrMalformed},
		"client id too long":       {edit(8, 0x7f, 0xff), ErrMalformed},
		"unknown key":              {edit(0, 0, 99), ErrUnknownAPI},
		"key that is not served":   {edit(0, 0, 3), ErrUnknownAPI},
		"negative key":             {edit(0, 0xff, 0xff), ErrUnknownAPI},
		"version above the range":  {edit(2, 0, 13), ErrUnsupportedVersion},
		"version below the range":  {edit(2, 0, 2), ErrUnsupportedVersion},
		"negative version":         {edit(2, 0xff, 0xff), ErrUnsupportedVersion},
		"header tags without end":  {edit(16, 0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed},
		"body cut off":             {good[:len(good)-1], ErrMalformed},
		"null where kmsg wants no": {append([]byte(nil), 0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0), ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			if err := d.Decode(c.frame, &r); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestUnsupportedApiVersionsReachesTheHandler(t *testing.T) {
	d := newDecoder(t, 1<<20, API{Key: 18, Min: 0, Max: 4})
	for _, frame := range [][]byte{
		{0, 18, 0, 5, 0, 0, 0, 42, 0, 1, 'x'},
		{0, 18, 0x7f, 0xff, 0, 0, 0, 42, 0, 1, 'x', 0xff, 0xff, 1, 2, 3},
		{0, 18, 0xff, 0xff, 0, 0, 0, 42, 0, 1, 'x'},
	} {
		var r Request
		if err := d.Decode(frame, &r); err != nil {
			t.Fatal(err)
		}
		if !r.Unsupported || r.Body != nil || r.CorrelationID != 42 || r.ClientID != "x" {
			t.Errorf("got %+v", r)
		}
	}
}

func TestCheckHead(t *testing.T) {
	d := newDecoder(t, 100<<20, API{Key: 0, Max: 12}, API{Key: 3, Max: 12}, API{Key: 18, Max: 4, FrameBytesMax: 1000})
	for name, c := range map[string]struct {
		size int32
		key  int16
		want error
	}{
		"negative":                 {-1, 0, ErrFrameSize},
		"most negative":            {math.MinInt32, 0, ErrFrameSize},
		"zero":                     {0, 0, ErrFrameSize},
		"smaller than a header":    {9, 0, ErrFrameSize},
		"smallest":                 {10, 0, nil},
		"largest":                  {100 << 20, 0, nil},
		"too large":                {100<<20 + 1, 0, ErrFrameSize},
		"as large as it gets":      {math.MaxInt32, 0, ErrFrameSize},
		"metadata, largest":        {frameBytesLists, 3, nil},
		"metadata, too large":      {frameBytesLists + 1, 3, ErrFrameSize},
		"its own limit":            {1000, 18, nil},
		"beyond its own limit":     {1001, 18, ErrFrameSize},
		"an API that is not there": {100, 1, ErrUnknownAPI},
		"beyond all APIs":          {100, 12345, ErrUnknownAPI},
		"negative API":             {100, -3, ErrUnknownAPI},
	} {
		head := binary.BigEndian.AppendUint32(nil, uint32(c.size))
		head = binary.BigEndian.AppendUint16(head, uint16(c.key))
		head = append(head, 0, 0)
		got, err := d.CheckHead(head)
		if !errors.Is(err, c.want) || err == nil && got != int(c.size) {
			t.Errorf("%s: got %d, %v, want %v", name, got, err, c.want)
		}
	}
}

func TestCheckSizeHints(t *testing.T) {
	d := newDecoder(t, 100<<20)
	for head, want := range map[string]string{"GET ": "HTTP", "POST": "HTTP", "\x16\x03\x01\x02": "TLS"} {
		if _, err := d.CheckSize([]byte(head)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want a hint at %s", head, err, want)
		}
	}
}

func TestNewDecoderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		api   API
		limit int32
	}{
		"no schema":              {API{Key: 7}, 1 << 20},
		"negative key":           {API{Key: -1}, 1 << 20},
		"versions upside down":   {API{Key: 0, Min: 3, Max: 2}, 1 << 20},
		"beyond the codec":       {API{Key: 0, Max: 99}, 1 << 20},
		"negative version":       {API{Key: 0, Min: -1, Max: 2}, 1 << 20},
		"frames of no use":       {API{Key: 0, Max: 2}, 9},
		"negative limit for all": {API{Key: 0, Max: 2}, -1},
	} {
		if _, err := NewDecoder([]API{c.api}, c.limit); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzReadRequest throws bytes at everything between the socket and a handler. A body that is accepted
// is written back and must be accepted again: walk and codec agree on its shape.
func FuzzReadRequest(f *testing.F) {
	for _, key := range keys() {
		last := kmsg.RequestForKey(key).MaxVersion()
		for version := range last + 1 {
			r := kmsg.RequestForKey(key)
			r.SetVersion(version)
			f.Add(frameOf(r, kmsg.StringPtr("fuzz"), int32(version)))
		}
	}
	f.Add(frameOf(produce(12, []byte("records")), nil, 5))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 30, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0})
	d := newDecoder(f, 1<<20)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < HeadBytes {
			return
		}
		size, err := d.CheckHead(data[:HeadBytes])
		if err != nil || size > len(data)-SizeBytes {
			return
		}
		r := Request{Session: &Session{}}
		body, decodedBytes, err := d.Header(data[SizeBytes:SizeBytes+size], &r)
		if err != nil {
			return
		}
		if decodedBytes > elementsMax*elementBytes+int64(len(body)) || len(body) > size {
			t.Fatalf("a body of %d bytes in a frame of %d takes %d", len(body), size, decodedBytes)
		}
		if d.Body(body, &r) != nil || r.Body == nil {
			return
		}
		again := r.Body.AppendTo(nil)
		if _, _, rest, ok := schemas[r.Key].walk(again, r.Version); !ok || rest != 0 {
			t.Fatalf("written back: ok %v, %d left of %d: %+v", ok, rest, len(again), r.Body)
		}
	})
}

func BenchmarkDecodeProduce(b *testing.B) {
	d := newDecoder(b, 1<<20)
	frame := frameOf(produce(12, make([]byte, 150)), kmsg.StringPtr("client"), 1)
	session := &Session{}
	b.ReportAllocs()
	for b.Loop() {
		r := Request{Session: session}
		if _, err := d.CheckHead(frame); err != nil {
			b.Fatal(err)
		}
		if err := d.Decode(frame[SizeBytes:], &r); err != nil {
			b.Fatal(err)
		}
	}
}
