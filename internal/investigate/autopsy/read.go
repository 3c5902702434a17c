package autopsy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"ottla/internal/batch"
)

// Limits of reading, in bytes unless said.
const (
	headBytes       = 64 << 10 // looked at to recognise a file
	spoolBytesMax   = 64 << 20 // of an input that cannot be read twice: a pipe, standard input
	segmentBudget   = 64 << 20 // of headers and what lies between, of one partition
	segmentsBudget  = 8 << 30  // of all partitions together
	snapshotsBudget = 8 << 30
	metadataBudget  = 2 << 30
)

// Options of Read.
type Options struct {
	Tool  string
	Now   time.Time
	Given Given
	Stdin io.Reader // what "-" stands for
	// Progress, if set, is called now and then while a large file is read: which pass over it, and how far it is in bytes.
	Progress func(path, pass string, done, of int64)
}

// Read looks at files and directories and returns what they say. It fails only if none of them can be found or ctx ends;
// files that cannot be read or make no sense are Problems.
func Read(ctx context.Context, paths []string, o Options) (*Evidence, error) {
	r := &reader{ctx: ctx, o: o, dirs: map[string]*partitionFiles{}, out: &Evidence{Schema: SchemaVersion, Tool: o.Tool, At: o.Now.UTC(), Given: o.Given}}
	for _, path := range paths {
		if err := r.argument(path); err != nil {
			return nil, err
		}
	}
	if err := r.partitions(); err != nil {
		return nil, err
	}
	r.finish()
	return r.out, nil
}

// file is one file that is being looked at.
type file struct {
	path string
	size int64
	mod  time.Time
	gzip bool
	kind Kind
	data []byte // of a pipe; nil for a file
}

// open returns the content, decompressed, from its beginning.
func (f *file) open() (io.ReadCloser, error) {
	if f.data != nil {
		return unzip(io.NopCloser(bytes.NewReader(f.data)), f.gzip)
	}
	h, err := openRegular(f.path)
	if err != nil {
		return nil, err
	}
	return unzip(h, f.gzip)
}

// openRegular refuses what is no file: opening a named pipe waits for a writer, and a device may have no end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return os.Open(path)
}

type zipped struct {
	*gzip.Reader
	under io.Closer
}

func (z zipped) Close() error { return errors.Join(z.Reader.Close(), z.under.Close()) }

func unzip(r io.ReadCloser, packed bool) (io.ReadCloser, error) {
	if !packed {
		return r, nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 256<<10))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return zipped{z, r}, nil
}

type reader struct {
	ctx       context.Context
	o         Options
	out       *Evidence
	dirs      map[string]*partitionFiles
	dirNames  []string // in the order they were met
	looked    int64
	segments  int64 // bytes read so far
	snapshots int64
	metadata  int64
	points    int64    // kept of all text logs
	once      distinct // producers that wrote one batch, of all partitions
}

// partitionFiles are the files of one directory that belong to a partition, gathered before they are read.
type partitionFiles struct {
	snapshots, segments []*file
}

