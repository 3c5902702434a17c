// Command sbom prints the software bill of materials of a Go binary as CycloneDX 1.5 JSON: what the binary itself says it was built of. The same
// binary gives the same bytes: there is no time in it, and the serial number is made of its content.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type component struct {
	Type       string     `json:"type"`
	Reference  string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Package    string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type dependency struct {
	Reference string   `json:"ref"`
	On        []string `json:"dependsOn,omitempty"`
}

type bom struct {
	Format   string `json:"bomFormat"`
	Spec     string `json:"specVersion"`
	Serial   string `json:"serialNumber"`
	Version  int    `json:"version"`
	Metadata struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom BINARY VERSION")
		os.Exit(2)
	}
	b, err := describe(os.Args[1], os.Args[2])
	if err == nil {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(b)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func describe(path, version string) (*bom, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	b := &bom{Format: "CycloneDX", Spec: "1.5", Version: 1}
	b.Serial = uuid(sum)
	main := component{
		Type: "application", Reference: info.Main.Path, Name: filepath.Base(path), Version: version,
		Hashes:     []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
		Properties: []property{{"go:version", info.GoVersion}},
	}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" {
			main.Properties = append(main.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	b.Metadata.Component = main
	edges := dependency{Reference: main.Reference}
	std := component{Type: "library", Reference: "pkg:golang/std@" + info.GoVersion, Name: "std", Version: info.GoVersion, Package: "pkg:golang/std@" + info.GoVersion}
	b.Components = append(b.Components, std)
	edges.On = append(edges.On, std.Reference)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, Package: "pkg:golang/" + m.Path + "@" + m.Version}
		c.Reference = c.Package
		c.Properties = []property{{"go:sum", m.Sum}} // of go.sum: a hash of the module's files, not of an archive
		b.Components = append(b.Components, c)
		edges.On = append(edges.On, c.Reference)
	}
	b.Dependencies = []dependency{edges}
	return b, nil
}

// uuid is a version-8 UUID (RFC 9562: made of what its maker likes), of the first bytes of a hash.
func uuid(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
