package wire

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAppendResponse(t *testing.T) {
	metadata := kmsg.NewPtrMetadataResponse()
	metadata.SetVersion(8)
	flexible := kmsg.NewPtrMetadataResponse()
	flexible.SetVersion(9)
	versions := kmsg.NewPtrApiVersionsResponse()
	versions.SetVersion(3)
	for name, c := range map[string]struct {
		response Response
		header   []byte
	}{
		"plain":                        {metadata, []byte{0xff, 0xff, 0xff, 0xfe}},
		"flexible":                     {flexible, []byte{0xff, 0xff, 0xff, 0xfe, 0}},
		"ApiVersions, flexible or not": {versions, []byte{0xff, 0xff, 0xff, 0xfe}},
	} {
		got, err := AppendResponse([]byte("before"), -2, c.response)
		if err != nil {
			t.Fatal(err)
		}
		want := c.response.AppendTo(append([]byte(nil), c.header...))
		want = append(binary.BigEndian.AppendUint32([]byte("before"), uint32(len(want))), want...)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
}

// inPieces cuts the body of a response into segments.
type inPieces struct{ Response }

func (r inPieces) AppendBuffers(dst net.Buffers) net.Buffers {
	body := r.AppendTo(nil)
	return append(dst, body[:1], nil, body[1:])
}

func TestAppendSegmented(t *testing.T) {
	metadata := kmsg.NewPtrMetadataResponse()
	metadata.SetVersion(12)
	metadata.Brokers = make([]kmsg.MetadataResponseBroker, 5)
	want, err := AppendResponse([]byte("before"), 7, metadata)
	if err != nil {
		t.Fatal(err)
	}
	head, segments, err := AppendSegmented([]byte("before"), net.Buffers{[]byte("not counted")}, 7, inPieces{metadata})
	if err != nil {
		t.Fatal(err)
	}
	if got := append(head, bytes.Join(segments[1:], nil)...); !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}
