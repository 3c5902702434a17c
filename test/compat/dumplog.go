package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// dumpLog lets kafka-dump-log read the files of the data directory: every record of some topics, the codec that was
// asked for, and that every index fits its segment.
func (s *suite) dumpLog(ctx context.Context) {
	if s.broker.data == "" {
		s.check(ctx, "kafka-dump-log", func(context.Context) error { return fmt.Errorf("%w: DATA_DIR unknown", errSkip) })
		return
	}
	for _, c := range []struct{ topic, codec string }{
		{"matrix-java-none", "none"}, {"matrix-java-gzip", "gzip"}, {"matrix-franz-go-snappy", "snappy"}, {"matrix-java-lz4", "lz4"},
		{"matrix-kcat-zstd", "zstd"}, {"broker-uncompressed", "none"}, {"broker-gzip", "gzip"}, {"broker-snappy", "snappy"},
		{"broker-lz4", "lz4"}, {"broker-zstd", "zstd"}, {"broker-logappendtime-zstd", "zstd"},
	} {
		s.check(ctx, "kafka-dump-log --print-data-log "+c.topic, func(ctx context.Context) error { return s.dumpRecords(ctx, c.topic, c.codec) })
	}
	s.check(ctx, "kafka-dump-log --print-data-log crash-java", func(ctx context.Context) error { return s.dumpStream(ctx, "crash-java") })
	if s.broker.command == nil {
		return // the indexes of a running broker are longer than what they hold
	}
	s.check(ctx, "the log of perf has rolled", func(context.Context) error {
		files, err := s.files("perf", ".log")
		if err == nil && len(files) < 3*partitions {
			err = fmt.Errorf("%d segments of 1 MiB in %d partitions for 20 MB", len(files), partitions)
		}
		return err
	})
	for _, flag := range []string{"--index-sanity-check", "--verify-index-only"} {
		s.check(ctx, "kafka-dump-log "+flag+", every index", func(ctx context.Context) error { return s.verifyIndexes(ctx, flag) })
	}
}

// files are the data files of a topic ("" is all), by extension.
func (s *suite) files(topic string, extensions ...string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(s.broker.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dir := filepath.Base(filepath.Dir(path))
		at := strings.LastIndexByte(dir, '-')
		ours := at > 0 && !strings.HasPrefix(dir, "__") && !strings.HasSuffix(dir, "-delete")
		if !ours || topic != "" && dir[:at] != topic {
			return nil
		}
		for _, e := range extensions {
			if regexp.MustCompile(`^\d{20}` + regexp.QuoteMeta(e) + `$`).MatchString(d.Name()) {
				out = append(out, path)
			}
		}
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no %v of topic %q under %s", extensions, topic, s.broker.data)
	}
	return out, err
}

func (s *suite) dump(ctx context.Context, args ...string) (string, error) {
	r, err := s.jvm.tool(ctx, kafkaDumpLog, args...)
	if err != nil {
		return "", err
	}
	return r.Stdout, s.judge(r, args[:len(args)-1], 0, `!(?i)exception`, `!(?i)corrupt`, `!Found timestamp mismatch`, `!isvalid: false`, `!invalid bytes`)
}

func (s *suite) dumpRecords(ctx context.Context, topic, codec string) error {
	files, err := s.files(topic, ".log")
	if err != nil {
		return err
	}
	out, err := s.dump(ctx, "--print-data-log", "--files", strings.Join(files, ","))
	if err != nil {
		return err
	}
	const wantRecords = partitions * 93
	if got := len(regexp.MustCompile(`(?m)^\| offset: \d+ `).FindAllString(out, -1)); got != wantRecords {
		return fmt.Errorf("%d records, expected %d", got, wantRecords)
	}
	batches := regexp.MustCompile(`(?m)^baseOffset: .* compresscodec: (\S+) .*isvalid: true`).FindAllStringSubmatch(out, -1)
	if len(batches) == 0 {
		return fmt.Errorf("no batches in %.500s", out)
	}
	asked := 0
	for _, b := range batches {
		if b[1] == codec {
			asked++
		} else if b[1] != "none" || strings.HasPrefix(topic, "broker-") { // clients leave be what does not shrink
			return fmt.Errorf("codec %s, expected %s: %s", b[1], codec, b[0])
		}
	}
	if asked == 0 {
		return fmt.Errorf("no batch has codec %s", codec)
	}
	return nil
}

// dumpStream counts the records of the crash test in the files themselves.
func (s *suite) dumpStream(ctx context.Context, topic string) error {
	if s.broker.command == nil {
		return fmt.Errorf("%w: no crash test", errSkip)
	}
	files, err := s.files(topic, ".log")
	if err != nil {
		return err
	}
	out, err := s.dump(ctx, "--print-data-log", "--files", strings.Join(files, ","))
	if err != nil {
		return err
	}
	seen := make([]int, streamRecords)
	for _, m := range regexp.MustCompile(`(?m)^\| offset: .* payload: (\d+)$`).FindAllStringSubmatch(out, -1) {
		if i, err := strconv.Atoi(m[1]); err == nil && i < len(seen) {
			seen[i]++
		}
	}
	for i, n := range seen {
		if n != 1 {
			return fmt.Errorf("record %d is there %d times", i, n)
		}
	}
	return nil
}

func (s *suite) verifyIndexes(ctx context.Context, flag string) error {
	files, err := s.files("", ".index", ".timeindex")
	if err != nil {
		return err
	}
	out, err := s.dump(ctx, flag, "--files", strings.Join(files, ","))
	if err != nil {
		return err
	}
	for _, bad := range []string{"Mismatches in", "Index timestamp", "Found out of order", "The index offset"} {
		if at := strings.Index(out, bad); at >= 0 {
			return fmt.Errorf("printed %.600s", out[at:])
		}
	}
	if flag == "--index-sanity-check" {
		if got := strings.Count(out, "passed sanity check") + strings.Count(out, "is empty"); got != len(files) {
			return fmt.Errorf("%d of %d files pass: %.800s", got, len(files), out)
		}
	}
	return nil
}
