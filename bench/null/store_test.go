package null

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// held is a disk whose syncs wait for the test.
type held struct {
	arrived chan struct{} // a sync has begun
	end     chan error    // how it ends
	file    *os.File
	free    chan struct{} // closed: no sync waits any more
}

func newHeld(t *testing.T) *held {
	h := &held{arrived: make(chan struct{}), end: make(chan error), free: make(chan struct{})}
	t.Cleanup(h.release)
	return h
}

func (h *held) release() {
	select {
	case <-h.free:
	default:
		close(h.free)
	}
}

func (h *held) sync(f *os.File) error {
	h.file = f
	select {
	case h.arrived <- struct{}{}:
	case <-h.free:
		return nil
	}
	select {
	case err := <-h.end:
		return err
	case <-h.free:
		return nil
	}
}

// next waits for a sync to begin.
func (h *held) next(t *testing.T) {
	t.Helper()
	select {
	case <-h.arrived:
	case <-time.After(20 * time.Second):
		t.Fatal("no sync")
	}
}

// storingServer is a server in this process, with its committer and how it ended.
type storingServer struct {
	addr, file string
	committer  *committer
	ended      chan error
}

// startStoring serves until the test ends, which has to be without an error unless the test took it from ended.
func startStoring(t *testing.T, size int64, sync func(*os.File) error) *storingServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &storingServer{addr: l.Addr().String(), file: filepath.Join(t.TempDir(), "ring"), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	begun := make(chan *committer, 1)
	o := Options{Partitions: 3, Store: s.file, storeBytes: size, sync: sync, begun: func(c *committer) { begun <- c }}
	go func() {
		s.ended <- ServeWith(ctx, l, o)
		close(s.ended)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
	s.committer = <-begun
	return s
}

// until waits for a state that the server is on its way to.
func (s *storingServer) until(t *testing.T, reached func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); ; {
		s.committer.mu.Lock()
		now := reached()
		s.committer.mu.Unlock()
		if now {
			return
		}
		if time.Now().After(late) {
			t.Fatal("not reached")
		}
		runtime.Gosched()
	}
}

// waiting are the bytes that wait for the next commit.
func (c *committer) waitingBytes() (n int) {
	for _, k := range c.mu.waiting {
		for _, p := range k.locked.pieces {
			n += len(p.bytes)
		}
	}
	return n
}

func produceRequest(correlation int32, records []byte) []byte {
	req := &kmsg.ProduceRequest{Version: 9, Acks: -1, Topics: []kmsg.ProduceRequestTopic{{Topic: "a", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: records}}}}}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

// answer reads one answer and returns its correlation.
func answer(t *testing.T, c net.Conn) int32 {
	t.Helper()
	b := make([]byte, 8)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(b))-4); err != nil {
		t.Fatal(err)
	}
	return int32(binary.BigEndian.Uint32(b[4:]))
}

