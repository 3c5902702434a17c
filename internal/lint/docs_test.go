package lint

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	root         = filepath.Join("..", "..")
	architecture = filepath.Join(root, "docs", "ARCHITECTURE.md")

	mdLink      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading   = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fencedBlock = regexp.MustCompile("(?ms)^```.*?^```")
	packageCell = regexp.MustCompile("`internal/([a-z/]+)`")
	// lineRow is a row that names functions of a Go file: | [file](link) | `f`, `g` | ... |
	lineRow = regexp.MustCompile("(?m)^\\| \\[[^\\]]+\\]\\(([^)]+\\.go)\\) \\| ((?:`\\w+`(?:, )?)+) \\|")
	word    = regexp.MustCompile(`\w+`)
)

// document returns a page without its code blocks.
func document(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fencedBlock.ReplaceAllString(string(b), "")
}

// documents lists README.md and every page below docs.
func documents(t *testing.T) []string {
	t.Helper()
	out := []string{filepath.Join(root, "README.md")}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDocumentLinks(t *testing.T) {
	links := 0
	for _, page := range documents(t) {
		for _, m := range mdLink.FindAllStringSubmatch(document(t, page), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if rel, err := filepath.Rel(root, target); err != nil || strings.HasPrefix(rel, "..") {
				t.Errorf("%s: link %s leads out of the repository", page, m[1])
				continue
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(document(t, target)), anchor) {
				t.Errorf("%s: link %s: no such heading", page, m[1])
			}
		}
	}
	if links == 0 {
		t.Error("no relative link was found: the pattern is broken")
	}
}

// anchors are the names under which a page's headings are linked to.
func anchors(page string) (out []string) {
	for _, m := range mdHeading.FindAllStringSubmatch(page, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ' || r == '-':
				return '-'
			case word.MatchString(string(r)):
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		out = append(out, name)
	}
	return out
}

// TestArchitectureNamesFunctions keeps the two straight lines true.
func TestArchitectureNamesFunctions(t *testing.T) {
	_, sources := load(t)
	rows := lineRow.FindAllStringSubmatch(document(t, architecture), -1)
	if len(rows) == 0 {
		t.Fatal("no row was found: the pattern is broken")
	}
	for _, row := range rows {
		path := filepath.Clean(filepath.Join("docs", row[1]))
		declared := map[string]bool{}
		for _, s := range sources {
			if s.path != path {
				continue
			}
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok {
					declared[f.Name.Name] = true
				}
			}
		}
		for _, name := range word.FindAllString(row[2], -1) {
			if !declared[name] {
				t.Errorf("docs/ARCHITECTURE.md: %s has no function %s", path, name)
			}
		}
	}
}

func TestArchitectureNamesPackages(t *testing.T) {
	_, sources := load(t)
	var listed []string
	for line := range strings.Lines(document(t, architecture)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range packageCell.FindAllStringSubmatch(cells[1], -1) {
				listed = append(listed, m[1])
			}
		}
	}
	exist := map[string]bool{}
	for _, s := range sources {
		if dir, found := strings.CutPrefix(filepath.ToSlash(filepath.Dir(s.path)), "internal/"); found {
			exist[dir] = true
		}
	}
	for dir := range exist {
		if !slices.Contains(listed, dir) {
			t.Errorf("internal/%s has no row in the table of packages", dir)
		}
	}
	for i, dir := range listed {
		if !exist[dir] {
			t.Errorf("the table of packages has internal/%s, which does not exist", dir)
		}
		if slices.Contains(listed[:i], dir) {
			t.Errorf("the table of packages has internal/%s twice", dir)
		}
	}
}

// TestDependenciesAreListed compares the list of direct dependencies, each with its reason, with the modules
// that the sources import.
func TestDependenciesAreListed(t *testing.T) {
	required := requiredModules(t)
	imported := map[string]string{} // module to one file that imports it
	_, sources := load(t)
	for _, s := range sources {
		for _, spec := range s.file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
				continue // the standard library, or ours
			}
			module := moduleOf(path, required)
			if module == "" {
				t.Errorf("%s imports %s, which go.mod does not require", s.path, path)
				continue
			}
			imported[module] = s.path
		}
	}
	var listed []string
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S.* \\|$")
	for _, m := range row.FindAllStringSubmatch(document(t, filepath.Join(root, "docs", "adr", "0001-dependencies.md")), -1) {
		listed = append(listed, m[1])
	}
	for module, path := range imported {
		if !slices.Contains(listed, module) {
			t.Errorf("%s imports %s, which docs/adr/0001-dependencies.md does not list", path, module)
		}
	}
	for _, module := range listed {
		if imported[module] == "" {
			t.Errorf("docs/adr/0001-dependencies.md lists %s, which nothing imports", module)
		}
	}
}

// requiredModules are the modules that go.mod names, whatever it calls direct.
func requiredModules(t *testing.T) (out []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+) v\S+`)
	for _, m := range line.FindAllStringSubmatch(string(b), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatal("go.mod requires nothing: the pattern is broken")
	}
	return out
}

// moduleOf is the module with the longest path that holds a package.
func moduleOf(path string, modules []string) (best string) {
	for _, m := range modules {
		if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}
