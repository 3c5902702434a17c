package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
)

// ErrCrashed is returned by every operation of a faulty file system after a FaultCrash.
var ErrCrashed = errors.New("disk: crashed (injected)")

// OpKind is a set of kinds of operations.
type OpKind uint16

const (
	// OpWrite is WriteAt of a file.
	OpWrite OpKind = 1 << iota
	// OpCreate is Create, OpenReadWrite or Lock of a missing file, MkdirAll of a missing directory.
	OpCreate
	// OpRename is Rename.
	OpRename
	// OpRemove is Remove and RemoveAll.
	OpRemove
	// OpTruncate is Truncate of a file.
	OpTruncate
	// OpSync is Sync of a file.
	OpSync
	// OpSyncDir is SyncDir.
	OpSyncDir
	// OpSyncFS is SyncFS.
	OpSyncFS
	// OpRead is ReadAt of a file. It changes nothing and is counted only for a Fault that names it.
	OpRead
	// OpOpen is Open, and OpenReadWrite or Lock of an existing file. It is counted as OpRead is.
	OpOpen

	// OpReserve is Reserve of a file. It changes nothing that can be read and is counted as OpRead is.
	OpReserve

	// OpMutating is every kind that changes the file system or makes it durable.
	OpMutating = OpWrite | OpCreate | OpRename | OpRemove | OpTruncate | OpSync | OpSyncDir | OpSyncFS
)

// FaultKind is what happens at the chosen operation.
type FaultKind uint8

const (
	// FaultError does nothing and returns EIO.
	FaultError FaultKind = iota
	// FaultNoSpace does nothing and returns ENOSPC.
	FaultNoSpace
	// FaultShortWrite writes the first half, then returns ENOSPC; operations other than writes return ENOSPC.
	FaultShortWrite
	// FaultNoHandle does nothing and returns EMFILE: for OpOpen, OpCreate and OpSyncDir, which open something.
	FaultNoHandle
	// FaultCrash does nothing and returns ErrCrashed, as does every later operation, reads included. What the disk then
	// holds is for CrashClone or KillClone of the Mem underneath to say.
	FaultCrash
)

// Forever as Fault.Times makes every matching operation from Fault.At on fail.
const Forever = -1

// Fault says which operation fails and how.
type Fault struct {
	// At is how many matching operations succeed first.
	At int64
	// Times is how many matching ones in a row fail; 0 means 1.
	Times int64
	// Kind is what happens.
	Kind FaultKind
	// Ops are the kinds that match; 0 means OpMutating.
	Ops OpKind
	// Path must be part of the name of the file; empty matches all.
	Path string
}

// Faults decides for one or more faulty file systems which operations fail. The zero value lets everything pass.
type Faults struct {
	mu struct {
		sync.Mutex
		ops     int64
		fired   int64
		crashed bool
		rules   []*faultRule
		onCrash func()
	}
}

type faultRule struct {
	Fault
	seen int64
}

// NewFaults returns Faults with these rules; each counts the operations that match it on its own.
func NewFaults(rules ...Fault) *Faults {
	f := &Faults{}
	for _, r := range rules {
		f.Add(r)
	}
	return f
}

// Add adds a rule, which counts from now on.
func (f *Faults) Add(r Fault) {
	if r.Ops == 0 {
		r.Ops = OpMutating
	}
	if r.Times == 0 {
		r.Times = 1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = append(f.mu.rules, &faultRule{Fault: r})
}

// Clear removes all rules; a crash stays.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.rules = nil
}

// Ops returns how many mutating operations were tried, the failed ones included, none after a crash.
func (f *Faults) Ops() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.ops
}

// Fired returns how many operations failed by a rule.
func (f *Faults) Fired() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.fired
}

// Crashed says whether a FaultCrash has happened.
func (f *Faults) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.crashed
}

// Crash makes every operation from now on return ErrCrashed.
func (f *Faults) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.crashed = true
}

// OnCrash has fn called once, by the operation that crashes, before it returns.
func (f *Faults) OnCrash(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.onCrash = fn
}

// errShortWrite tells the wrapper to write half; it never leaves this package.
var errShortWrite = errors.New("disk: short write (injected)")

// check counts one operation and returns the error it has to fail with.
func (f *Faults) check(op OpKind, name string) error {
	f.mu.Lock()
	if f.mu.crashed {
		f.mu.Unlock()
		return pathError("crashed", name, ErrCrashed)
	}
	if op&OpMutating != 0 {
		f.mu.ops++
	}
	kind, hit := f.matchLocked(op, name)
	var onCrash func()
	if hit {
		f.mu.fired++
		if kind == FaultCrash {
			f.mu.crashed = true
			onCrash, f.mu.onCrash = f.mu.onCrash, nil
		}
	}
	f.mu.Unlock()
	if onCrash != nil {
		onCrash()
	}
	switch {
	case !hit:
		return nil
	case kind == FaultCrash:
		return pathError("crashed", name, ErrCrashed)
	case kind == FaultShortWrite && op == OpWrite:
		return errShortWrite
	case kind == FaultNoHandle && op == OpSyncDir:
		return fmt.Errorf("%w: %w", ErrNotOpened, pathError("injected", name, syscall.EMFILE))
	case kind == FaultNoHandle:
		return pathError("injected", name, syscall.EMFILE)
	case kind == FaultShortWrite, kind == FaultNoSpace:
		return pathError("injected", name, syscall.ENOSPC)
	default:
		return pathError("injected", name, syscall.EIO)
	}
}