// silent tells whether nothing has come. What a server on loopback has sent is there at once.
func silent(t *testing.T, c net.Conn) bool {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got error
	if err := raw.Read(func(fd uintptr) bool {
		_, _, got = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return errors.Is(got, syscall.EAGAIN)
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func contains(t *testing.T, file, what string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte(what))
}

// TestStoredBeforeAnswered: when the sync begins, the bytes are in the file; before it ends, nothing is answered.
func TestStoredBeforeAnswered(t *testing.T) {
	disk := newHeld(t)
	s := startStoring(t, 1, disk.sync)
	c, other := dial(t, s.addr), dial(t, s.addr)
	send(t, c, produceRequest(1, []byte("the first record")))
	disk.next(t)
	if !contains(t, s.file, "the first record") {
		t.Error("synced before it was written")
	}
	exchange(t, other, &kmsg.ApiVersionsRequest{Version: 3}) // the server had time, and other connections do not wait for the disk
	if !silent(t, c) {
		t.Error("answered before the sync ended")
	}
	disk.end <- nil
	if got := answer(t, c); got != 1 {
		t.Errorf("answer %d", got)
	}
}

// TestOneSyncForAllThatWaits: while a commit runs, connections are read on, and the next commit has all of it. Each client gets
// its answers in the order of its requests, those that are not stored included.
func TestOneSyncForAllThatWaits(t *testing.T) {
	disk := newHeld(t)
	s := startStoring(t, 1, disk.sync)
	first, second := dial(t, s.addr), dial(t, s.addr)
	send(t, first, produceRequest(1, []byte("begins")))
	disk.next(t)
	var sent int
	for i := range int32(5) {
		for of, c := range map[string]net.Conn{"first": first, "second": second} {
			b := produceRequest(2+i, []byte(of+" "+string('a'+i)))
			send(t, c, b)
			sent += len(b)
		}
	}
	versions := kmsg.NewRequestFormatter().AppendRequest(nil, &kmsg.ApiVersionsRequest{Version: 3}, 7)
	send(t, first, append(versions, produceRequest(8, []byte("ends"))...))
	s.until(t, func() bool { return s.committer.waitingBytes() == sent })
	if !silent(t, first) || !silent(t, second) {
		t.Error("answered before the sync ended")
	}
	disk.end <- nil
	disk.next(t)
	for _, want := range []string{"first a", "first e", "second a", "second e"} {
		if !contains(t, s.file, want) {
			t.Errorf("%q is not in the second commit", want)
		}
	}
	if contains(t, s.file, "ends") {
		t.Error("what is behind a request that is not stored was not to be read yet")
	}
	if got := answer(t, first); got != 1 || !silent(t, first) {
		t.Errorf("answer %d, or more than that", got)
	}
	disk.release()
	for want := int32(2); want < 9; want++ {
		if got := answer(t, first); got != want {
			t.Errorf("answer %d, want %d", got, want)
		}
		if want < 7 {
			if got := answer(t, second); got != want {
				t.Errorf("answer %d of the second, want %d", got, want)
			}
		}
	}
}

// TestHeldBytesAreBounded: a client that sends on while the disk stands is not read beyond its two chunks, and gets all its
// answers in order when the disk goes on. The file is written over and over and keeps its size.
func TestHeldBytesAreBounded(t *testing.T) {
	const size, requests = chunks * chunkBytes, 40
	disk := newHeld(t)
	s := startStoring(t, size, disk.sync)
	c := dial(t, s.addr)
	sent := make(chan error, 1)
	go func() {
		for i := range int32(requests) {
			if _, err := c.Write(produceRequest(i, bytes.Repeat([]byte{byte(i)}, 1<<20))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	disk.next(t)
	k := s.committer.taken[0]
	s.until(t, func() bool { return k.locked.blocked })
	if held := k.chunks[0].held.Load() + k.chunks[1].held.Load(); held > chunks*chunkBytes || held < chunks*chunkTurn {
		t.Errorf("%d bytes are held", held)
	}
	disk.release()
	for want := range int32(requests) {
		if got := answer(t, c); got != want {
			t.Fatalf("answer %d, want %d", got, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(s.file); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
}

// TestFailedSync: nothing is answered, all connections are closed, and the server ends with the disk's error.
func TestFailedSync(t *testing.T) {
	disk := newHeld(t)
	s := startStoring(t, 1, disk.sync)
	c, other := dial(t, s.addr), dial(t, s.addr)
	send(t, c, produceRequest(1, []byte("lost")))
	exchange(t, other, &kmsg.ApiVersionsRequest{Version: 3})
	disk.next(t)
	failed := errors.New("the disk is gone")
	disk.end <- failed
	for _, c := range []net.Conn{c, other} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if err := <-s.ended; !errors.Is(err, failed) {
		t.Errorf("the server ended with %v", err)
	}
}

func TestStoreThatCannotBeMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ServeWith(t.Context(), l, Options{Store: filepath.Join(t.TempDir(), "nowhere", "ring")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

// TestStoringBadInput: the connection is closed.
func TestStoringBadInput(t *testing.T) {
	s := startStoring(t, 1, nil)
	for name, b := range map[string][]byte{
		"negative size":        {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3, 0, 0, 0, 0},
		"huge produce":         {0x00, 0x20, 0x00, 0x00, 0, 0, 0, 3, 0, 0, 0, 0},
		"huge control request": {0x00, 0x10, 0x00, 0x01, 0, 3, 0, 3, 0, 0, 0, 0},
		"produce too short":    {0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 0, 0, 60, 0, 0},
		"truncated metadata":   {0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			send(t, c, b)
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// TestLargestStored: the largest request that is allowed, in each place of a chunk that it may begin at.
func TestLargestStored(t *testing.T) {
	s := startStoring(t, 1, nil)
	c := dial(t, s.addr)
	empty := len(produceRequest(0, make([]byte, maxStoredFrame/2)))
	largest := produceRequest(0, make([]byte, maxStoredFrame/2+maxStoredFrame-empty))
	if len(largest) != maxStoredFrame {
		t.Fatalf("%d bytes", len(largest))
	}
	go func() {
		for range 20 {
			_, err := c.Write(append(largest[:len(largest):len(largest)], produceRequest(0, make([]byte, 300<<10))...))
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 40 {
		answer(t, c)
	}
}

// TestClientThatTakesNoAnswers: others do not wait for it; what its socket does not hold comes later, in order.
func TestClientThatTakesNoAnswers(t *testing.T) {
	disk := newHeld(t)
	s := startStoring(t, 1, disk.sync)
	slow, other := dial(t, s.addr), dial(t, s.addr)
	if err := slow.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	const partitions, requests = 3000, int32(120) // 11 MB of answers: more than sockets hold, less than maxUnsent
	req := &kmsg.ProduceRequest{Version: 9, Acks: -1, Topics: []kmsg.ProduceRequestTopic{{Topic: "a", Partitions: make([]kmsg.ProduceRequestTopicPartition, partitions)}}}
	send(t, slow, kmsg.NewRequestFormatter().AppendRequest(nil, req, 0))
	disk.next(t)
	k := s.committer.taken[0]
	disk.release()
	for i := int32(1); i < requests; i++ {
		send(t, slow, kmsg.NewRequestFormatter().AppendRequest(nil, req, i))
	}
	s.until(t, func() bool { return k.locked.behind })
	send(t, other, produceRequest(1, []byte("record")))
	answer(t, other)
	for want := range requests {
		if got := answer(t, slow); got != want {
			t.Fatalf("answer %d, want %d", got, want)
		}
	}
}

// TestAnswersFollowLateOnes: while earlier answers are sent by another goroutine, later ones do not overtake them.
func TestAnswersFollowLateOnes(t *testing.T) {
	disk := newHeld(t)
	s := startStoring(t, 1, disk.sync)
	c := dial(t, s.addr)
	send(t, c, produceRequest(1, []byte("record")))
	disk.next(t)
	k := s.committer.taken[0]
	disk.end <- nil
	answer(t, c)
	s.until(t, func() bool {
		k.locked.behind = !k.locked.taken // as if there were some
		return k.locked.behind
	})
	send(t, c, produceRequest(2, []byte("record")))
	disk.next(t)
	disk.release()
	s.until(t, func() bool { return !k.locked.waits && !k.locked.taken })
	if !silent(t, c) {
		t.Error("it overtook those before it")
	}
	k.late.Go(k.catchUp)
	if got := answer(t, c); got != 2 {
		t.Errorf("answer %d", got)
	}
}

// TestStoringAllocatesNothing: as without a disk.
func TestStoringAllocatesNothing(t *testing.T) {
	b := produceRequest(77, make([]byte, 64<<10))
	c := dial(t, startStoring(t, 1, func(*os.File) error { return nil }).addr)
	got := make([]byte, 1024)
	one := func() {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(got); err != nil {
			t.Error(err)
		}
	}
	one()
	one() // both of the buffers that are exchanged
	if n := testing.AllocsPerRun(100, one); n > 1 {
		t.Errorf("%v allocations a request", n)
	}
}

// TestRing: writes begin with a block, go on at the begin when the rest is too small, and never make the file larger.
func TestRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring")
	if err := os.WriteFile(path, []byte("of an earlier run"), 0o644); err != nil {
		t.Fatal(err)
	}
	const size = 4 * blockBytes
	r, err := newRing(path, size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.file.Close()
	want := make([]byte, size)
	for _, w := range []struct {
		pieces []string
		at     int
	}{
		{[]string{"one", "two"}, 0}, {[]string{"three"}, blockBytes}, {[]string{strings.Repeat("4", blockBytes), "5"}, 2 * blockBytes},
		{[]string{"six"}, 0}, {[]string{strings.Repeat("7", size)}, 0}, {[]string{"8"}, 0}, {[]string{strings.Repeat("9", 3*blockBytes)}, blockBytes}, {[]string{"10"}, 0},
	} {
		var pieces [][]byte
		for _, p := range w.pieces {
			pieces = append(pieces, []byte(p))
		}
		all := strings.Join(w.pieces, "")
		if err := r.write(pieces, int64(len(all))); err != nil {
			t.Fatal(err)
		}
		copy(want[w.at:], all)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("after %.10q of %d bytes: %d bytes, which differ, %v", all, len(all), len(got), err)
		}
	}
}
