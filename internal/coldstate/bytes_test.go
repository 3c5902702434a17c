package coldstate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// verifyBytes compares the entries under keys of bytes: whole, one by one, by prefix, and with a seek past a prefix.
func (m *model) verifyBytes(s *Store, p uint64) error {
	want := m.bytes[p]
	keys := slices.Sorted(maps.Keys(want))
	for key, val := range want {
		if got, found, err := s.GetBytes(p, []byte(key), []byte("dst")); err != nil || !found || string(got) != "dst"+val {
			return errors.Join(fmt.Errorf("GetBytes(%q) = %q %v, want %q", key, got, found, val), err)
		}
	}
	for _, prefix := range []string{"", "\x00", "a", "ab", "\xfe", "\xff", "\xff\xff", "none"} {
		var under []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) {
				under = append(under, k)
			}
		}
		for _, limit := range []int{1, 2, 100} {
			if got, err := scanned(s, p, prefix, limit, want); err != nil || !slices.Equal(got, under) {
				return errors.Join(fmt.Errorf("prefix %q by %d: %q, want %q", prefix, limit, got, under), err)
			}
		}
	}
	var firsts, got []string // one key of each first byte
	for _, k := range keys {
		if k != "" && (len(firsts) == 0 || firsts[len(firsts)-1][0] != k[0]) {
			firsts = append(firsts, k)
		}
	}
	_, _, err := s.ScanBytes(p, nil, []byte{0}, 100, func(key, _ []byte) ([]byte, error) {
		got = append(got, string(key))
		if after := AfterPrefix(key[:1]); after != nil {
			return after, nil
		}
		return bytes.Repeat([]byte{0xff}, 4), nil
	})
	if err != nil || !slices.Equal(got, firsts) {
		return errors.Join(fmt.Errorf("with seeks: %q, want %q", got, firsts), err)
	}
	return nil
}

func scanned(s *Store, p uint64, prefix string, limit int, want map[string]string) (keys []string, err error) {
	var from []byte
	for more := true; more && err == nil; {
		from, more, err = s.ScanBytes(p, []byte(prefix), from, limit, func(key, val []byte) ([]byte, error) {
			if string(val) != want[string(key)] {
				return nil, fmt.Errorf("key %q has %q, want %q", key, val, want[string(key)])
			}
			keys = append(keys, string(key))
			return nil, nil
		})
	}
	return keys, err
}

func TestAfterPrefix(t *testing.T) {
	for _, x := range [][2]string{{"", ""}, {"a", "b"}, {"a\xff", "b"}, {"\xff\xff", ""}, {"\x00", "\x01"}, {"a\xfe\xff", "a\xff"}} {
		if got := AfterPrefix([]byte(x[0])); string(got) != x[1] || (got == nil) != (x[1] == "") {
			t.Errorf("after %q comes %q, want %q", x[0], got, x[1])
		}
	}
}
