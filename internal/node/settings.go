package node

import (
	"ottla/internal/catalog"
	"ottla/internal/config"
)

// staticConfigs hands the configuration to the catalog, which shows it to clients and derives the defaults of topics from it.
func staticConfigs(c *config.Config) []catalog.StaticConfig {
	var out []catalog.StaticConfig
	for _, v := range c.Values() {
		out = append(out, catalog.StaticConfig{
			Name: v.Key.Name, Value: v.Text, Default: v.Key.Default,
			Explicit: v.Origin != config.FromDefault, Null: v.Text == "", NoValue: v.Key.Default == "",
			Type: configType(v.Key.Type), Doc: v.Key.Doc,
		})
	}
	return out
}

func configType(t config.Type) catalog.ConfigType {
	switch t {
	case config.String:
		return catalog.TypeString
	case config.Boolean:
		return catalog.TypeBoolean
	case config.Int:
		return catalog.TypeInt
	case config.Long:
		return catalog.TypeLong
	case config.Double:
		return catalog.TypeDouble
	case config.List:
		return catalog.TypeList
	}
	panic("BUG: a configuration type that clients cannot be told")
}

// freeBytesMin translates "no minimum", which the log writes as a negative number.
func freeBytesMin(c *config.Config) int64 {
	if n := c.Int("log.free.disk.min.bytes"); n > 0 {
		return n
	}
	return -1
}
