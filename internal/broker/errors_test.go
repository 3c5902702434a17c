package broker

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strings"
	"testing"

	"ottla/internal/batch"
	"ottla/internal/catalog"
	"ottla/internal/partition"
	"ottla/internal/producer"
	"ottla/internal/seglog"
)

// sentinelPackages are those whose errors reach a handler.
var sentinelPackages = []string{"batch", "catalog", "coordinator", "group", "partition", "pidstore", "producer", "seglog"}

// neverAnswered are sentinels that no request can meet: they end the start of the
// process, or the offline tools.
var neverAnswered = map[string]bool{
	"catalog.ErrNewerFormat":      true,
	"catalog.ErrForeignDirectory": true,
	"seglog.ErrMapTooSmall":       true, // compaction runs for no client
	"group.ErrRecord":             true, // the coordinator leaves such a record out
}

// TestEverySentinelHasACode reads the sources: a new exported sentinel below this
// package must be given a code, or be said never to reach a client.
func TestEverySentinelHasACode(t *testing.T) {
	listed := selectorsOf(t, "errors.go")
	found := 0
	for _, pkg := range sentinelPackages {
		for _, name := range sentinelsOf(t, "../"+pkg) {
			full := pkg + "." + name
			found++
			if !listed[full] && !neverAnswered[full] {
				t.Errorf("%s has no row in errorCodes", full)
			}
			if listed[full] && neverAnswered[full] {
				t.Errorf("%s is listed and said to be never answered", full)
			}
		}
	}
	if found < 20 {
		t.Fatalf("found %d sentinels: the search is broken", found)
	}
}

func selectorsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok {
				out[pkg.Name+"."+s.Sel.Name] = true
			}
		}
		return true
	})
	return out
}

func sentinelsOf(t *testing.T, dir string) []string {
	t.Helper()
	pkgs, err := parser.ParseDir(token.NewFileSet(), dir, func(i fs.FileInfo) bool { return !strings.HasSuffix(i.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pkgs {
		for _, f := range p.Files {
			for _, d := range f.Decls {
				names = append(names, exportedErrors(d)...)
			}
		}
	}
	return names
}

func exportedErrors(d ast.Decl) (names []string) {
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		return nil
	}
	for _, s := range g.Specs {
		for _, n := range s.(*ast.ValueSpec).Names {
			if strings.HasPrefix(n.Name, "Err") {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int16
	}{
		{nil, 0},
		{batch.ErrCorrupt, 2},
		{fmt.Errorf("orders-3: %w", producer.ErrOutOfOrderSequence), 45},
		{producer.ErrDuplicateSequence, 46},
		{producer.ErrInvalidProducerEpoch, 47},
		{seglog.ErrOffsetOutOfRange, 1},
		{fmt.Errorf("append: %w", seglog.ErrDiskFull), 56},
		{partition.ErrLoading, 6},
		{partition.ErrDeleted, 3},
		{catalog.Refuse(catalog.ErrTopicExists, "Topic 'a' already exists."), 36},
		{context.Canceled, 7},
		{errors.New("nobody knows me"), 56},
	} {
		if got := codeOf(c.err); got != c.code {
			t.Errorf("codeOf(%v) = %d, want %d", c.err, got, c.code)
		}
	}
	if _, known := lookupCode(errors.New("nobody knows me")); known {
		t.Error("an unknown error is said to be known")
	}
}

func TestClientMessageHidesStorage(t *testing.T) {
	if m := clientMessage(codeKafkaStorageError, errors.New("/secret/path: EIO")); m != nil {
		t.Errorf("a storage failure tells the client %q", *m)
	}
	if m := clientMessage(codeInvalidTopic, errors.New("bad name")); m == nil || *m != "bad name" {
		t.Error("a refusal does not tell the client why")
	}
}
