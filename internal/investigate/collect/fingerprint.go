package collect

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ottla/internal/batch"
	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// Limits of fingerprints.
const (
	fingerprintTopics = 5
	// fingerprintBytes is what is fetched to find one whole batch in, fingerprintUnfolded what that may decompress to: a batch made to
	// be a bomb is refused.
	fingerprintBytes    = 32 << 10
	fingerprintUnfolded = 4 << 20
	fingerprintRecords  = 1_000
	headerKeyBytes      = 64
	sampleBytes         = 80
	jsonShapeBytes      = 64 << 10 // larger values are not looked into
)

var sourceFingerprint = source{
	name:        evidence.SourceFingerprint,
	what:        "one batch of each topic under suspicion: header keys, shape of keys and values, schema id; no values",
	permissions: permissionRead,
	run:         runFingerprint,
	most:        func(*step) (int64, int64) { return fingerprintTopics * 2, fingerprintTopics * 2 * wholeBatch },
}

func runFingerprint(ctx context.Context, s *step) error {
	for _, topic := range diagnose.SuspectTopics(s.scan, fingerprintTopics) {
		found := false
		tries := 0
		for _, w := range s.fingerprintPlaces(topic) {
			if tries++; found || tries > 2 {
				break
			}
			s.fetch(ctx, w.part.Leader, []stretch{w}, func(f fetched) {
				fp, err := fingerprintOf(f.records, s.o.ShowIDs)
				if err != nil {
					s.trouble(partitionError(f.part, err), "")
					return
				}
				found = true
				fp.Topic, fp.Partition = topic, f.part.Index
				s.write(func(scan *evidence.Scan) { scan.Fingerprints = append(scan.Fingerprints, *fp) })
			})
		}
	}
	return nil
}

// fingerprintPlaces are stretches of the topic in which tails saw newborn producers, the most of them first.
func (s *step) fingerprintPlaces(topic string) []stretch {
	type place struct {
		stretch
		newborn int
	}
	var places []place
	parts := map[int32]*evidence.Partition{}
	for i := range s.scan.Partitions {
		if p := &s.scan.Partitions[i]; p.Topic == topic && p.Leader >= 0 {
			parts[p.Index] = p
		}
	}
	for i := range s.scan.Tails {
		t := &s.scan.Tails[i]
		p := parts[t.Partition]
		if t.Topic != topic || p == nil || t.Batches == 0 {
			continue
		}
		n := int(t.NewbornLeftOut)
		for _, pr := range t.Producers {
			if pr.Born {
				n++
			}
		}
		places = append(places, place{stretch{p, t.From, fingerprintBytes}, n})
	}
	slices.SortStableFunc(places, func(a, b place) int { return b.newborn - a.newborn })
	out := make([]stretch, len(places))
	for i := range places {
		out[i] = places[i].stretch
	}
	return out
}

// fingerprintOf opens one batch: the first of a newborn producer that is whole, else the first of any idempotent one.
func fingerprintOf(records []byte, samples bool) (*evidence.Fingerprint, error) {
	var chosen []byte
	rest := records
	for len(rest) > 0 {
		b, err := batch.ParseTrusted(rest)
		if err != nil {
			break
		}
		h := b.Header()
		if !h.Control() && h.HasProducer() && h.RecordCount > 0 && (chosen == nil || newborn(h)) {
			chosen = b.Bytes()
			if newborn(h) {
				break
			}
		}
		rest = rest[b.Size():]
	}
	if chosen == nil {
		return nil, errors.New("no whole batch of an idempotent producer in what was fetched")
	}
	if _, err := batch.Parse(chosen); err != nil {
		return nil, err
	}
	plainBatch, err := unfold(chosen)
	if err != nil {
		return nil, err
	}
	h, _ := batch.DecodeHeader(chosen)
	fp := &evidence.Fingerprint{Offset: h.BaseOffset, PID: h.ProducerID, Records: h.RecordCount, Codec: batch.CodecName(h.Codec())}
	l := looker{fp: fp, samples: samples, keys: map[string]int{}, values: map[string]int{}}
	if err := plainBatch.Records(l.look); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	fp.KeyShape, fp.ValueShape = commonest(l.keys), commonest(l.values)
	return fp, nil
}

