package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// subject is whom a check is about: group is the section of the report card.
type subject struct {
	Group   string `json:"group"`
	Client  string `json:"client"`
	Version string `json:"version"`
	Area    string `json:"area,omitempty"` // what many similar checks are about, for the report card
}

// result is a line of the results file, which report/ makes the report card of.
type result struct {
	subject
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Skip bool   `json:"skip,omitempty"` // neither passed nor failed: Why says why
	Why  string `json:"why"`
}

const whyBytesMax = 1000

type subjectKey struct{}

// about makes the checks under ctx count for whom they are about.
func about(ctx context.Context, who subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, who)
}

func subjectOf(ctx context.Context) subject {
	if who, ok := ctx.Value(subjectKey{}).(subject); ok {
		return who
	}
	return subject{Group: "broker", Client: "suite"}
}

// recorder appends results to a file; other programs append to it too.
type recorder struct {
	mu   sync.Mutex
	file *os.File // nil: nobody wants them
}

func openRecorder(name string) (*recorder, error) {
	if name == "" {
		return &recorder{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &recorder{file: f}, err
}

func (r *recorder) add(res result) {
	if r.file == nil {
		return
	}
	res.Why = res.Why[:min(len(res.Why), whyBytesMax)]
	line, err := json.Marshal(res)
	if err == nil {
		r.mu.Lock()
		_, err = r.file.Write(append(line, '\n'))
		r.mu.Unlock()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat: results:", err)
	}
}
