package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

const (
	fileLinesMax     = 800
	fileLinesP90     = 400
	functionLinesMax = 70
	functionLinesP90 = 40
	documentedMin    = 0.95
)

// imports is the whole table of what may import what, by the last element of each path. Think hard about the
// layering before changing it. Tests may import more, downward.
var imports = map[string][]string{
	"batch": {}, "wire": {}, "config": {}, "metrics": {}, "disk": {}, "lint": {}, "process": {},
	"producer":    {"batch"},
	"coldstate":   {"disk", "metrics"},
	"pidstore":    {"producer", "coldstate", "metrics"},
	"seglog":      {"batch", "disk", "metrics"},
	"partition":   {"batch", "producer", "pidstore", "coldstate", "seglog", "metrics"},
	"catalog":     {"batch", "partition", "pidstore", "seglog", "disk", "metrics"},
	"group":       {},
	"coordinator": {"group", "partition", "seglog", "coldstate", "batch", "metrics"},
	"broker":      {"wire", "catalog", "coordinator", "group", "partition", "pidstore", "batch", "producer", "seglog", "metrics"},
	"server":      {"wire", "metrics"},
	"sim":         {"*"},
	"node":        {"*"},
	"measure":     {},
	"storm":       {"batch", "measure"},
	"evidence":    {},
	"phrase":      {},
	"connection":  {},
	"explain":     {},
	"diagnose":    {"evidence", "explain", "phrase"},
	"collect":     {"batch", "evidence", "diagnose"},
	"report":      {"evidence", "diagnose", "explain", "phrase"},
	"autopsy":     {"batch", "evidence", "diagnose", "report", "phrase"},
	"fleet":       {"evidence", "diagnose", "collect", "connection", "report", "phrase"},
	"watch":       {"evidence", "diagnose", "collect"},
	"cli": {
		"node", "config", "seglog", "coldstate", "catalog", "disk", "batch", "pidstore", "producer", "storm", "measure",
		"evidence", "connection", "explain", "diagnose", "collect", "report", "phrase", "autopsy", "fleet", "watch", "process",
	},
}

// The names that say nothing.
var bannedPackageNames = []string{"util", "utils", "common", "types", "helpers", "log"}

// ban is a call that some packages must not make.
type ban struct {
	pkg, name string // selector: pkg.name; name "*" bans all of the listed set
	in        func(path string, test bool) bool
	instead   string
}

var osFileCalls = []string{"Open", "OpenFile", "Create", "Remove", "RemoveAll", "Rename", "Mkdir", "MkdirAll", "ReadFile", "WriteFile", "ReadDir", "Stat", "Truncate", "CreateTemp", "MkdirTemp"}

func bans() []ban {
	pure := func(path string, test bool) bool {
		return !test && (strings.Contains(path, "internal/producer/") || strings.Contains(path, "internal/batch/") || strings.Contains(path, "internal/group/") ||
			strings.Contains(path, "internal/investigate/diagnose/") || strings.Contains(path, "internal/investigate/evidence/"))
	}
	everywhere := func(string, bool) bool { return true }
	durable := func(path string, test bool) bool {
		if test {
			return false
		}
		for _, allowed := range []string{"internal/disk/", "internal/cli/", "internal/config/", "internal/investigate/", "internal/storm/", "internal/measure/", "bench/", "scripts/", "test/"} {
			if strings.Contains(path, allowed) {
				return false
			}
		}
		return true
	}
	out := []ban{
		{"time", "Now", pure, "take now as an argument"},
		{"time", "Sleep", everywhere, "wait for an event; in tests use testing/synctest"},
		{"fmt", "Println", func(path string, test bool) bool { return !test && strings.Contains(path, "internal/") }, "write to a given io.Writer"},
	}
	for _, call := range osFileCalls {
		out = append(out, ban{"os", call, durable, "go through disk.FS"})
	}
	return out
}

type source struct {
	path  string // from the module's root
	file  *ast.File
	lines int
	test  bool
}

func (s source) pkg() string { return filepath.Base(filepath.Dir(s.path)) }

