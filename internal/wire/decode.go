package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a connection can do wrong. Each of them ends it: after a frame that cannot be understood there is
// no telling where the next one starts.
var (
	ErrFrameSize          = errors.New("wire: frame size out of range")
	ErrUnknownAPI         = errors.New("wire: API not served")
	ErrUnsupportedVersion = errors.New("wire: API version not served")
	ErrMalformed          = errors.New("wire: malformed request")
)

const (
	// SizeBytes is the length of the size that starts a frame.
	SizeBytes = 4
	// HeadBytes is how much of a frame must be there, size included, to tell its API and so its limit.
	HeadBytes = SizeBytes + 4
	// requestHeaderBytesMin: key, version, correlation id and a null client id.
	requestHeaderBytesMin = 10

	keyApiVersions = 18
	apiKeysMax     = 1 << 10 // Kafka has fewer than 100
)

// Decoder turns frames into requests. It is immutable: one serves all connections.
type Decoder struct {
	frameBytesMax int32
	apis          []served // by key
}

type served struct {
	schema        *schema // nil: not served
	min, max      int16
	frameBytesMax int32
}

// NewDecoder makes a decoder for the APIs of a handler. Every frame, whatever its API, holds at most
// frameBytesMax.
func NewDecoder(apis []API, frameBytesMax int32) (*Decoder, error) {
	if frameBytesMax < requestHeaderBytesMin {
		return nil, fmt.Errorf("%w: the limit must be at least %d, got %d", ErrFrameSize, requestHeaderBytesMin, frameBytesMax)
	}
	d := &Decoder{frameBytesMax: frameBytesMax}
	for _, a := range apis {
		s := schemas[a.Key]
		if s == nil || a.Key < 0 || a.Key >= apiKeysMax {
			return nil, fmt.Errorf("%w: key %d (%s) has no schema", ErrUnknownAPI, a.Key, kmsg.NameForKey(a.Key))
		}
		if codecMax := kmsg.RequestForKey(a.Key).MaxVersion(); a.Min < 0 || a.Min > a.Max || a.Max > codecMax {
			return nil, fmt.Errorf("%w: %s %d to %d, the codec knows 0 to %d",
				ErrUnsupportedVersion, kmsg.NameForKey(a.Key), a.Min, a.Max, codecMax)
		}
		for len(d.apis) <= int(a.Key) {
			d.apis = append(d.apis, served{})
		}
		limit := a.FrameBytesMax
		if limit <= 0 {
			limit = DefaultFrameBytesMax(a.Key)
		}
		d.apis[a.Key] = served{schema: s, min: a.Min, max: a.Max, frameBytesMax: min(limit, frameBytesMax)}
	}
	return d, nil
}

func (d *Decoder) served(key int16) (*served, error) {
	if key < 0 || int(key) >= len(d.apis) || d.apis[key].schema == nil {
		return nil, fmt.Errorf("%w: key %d (%s)", ErrUnknownAPI, key, kmsg.NameForKey(key))
	}
	return &d.apis[key], nil
}

// CheckSize looks at the first SizeBytes of a frame and returns how many bytes follow them.
func (d *Decoder) CheckSize(head []byte) (int, error) {
	size := int32(binary.BigEndian.Uint32(head))
	if size >= requestHeaderBytesMin && size <= d.frameBytesMax {
		return int(size), nil
	}
	return 0, fmt.Errorf("%w: got %d, want %d to %d%s", ErrFrameSize, size, requestHeaderBytesMin, d.frameBytesMax, hint(head))
}

// hint says what else a client may have sent, for the most common mistakes.
func hint(head []byte) string {
	switch {
	case string(head[:3]) == "GET" || string(head[:4]) == "POST" || string(head[:4]) == "HEAD":
		return " (this looks like HTTP)"
	case head[0] == 0x16 && head[1] == 0x03:
		return " (this looks like TLS)"
	}
	return ""
}