// unfold makes the same batch without compression, within fingerprintUnfolded bytes.
func unfold(b []byte) (batch.Batch, error) {
	h, err := batch.DecodeHeader(b)
	if err != nil {
		return batch.Batch{}, err
	}
	out := slices.Clone(b[:batch.HeaderSize])
	if out, err = batch.Decompress(h.Codec(), out, b[batch.HeaderSize:], fingerprintUnfolded); err != nil {
		return batch.Batch{}, err
	}
	const lengthAt, attributesAt = 8, 21
	binary.BigEndian.PutUint32(out[lengthAt:], uint32(len(out)-batch.LengthPrefixSize))
	binary.BigEndian.PutUint16(out[attributesAt:], uint16(h.Attributes&^batch.AttributeCodecMask))
	return batch.ParseTrusted(out)
}

var errEnough = errors.New("enough records")

// looker looks at records and keeps no more of them than their shape.
type looker struct {
	fp           *evidence.Fingerprint
	samples      bool
	keys, values map[string]int
	seen         int
}

func (l *looker) look(r batch.Record) error {
	if l.seen++; l.seen > fingerprintRecords {
		return errEnough
	}
	l.keys[shape(r.Key)]++
	l.values[shape(r.Value)]++
	for _, b := range [][]byte{r.Value, r.Key} {
		if id := schemaID(b); id > 0 && l.fp.SchemaID == 0 {
			l.fp.SchemaID = id
		}
	}
	for _, h := range r.Headers {
		key := printable([]byte(h.Key), headerKeyBytes)
		if l.fp.HeaderKeys == nil {
			l.fp.HeaderKeys = map[string]int64{}
		}
		if _, has := l.fp.HeaderKeys[key]; !has && len(l.fp.HeaderKeys) >= evidence.FingerprintKeysMax {
			continue
		}
		l.fp.HeaderKeys[key]++
		if !l.samples {
			continue
		}
		if l.fp.Samples == nil {
			l.fp.Samples = map[string]string{}
		}
		if _, has := l.fp.Samples[key]; !has {
			l.fp.Samples[key] = printable(h.Value, sampleBytes)
		}
	}
	return nil
}

func commonest(counts map[string]int) string {
	best := ""
	for name, n := range counts {
		if best == "" || n > counts[best] || n == counts[best] && name < best {
			best = name
		}
	}
	return best
}

var uuidText = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// shape says what kind of bytes these are, one of the words of evidence.Fingerprint.
func shape(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) == 0:
		return "empty"
	case schemaID(b) > 0:
		return "schema"
	case uuidText.Match(b):
		return "uuid"
	case integerText(b):
		return "integer"
	case (b[0] == '{' || b[0] == '[') && len(b) <= jsonShapeBytes && json.Valid(b):
		return "json"
	case utf8.Valid(b) && !slices.ContainsFunc([]rune(string(b[:min(len(b), 1024)])), func(r rune) bool {
		return !unicode.IsPrint(r) && !unicode.IsSpace(r) && r != utf8.RuneError
	}):
		return "text"
	}
	return "binary"
}

func integerText(b []byte) bool {
	digits := b
	if b[0] == '-' {
		digits = b[1:]
	}
	return len(digits) > 0 && len(digits) <= 20 && !slices.ContainsFunc(digits, func(c byte) bool { return c < '0' || c > '9' })
}

// schemaID is the id in the wire format of schema registries: a zero, then the id, then the data. A number of eight bytes
// looks much the same, so those are none.
func schemaID(b []byte) int32 {
	const idMax = 1 << 24 // registries count up from 1
	if len(b) < 6 || len(b) == 8 || b[0] != 0 {
		return 0
	}
	if id := int32(binary.BigEndian.Uint32(b[1:])); id > 0 && id < idMax {
		return id
	}
	return 0
}

// printable is the beginning of some bytes as text that cannot harm a terminal.
func printable(b []byte, most int) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), most)]), "?"))
	if len(b) > most {
		text += fmt.Sprintf("... (%d bytes)", len(b))
	}
	return text
}