func load(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == ".git" || name == ".cache" || name == "testdata" || name == "node_modules" || name == "ottla-data") {
			return filepath.SkipDir
		}
		if d.IsDir() && path != root {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir // another module: a client of other people's, with dependencies of its own
			}
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, path, b, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		out = append(out, source{rel, f, strings.Count(string(b), "\n"), strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, out
}

func TestImportTable(t *testing.T) {
	_, sources := load(t)
	for _, s := range sources {
		if s.test || !strings.HasPrefix(s.path, "internal/") {
			continue
		}
		allowed, listed := imports[s.pkg()]
		if !listed {
			t.Errorf("%s: package %s is not in the import table", s.path, s.pkg())
			continue
		}
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			ours, found := strings.CutPrefix(path, "ottla/internal/")
			if !found || slices.Contains(allowed, "*") || slices.Contains(allowed, filepath.Base(ours)) {
				continue
			}
			t.Errorf("%s imports %s: package %s may import %v", s.path, ours, s.pkg(), allowed)
		}
	}
}

func TestPackageComments(t *testing.T) {
	_, sources := load(t)
	comments := map[string][]string{}
	for _, s := range sources {
		dir := filepath.Dir(s.path)
		if slices.Contains(bannedPackageNames, s.file.Name.Name) {
			t.Errorf("%s: package name %q says nothing", s.path, s.file.Name.Name)
		}
		if s.test {
			continue
		}
		if _, seen := comments[dir]; !seen {
			comments[dir] = nil
		}
		if s.file.Doc != nil {
			comments[dir] = append(comments[dir], s.path)
		}
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s: %d package comments, want exactly one %v", dir, len(files), files)
		}
	}
}

func TestFileBudget(t *testing.T) {
	_, sources := load(t)
	var lengths []int
	for _, s := range sources {
		lengths = append(lengths, s.lines)
		if s.lines > fileLinesMax {
			t.Errorf("%s has %d lines, at most %d", s.path, s.lines, fileLinesMax)
		}
	}
	if p := p90(lengths); p > fileLinesP90 {
		t.Errorf("90 %% of the files may have at most %d lines, got %d", fileLinesP90, p)
	}
}

func TestFunctionBudget(t *testing.T) {
	fset, sources := load(t)
	var lengths []int
	for _, s := range sources {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
			lengths = append(lengths, n)
			if n > functionLinesMax {
				t.Errorf("%s: %s has %d lines, at most %d", s.path, f.Name.Name, n, functionLinesMax)
			}
		}
	}
	if p := p90(lengths); p > functionLinesP90 {
		t.Errorf("90 %% of the functions may have at most %d lines, got %d", functionLinesP90, p)
	}
}

func p90(lengths []int) int {
	if len(lengths) == 0 {
		return 0
	}
	sort.Ints(lengths)
	return lengths[len(lengths)*9/10]
}

func TestBannedCalls(t *testing.T) {
	fset, sources := load(t)
	for _, s := range sources {
		for _, b := range bans() {
			if !b.in(s.path, s.test) {
				continue
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || sel.Sel.Name != b.name {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == b.pkg && id.Obj == nil {
					t.Errorf("%s: %s.%s: %s", fset.Position(sel.Pos()), b.pkg, b.name, b.instead)
				}
				return true
			})
		}
	}
}

// TestPanicsSayBUG keeps panics for programmer errors. Errors of the environment
// are returned.
func TestPanicsSayBUG(t *testing.T) {
	fset, sources := load(t)
	for _, s := range sources {
		if s.test || !strings.HasPrefix(s.path, "internal/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); !ok || id.Name != "panic" {
				return true
			}
			if !strings.Contains(fmt.Sprint(literals(call.Args[0])), "BUG: ") {
				t.Errorf("%s: a panic must say \"BUG: \" and what is wrong", fset.Position(call.Pos()))
			}
			return true
		})
	}
}

func literals(n ast.Node) (out []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			out = append(out, lit.Value)
		}
		return true
	})
	return out
}

func TestExportedNamesAreDocumented(t *testing.T) {
	fset, sources := load(t)
	total, documented := 0, 0
	var missing []string
	count := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		total++
		for _, d := range docs {
			if d != nil {
				documented++
				return
			}
		}
		missing = append(missing, fmt.Sprintf("%s: %s", fset.Position(name.Pos()), name.Name))
	}
	for _, s := range sources {
		if s.test || !strings.HasPrefix(s.path, "internal/") {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || receiverExported(d.Recv) {
					count(d.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						count(spec.Name, d.Doc, spec.Doc, spec.Comment)
					case *ast.ValueSpec:
						for _, n := range spec.Names {
							count(n, d.Doc, spec.Doc, spec.Comment)
						}
					}
				}
			}
		}
	}
	if total > 0 && float64(documented) < documentedMin*float64(total) {
		t.Errorf("%d of %d exported names are documented, want %.0f %%:\n%s", documented, total, documentedMin*100, strings.Join(missing, "\n"))
	}
}

func receiverExported(r *ast.FieldList) bool {
	t := r.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}