// matchLocked lets every rule count the operation and returns the kind of the first that fires.
func (f *Faults) matchLocked(op OpKind, name string) (kind FaultKind, hit bool) {
	for _, r := range f.mu.rules {
		if r.Ops&op == 0 || !strings.Contains(name, r.Path) {
			continue
		}
		n := r.seen
		r.seen++
		if !hit && n >= r.At && (r.Times < 0 || n < r.At+r.Times) {
			kind, hit = r.Kind, true
		}
	}
	return kind, hit
}

// alive returns ErrCrashed after a crash; it counts nothing.
func (f *Faults) alive(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.crashed {
		return pathError("crashed", name, ErrCrashed)
	}
	return nil
}

// NewFaulty returns a file system that behaves as fs does until f says otherwise.
func NewFaulty(fs FS, f *Faults) FS { return &faultyFS{fs: fs, faults: f} }

type faultyFS struct {
	fs     FS
	faults *Faults
}

type faultyFile struct {
	File
	name   string
	faults *Faults
}

func (y *faultyFS) open(name string, f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: f, name: name, faults: y.faults}, nil
}

// checkCreate counts an OpCreate if name is missing, else what is given.
func (y *faultyFS) checkCreate(name string, existing OpKind) error {
	if _, err := y.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return y.faults.check(OpCreate, name)
	}
	return y.faults.check(existing, name)
}

func (y *faultyFS) Open(name string) (File, error) {
	if err := y.faults.check(OpOpen, name); err != nil {
		return nil, err
	}
	f, err := y.fs.Open(name)
	return y.open(name, f, err)
}

func (y *faultyFS) OpenReadWrite(name string, create bool) (File, error) {
	var err error
	if create {
		err = y.checkCreate(name, OpOpen)
	} else {
		err = y.faults.check(OpOpen, name)
	}
	if err != nil {
		return nil, err
	}
	f, err := y.fs.OpenReadWrite(name, create)
	return y.open(name, f, err)
}

func (y *faultyFS) Create(name string) (File, error) {
	if err := y.faults.check(OpCreate, name); err != nil {
		return nil, err
	}
	f, err := y.fs.Create(name)
	return y.open(name, f, err)
}

func (y *faultyFS) Remove(name string) error {
	if err := y.faults.check(OpRemove, name); err != nil {
		return err
	}
	return y.fs.Remove(name)
}

func (y *faultyFS) RemoveAll(name string) error {
	if err := y.faults.check(OpRemove, name); err != nil {
		return err
	}
	return y.fs.RemoveAll(name)
}

func (y *faultyFS) Rename(oldName, newName string) error {
	if err := y.faults.check(OpRename, newName); err != nil {
		return err
	}
	return y.fs.Rename(oldName, newName)
}

func (y *faultyFS) MkdirAll(dir string) error {
	if err := y.checkCreate(dir, 0); err != nil {
		return err
	}
	return y.fs.MkdirAll(dir)
}

func (y *faultyFS) List(dir string) ([]string, error) {
	if err := y.faults.alive(dir); err != nil {
		return nil, err
	}
	return y.fs.List(dir)
}

func (y *faultyFS) Stat(name string) (Info, error) {
	if err := y.faults.alive(name); err != nil {
		return Info{}, err
	}
	return y.fs.Stat(name)
}

func (y *faultyFS) SyncDir(dir string) error {
	if err := y.faults.check(OpSyncDir, dir); err != nil {
		return err
	}
	return y.fs.SyncDir(dir)
}

func (y *faultyFS) KeepForSyncFS(dir string) error {
	if err := y.faults.alive(dir); err != nil {
		return err
	}
	return y.fs.KeepForSyncFS(dir)
}

func (y *faultyFS) SyncFS(dir string) error {
	if err := y.faults.check(OpSyncFS, dir); err != nil {
		return err
	}
	return y.fs.SyncFS(dir)
}

func (y *faultyFS) Lock(name string) (io.Closer, error) {
	if err := y.checkCreate(name, OpOpen); err != nil {
		return nil, err
	}
	return y.fs.Lock(name)
}

func (y *faultyFS) FreeBytes(dir string) (int64, error) {
	if err := y.faults.alive(dir); err != nil {
		return 0, err
	}
	return y.fs.FreeBytes(dir)
}

func (y *faultyFS) FreeFiles(dir string) (int64, error) {
	if err := y.faults.alive(dir); err != nil {
		return 0, err
	}
	return y.fs.FreeFiles(dir)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.faults.check(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.faults.check(OpWrite, f.name)
	if err == errShortWrite {
		n, err := f.File.WriteAt(p[:len(p)/2], off)
		if err == nil {
			err = pathError("injected", f.name, syscall.ENOSPC)
		}
		return n, err
	}
	if err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.faults.check(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// Reserve implements Reserver.
func (f *faultyFile) Reserve(from, length int64) error {
	if err := f.faults.check(OpReserve, f.name); err != nil {
		return err
	}
	if r, ok := f.File.(Reserver); ok {
		return r.Reserve(from, length)
	}
	return errors.ErrUnsupported
}

func (f *faultyFile) Sync() error {
	if err := f.faults.check(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.faults.alive(f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}
