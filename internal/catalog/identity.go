package catalog

import (
	"fmt"
	"path/filepath"
	"strings"

	"ottla/internal/disk"
)

const (
	metaPropertiesName     = "meta.properties"
	metaPropertiesBytesMax = 64 << 10
)

// writeMetaProperties keeps Kafka's description of a data directory true, for tools. The journal decides.
func (c *Catalog) writeMetaProperties(s *state) error {
	name := filepath.Join(c.o.Dir, metaPropertiesName)
	want := fmt.Sprintf("#\ncluster.id=%s\ndirectory.id=%s\nnode.id=%d\nversion=1\n",
		formatID(s.clusterID), formatID(s.directoryID), c.o.NodeID)
	if have, err := disk.ReadFile(c.o.FS, name, metaPropertiesBytesMax); err == nil && string(have) == want {
		return nil
	}
	return disk.WriteFileAtomic(c.o.FS, name, []byte(want))
}

// storedClusterID takes over the cluster id of a directory that was formatted but never used, else a new one.
func (c *Catalog) storedClusterID() [16]byte {
	b, err := disk.ReadFile(c.o.FS, filepath.Join(c.o.Dir, metaPropertiesName), metaPropertiesBytesMax)
	if err != nil {
		return newID()
	}
	for line := range strings.Lines(string(b)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "cluster.id="); found {
			if id, ok := parseID(value); ok {
				return id
			}
		}
	}
	return newID()
}
