package phrase

import (
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64 // 0: refused
	}{
		{"6g", 6 << 30}, {"6G", 6 << 30}, {"512m", 512 << 20}, {"1048576", 1 << 20}, {"64MiB", 64 << 20}, {"64mb", 64 << 20}, {"3 GiB", 3 << 30},
		{" 1k ", 1 << 10}, {"1t", 1 << 40}, {"1024t", 1 << 50}, {" 7B ", 7}, {"64k", 64 << 10},
		{"", 0}, {"g", 0}, {"0", 0}, {"-1g", 0}, {"1.5g", 0}, {"1e3", 0}, {"6gg", 0}, {"6i", 0}, {"1025t", 0}, {"9223372036854775807", 0}, {"99999999999999999999", 0}, {"6x", 0}, {"0x10", 0}, {"i", 0}, {"b", 0}, {"9999999t", 0},
	} {
		got, err := ParseSize(c.text)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%q: %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestParseHeap(t *testing.T) {
	for text, hint := range map[string]string{"6": "6g?", "6m": "6g?", "6 MiB": "6g?", "100k": "100g?"} {
		if _, err := ParseHeap(text); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"16m", "6g", "6442450944"} {
		if n, err := ParseHeap(text); err != nil || n < 16<<20 {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	if _, err := ParseHeap("six"); err == nil {
		t.Error("six is a heap")
	}
}
