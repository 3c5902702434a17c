package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// filled puts something into every field, so that one that is not decoded shows.
func filled(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), depth+1)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 3, 14, 10, 0, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), depth+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		filled(v.Index(0), depth+1)
		filled(v.Index(1), depth+2)
	case reflect.Array:
		for i := range v.Len() {
			filled(v.Index(i), depth+i)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, depth+1)
		filled(value, depth+2)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(strings.Repeat("a,\"", 1+depth%3))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(depth) + 0.5)
	default:
		v.SetInt(int64(depth + 1))
	}
}

// A scan comes back as it was recorded, whichever part of it there is.
func TestDecodeEverything(t *testing.T) {
	want := &Scan{}
	filled(reflect.ValueOf(want).Elem(), 0)
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(bytes.NewReader(b))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	later := append([]byte(`{"new":{"deep":[1,{"a":[]},"x"],"b":null},"newer":7,`), b[1:]...)
	if got, err := Decode(bytes.NewReader(later)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with names of a later version: %v, %+v", err, got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``: io.EOF.Error(), ` `: io.EOF.Error(), `{`: io.ErrUnexpectedEOF.Error(), `{"tails":[`: io.ErrUnexpectedEOF.Error(), `{"tails":[{"topic":"a"`: io.ErrUnexpectedEOF.Error(),
		`{"new":[`: io.ErrUnexpectedEOF.Error(), `{"tails":{}}`: "in the place of a list", `{"tails":[0]}`: "cannot unmarshal", `[]`: "does not begin", `7`: "does not begin", `{"schema":"x"}`: "cannot unmarshal", `{]`: "invalid",
	} {
		if s, err := Decode(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %s", text, s, err, want)
		}
	}
	if s, err := Decode(strings.NewReader(`{"tails":null,"sources":[],"schema":1}`)); err != nil || s.Tails != nil || s.Sources == nil || s.Schema != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// endless is a beginning, then the same for as long as a recorded scan may be.
type endless struct {
	begin, again string
	read         int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read >= RecordedScanBytesMax {
		return 0, io.EOF
	}
	for i := range p {
		if at := e.read + i; at < len(e.begin) {
			p[i] = e.begin[at]
		} else {
			p[i] = e.again[(at-len(e.begin))%len(e.again)]
		}
	}
	e.read += len(p)
	return len(p), nil
}

// What is small in a file and large in memory is not read to its end.
func TestDecodeEndsEarly(t *testing.T) {
	const little = 24 << 20 // bytes: more than one value may have, and a twelfth of what a file may
	for name, e := range map[string]*endless{
		"empty tails":          {begin: `{"tails":[{}`, again: `,{}`},
		"null partitions":      {begin: `{"partitions":[null`, again: `,null`},
		"empty names":          {begin: `{"bootstrap":[""`, again: `,""`},
		"producers of a tail":  {begin: `{"tails":[{"producers":[{}`, again: `,{}`},
		"producers of tails":   {begin: `{"tails":[{}`, again: `,{"producers":[` + strings.Repeat(`{},`, 999) + `{}]}`},
		"replicas":             {begin: `{"partitions":[{"replicas":[1`, again: `,1`},
		"replicas of many":     {begin: `{"partitions":[{}`, again: `,{"replicas":[` + strings.Repeat("1,", 999) + `1]}`},
		"known transactions":   {begin: `{"transactions":{"known":[{}`, again: `,{}`},
		"rules":                {begin: `{"acls":{"acls":[{}`, again: `,{}`},
		"a long name":          {begin: `{"tool":"`, again: `a`},
		"a long name of a key": {begin: `{"`, again: `a`},
		"a name not known":     {begin: `{"new":["`, again: `a`},
		"lists in lists":       {begin: `{"acls":`, again: `[`},
		"errors of sources":    {begin: `{"sources":[{"errors":[""`, again: `,""`},
		"metrics":              {begin: `{"metrics":[{}`, again: `,{"values":{"a":1}}`},
	} {
		s, err := Decode(e)
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || e.read > little {
			t.Errorf("%s: read %d bytes: %v, %v", name, e.read, s != nil, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	s := &Scan{}
	filled(reflect.ValueOf(s).Elem(), 0)
	b, _ := json.Marshal(s)
	f.Add(b)
	f.Add([]byte(`{"schema":1,"sources":[],"tails":[{"producers":[{}]},null],"x":[[],{}]}`))
	f.Add([]byte(`{"topics":[{"configs":{"a":{"value":"b"}}}],"topics":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := json.Marshal(got)
		if err != nil {
			return // a time out of JSON's range
		}
		second, err := Decode(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("what was decoded is not decoded again: %v", err)
		}
		if b, _ := json.Marshal(second); !bytes.Equal(b, again) {
			t.Errorf("%s\n%s", again, b)
		}
	})
}