// CheckHead looks at the first HeadBytes of a frame and returns how many bytes follow the size, after
// checking them against the limit of the frame's API. Nothing needs to be allocated for the frame before.
func (d *Decoder) CheckHead(head []byte) (int, error) {
	size, err := d.CheckSize(head)
	if err != nil {
		return 0, err
	}
	key := int16(binary.BigEndian.Uint16(head[SizeBytes:]))
	a, err := d.served(key)
	if err != nil {
		return 0, err
	}
	if size > int(a.frameBytesMax) {
		return 0, fmt.Errorf("%w: %s holds at most %d, got %d", ErrFrameSize, kmsg.NameForKey(key), a.frameBytesMax, size)
	}
	return size, nil
}

// Header reads the request header from a frame (without its size) into r, whose Session is set already,
// and checks the shape of the body. It returns the body, to be handed to Body, and how much memory decoding
// it takes at most in addition to the frame.
func (d *Decoder) Header(frame []byte, r *Request) (body []byte, decodedBytes int64, err error) {
	if len(frame) < requestHeaderBytesMin {
		return nil, 0, fmt.Errorf("%w: a frame of %d bytes", ErrMalformed, len(frame))
	}
	r.Key = int16(binary.BigEndian.Uint16(frame))
	r.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	r.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	a, err := d.served(r.Key)
	if err != nil {
		return nil, 0, err
	}
	w := walker{rest: frame[8:]}
	n, _ := w.length(2)
	if n > len(w.rest) {
		return nil, 0, fmt.Errorf("%w: client id of %d bytes, %d left", ErrMalformed, n, len(w.rest))
	}
	r.ClientID = r.Session.internClientID(w.rest[:max(n, 0)])
	w.rest = w.rest[max(n, 0):]

	if r.Version < a.min || r.Version > a.max {
		if r.Key == keyApiVersions {
			r.Unsupported = true
			return nil, 0, nil
		}
		return nil, 0, fmt.Errorf("%w: %s version %d, want %d to %d",
			ErrUnsupportedVersion, kmsg.NameForKey(r.Key), r.Version, a.min, a.max)
	}
	if r.Version >= a.schema.flexible && !w.tags(nil) {
		return nil, 0, fmt.Errorf("%w: tags of the request header", ErrMalformed)
	}
	// Bytes after the body are ignored, as Kafka does.
	elements, bytes, rest, ok := a.schema.walk(w.rest, r.Version)
	if !ok {
		return nil, 0, fmt.Errorf("%w: %s version %d: body of %d bytes, wrong or too long (%d elements of at most %d) %d bytes before its end",
			ErrMalformed, kmsg.NameForKey(r.Key), r.Version, len(w.rest), elements, elementsMax, rest)
	}
	return w.rest[:len(w.rest)-rest], int64(elements)*elementBytes + int64(bytes), nil
}

// Body decodes what Header returned into r.Body. Its byte slices alias the frame.
func (d *Decoder) Body(body []byte, r *Request) error {
	if r.Unsupported {
		return nil
	}
	b := kmsg.RequestForKey(r.Key)
	b.SetVersion(r.Version)
	if err := b.ReadFrom(body); err != nil {
		return fmt.Errorf("%w: %s version %d: %w", ErrMalformed, kmsg.NameForKey(r.Key), r.Version, err)
	}
	r.Body = b
	return nil
}

// Decode is Header and Body in one, for those who have no memory to account for.
func (d *Decoder) Decode(frame []byte, r *Request) error {
	body, _, err := d.Header(frame, r)
	if err != nil {
		return err
	}
	return d.Body(body, r)
}

// internClientID saves a copy for each request: a client sends the same id every time.
func (s *Session) internClientID(id []byte) string {
	if s == nil {
		return string(id)
	}
	if s.clientID != string(id) {
		s.clientID = string(id)
	}
	return s.clientID
}