func (r *reader) problem(path, format string, args ...any) {
	if len(r.out.Problems) >= ProblemsMax {
		r.out.ProblemsLeftOut++
		return
	}
	r.out.Problems = append(r.out.Problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// unread is a problem that leaves nothing of a file.
func (r *reader) unread(path string, err error) {
	var at *fs.PathError
	switch {
	case errors.As(err, &at):
		err = at.Err // the path stands before it
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the compressed file is cut")
	}
	before := len(r.out.Problems)
	r.problem(path, "%v", err)
	if len(r.out.Problems) > before {
		r.out.Problems[before].Unread = true
	}
}

func (r *reader) argument(path string) error {
	if path == "-" {
		return r.pipe("standard input", r.o.Stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return r.directory(path)
	}
	if !info.Mode().IsRegular() {
		h, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(r.pipe(path, h), h.Close())
	}
	f := &file{path: path, size: info.Size(), mod: info.ModTime().UTC()}
	if err := r.file(f, false); err != nil {
		return err
	}
	r.out.Inputs = append(r.out.Inputs, Input{Path: path, Kind: f.kind, Bytes: f.size, Gzip: f.gzip})
	return nil
}

// pipe reads an input that comes once, into memory.
func (r *reader) pipe(path string, in io.Reader) error {
	if in == nil {
		return fmt.Errorf("%s: no input", path)
	}
	data, err := io.ReadAll(io.LimitReader(in, spoolBytesMax+1))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(data) > spoolBytesMax {
		data = data[:spoolBytesMax]
		r.problem(path, "only the first %d MiB were read of an input that is no file", spoolBytesMax>>20)
	}
	f := &file{path: path, size: int64(len(data)), mod: r.o.Now.UTC(), data: append(make([]byte, 0, len(data)+1), data...)}
	if err := r.file(f, false); err != nil {
		return err
	}
	r.out.Inputs = append(r.out.Inputs, Input{Path: path, Kind: f.kind, Bytes: f.size, Gzip: f.gzip})
	return nil
}

// directory walks a tree. What of it belongs to partitions is gathered and read at the end.
func (r *reader) directory(root string) error {
	in := Input{Path: root, Kind: KindDirectory, Files: map[Kind]int64{}}
	root, err := filepath.EvalSymlinks(root) // a walk does not enter a link, not even its root
	if err != nil {
		return err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if err != nil {
			r.unread(path, err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return r.enter(path, root, &in)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if r.looked++; r.looked > InputsMax {
			r.out.InputsLeftOut++
			return nil
		}
		info, err := d.Info()
		if err != nil {
			r.unread(path, err)
			return nil
		}
		f := &file{path: path, size: info.Size(), mod: info.ModTime().UTC()}
		err = r.file(f, true)
		in.Files[f.kind]++
		in.Bytes += f.size
		return err
	})
	r.out.Inputs = append(r.out.Inputs, in)
	return err
}

// enter is told of each directory; the data directory of Ottla is known by its catalog.
func (r *reader) enter(path, root string, in *Input) error {
	head, err := readHead(&file{path: filepath.Join(path, "catalog.log")}, 8)
	if err == nil && string(head) == "OTTLACAT" {
		r.out.Ottla = append(r.out.Ottla, path)
		in.Files[KindOttla]++
		if path == root {
			in.Kind = KindOttla
		}
		return nil
	}
	head, err = readHead(&file{path: filepath.Join(path, "ottla-cold-format")}, 11)
	if err == nil && string(head) == "ottla-cold " {
		if !slices.Contains(r.out.Ottla, filepath.Dir(path)) {
			r.out.Ottla = append(r.out.Ottla, path)
		}
		in.Files[KindOttla]++
		return fs.SkipDir
	}
	return nil
}

func readHead(f *file, n int) ([]byte, error) {
	h, err := f.open()
	if err != nil {
		return nil, err
	}
	head := make([]byte, n)
	got, err := io.ReadFull(h, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:got], errors.Join(err, h.Close())
}

// accessory knows the files beside a log that are not needed, so that a walk over a large log directory does not open them.
var accessory = regexp.MustCompile(`(\.(index|timeindex|txnindex|lock|swap|cleaned|deleted|tmp|sst)|-checkpoint|partition\.metadata|meta\.properties|\.kafka_cleanshutdown|\.ottla-clean|quorum-state|bootstrap\.checkpoint|log-start-offset|catalog\.log)$`)

// file recognises a file and reads it, or puts it with its partition's others.
func (r *reader) file(f *file, walked bool) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	name := filepath.Base(f.path)
	if walked && accessory.MatchString(name) && !strings.HasSuffix(name, ".checkpoint") {
		f.kind = KindAccessory
		r.out.read++
		return nil
	}
	head, err := readHead(f, headBytes)
	if err == nil && len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b {
		f.gzip = true
		head, err = readHead(f, headBytes)
		if len(head) > 0 { // a damaged end is found while reading
			err = nil
		}
	}
	if err != nil {
		f.kind = KindUnreadable
		r.unread(f.path, err)
		return nil
	}
	f.kind = recognise(head, f)
	if len(head) == 0 && f.kind == KindUnknown {
		if !walked {
			r.unread(f.path, errors.New("it is empty"))
		}
		return nil
	}
	r.out.read++
	return r.recognised(f, head, walked)
}

func (r *reader) recognised(f *file, head []byte, walked bool) error {
	switch f.kind {
	case KindText:
		return r.text(f, walked)
	case KindDump:
		return r.dump(f)
	case KindMetadata:
		return r.metadataLog(f)
	case KindSnapshot:
		d := r.partitionOf(f)
		d.snapshots = append(d.snapshots, f)
	case KindSegment:
		d := r.partitionOf(f)
		d.segments = append(d.segments, f)
	case KindOttla:
		r.out.Ottla = append(r.out.Ottla, filepath.Dir(f.path))
	case KindUnknown:
		if !walked {
			r.problem(f.path, "not recognised: %s", describeHead(head))
		}
	}
	return nil
}

func describeHead(head []byte) string {
	return fmt.Sprintf("it begins with % x", head[:min(len(head), 16)])
}

func (r *reader) partitionOf(f *file) *partitionFiles {
	dir := filepath.Dir(f.path)
	d := r.dirs[dir]
	if d == nil {
		d = &partitionFiles{}
		r.dirs[dir] = d
		r.dirNames = append(r.dirNames, dir)
	}
	return d
}

// recognise tells what a file is from its beginning, already decompressed. Names count only where content is empty or
// ambiguous.
func recognise(head []byte, f *file) Kind {
	name := filepath.Base(f.path)
	switch {
	case len(head) == 0 && segmentName.MatchString(name):
		return KindSegment
	case bytes.HasPrefix(head, []byte("JAVA PROFILE 1.0")):
		return KindDump
	case bytes.HasPrefix(head, []byte("OTTLACAT")):
		return KindOttla
	case isSnapshot(head, f):
		return KindSnapshot
	}
	if h, err := batch.DecodeHeader(head); err == nil && h.Size() < 1<<31 {
		if strings.HasPrefix(filepath.Base(filepath.Dir(f.path)), "__cluster_metadata-") || isMetadataLog(head) {
			return KindMetadata
		}
		return KindSegment
	} else if errors.Is(err, batch.ErrOldMagic) && segmentName.MatchString(name) {
		return KindSegment
	}
	if isText(head) {
		return KindText
	}
	return KindUnknown
}

var (
	segmentName  = regexp.MustCompile(`^(\d{20})\.log(\.gz)?$`)
	snapshotName = regexp.MustCompile(`^(\d{20})\.snapshot(\.gz)?$`)
	// A partition's directory, also one that is being deleted, moved or was found without a topic.
	partitionName = regexp.MustCompile(`^(.+)-(\d{1,10})(\.[0-9a-f]{32}-(delete|future|stray))?$`)
)

func isSnapshot(head []byte, f *file) bool {
	if len(head) < snapshotHeader || head[0] != 0 || head[1] != snapshotVersion {
		return false
	}
	if snapshotName.MatchString(filepath.Base(f.path)) {
		return true
	}
	count := int64(head[6])<<24 | int64(head[7])<<16 | int64(head[8])<<8 | int64(head[9])
	entries, ok := snapshotEntries(f.size)
	if f.gzip {
		return count < 1<<31
	}
	return ok && entries == count
}

// isText accepts what has line feeds and hardly any control characters; UTF-16 is what a redirection in PowerShell makes.
func isText(head []byte) bool {
	if bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}) {
		return true
	}
	control := 0
	for _, c := range head {
		if c == 0 {
			return false
		}
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != 0x1b {
			control++
		}
	}
	return len(head) > 0 && control*100 <= len(head)
}

// partitionFromDir reads topic and partition from a directory's name; topic is empty if it is none of a partition.
func partitionFromDir(dir string) (topic string, partition int32) {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	m := partitionName.FindStringSubmatch(filepath.Base(dir))
	if m == nil {
		return "", 0
	}
	n, err := strconv.ParseInt(m[2], 10, 32)
	if err != nil {
		return "", 0
	}
	return m[1], int32(n)
}

func offsetFromName(name string) int64 {
	digits, _, _ := strings.Cut(name, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 20 {
		return -1
	}
	return n
}
