package report

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"ottla/internal/investigate/diagnose"
	"ottla/internal/investigate/evidence"
)

// TestSchema keeps the documented schemas equal to the types: they are made from the fields, their tags and their comments.
func TestSchema(t *testing.T) {
	comments := fieldComments(t, "../diagnose", "../evidence")
	for name, v := range map[string]any{
		"investigate.schema.json": diagnose.Verdict{}, "investigate-fix.schema.json": diagnose.Fix{}, "investigate-scan.schema.json": evidence.Scan{},
	} {
		s := schemas{comments: comments, defs: map[string]any{}}
		root := s.object(reflect.TypeOf(v))
		root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
		root["title"] = reflect.TypeOf(v).String()
		root["$defs"] = s.defs
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetIndent("", " ")
		e.SetEscapeHTML(false)
		if err := e.Encode(root); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "..", "docs", name)
		if *rewrite {
			if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(want, out.Bytes()) {
			t.Errorf("docs/%s is not what the types say (%v): go test ./internal/investigate/report -rewrite", name, err)
		}
	}
}

type schemas struct {
	comments map[string]string // "Verdict.Sentence" to its comment
	defs     map[string]any
}

func (s *schemas) of(t reflect.Type) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case t.Kind() == reflect.Struct:
		if _, known := s.defs[t.Name()]; !known {
			s.defs[t.Name()] = nil // a type that holds itself ends here
			s.defs[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		out := map[string]any{"type": "array", "items": s.of(t.Elem())}
		if t.Kind() == reflect.Array {
			out["minItems"], out["maxItems"] = t.Len(), t.Len()
		}
		return out
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case t.Kind() == reflect.String:
		return map[string]any{"type": "string"}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": "integer"}
}

func (s *schemas) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.of(f.Type)
		if c := s.comments[t.Name()+"."+f.Name]; c != "" {
			p["description"] = c
		}
		properties[name] = p
		if options != "omitempty" && f.Type.Kind() != reflect.Slice && f.Type.Kind() != reflect.Map {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "required": required}
	if c := s.comments[t.Name()]; c != "" {
		out["description"] = c
	}
	return out
}

// fieldComments gives the comments of all types and fields in the packages.
func fieldComments(t *testing.T, dirs ...string) map[string]string {
	out := map[string]string{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if d, is := n.(*ast.GenDecl); is {
					typeComments(d, out)
				}
				return true
			})
		}
	}
	return out
}

func typeComments(d *ast.GenDecl, out map[string]string) {
	for _, spec := range d.Specs {
		named, is := spec.(*ast.TypeSpec)
		if !is {
			continue
		}
		out[named.Name.Name] = oneLine(d.Doc)
		fields, is := named.Type.(*ast.StructType)
		if !is {
			continue
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				out[named.Name.Name+"."+name.Name] = strings.TrimSpace(oneLine(f.Doc) + " " + oneLine(f.Comment))
			}
		}
	}
}

func oneLine(g *ast.CommentGroup) string {
	return strings.Join(strings.Fields(g.Text()), " ")
}
