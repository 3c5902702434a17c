package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
)

// ErrResponseTooLarge is an answer that no frame can hold.
var ErrResponseTooLarge = errors.New("wire: response too large")

// AppendResponse appends the frame of an answer: size, correlation id, tags, body.
func AppendResponse(dst []byte, correlationID int32, r Response) ([]byte, error) {
	start := len(dst)
	dst = appendResponseHeader(dst, correlationID, r)
	dst = r.AppendTo(dst)
	size := len(dst) - start - SizeBytes
	if size > math.MaxInt32 {
		return dst[:start], fmt.Errorf("%w: %d bytes", ErrResponseTooLarge, size)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	return dst, nil
}

// AppendSegmented appends to dst what comes before the body in the frame of an answer, and returns the
// body as buffers, appended to segments: together they are what AppendResponse appends.
func AppendSegmented(dst []byte, segments net.Buffers, correlationID int32, r SegmentedResponse) ([]byte, net.Buffers, error) {
	start, first := len(dst), len(segments)
	dst = appendResponseHeader(dst, correlationID, r)
	segments = r.AppendBuffers(segments)
	size := len(dst) - start - SizeBytes
	for _, s := range segments[first:] {
		size += len(s)
	}
	if size > math.MaxInt32 {
		return dst[:start], segments[:first], fmt.Errorf("%w: %d bytes", ErrResponseTooLarge, size)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	return dst, segments, nil
}

// appendResponseHeader leaves the size open. Flexible answers have a tag section in their header, but for
// ApiVersions, whose client does not yet know what the broker speaks.
func appendResponseHeader(dst []byte, correlationID int32, r Response) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if r.IsFlexible() && r.Key() != keyApiVersions {
		dst = append(dst, 0)
	}
	return dst
}
