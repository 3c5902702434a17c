package node

import (
	"fmt"
	"io"
	"strings"
	"time"

	"ottla/internal/config"
)

// announce says what is served and warns of what an operator should know.
func (n *Node) announce(banner io.Writer) {
	if names := n.config.NotApplicable(); len(names) > 0 {
		n.logger.Warn("keys of Kafka's that have no meaning here were ignored", "keys", strings.Join(names, " "))
	}
	if names := n.config.NotEnforced(); len(names) > 0 {
		n.logger.Warn("nothing enforces what these keys are to protect", "keys", strings.Join(names, " "))
	}
	for _, note := range n.config.Adjusted() {
		n.logger.Warn(note)
	}
	for i, l := range n.config.Listeners() {
		if !l.Loopback() {
			n.logger.Warn(config.NoAuthentication,
				"listener", l.Name, "address", n.bound[i].Addr().String())
		}
	}
	if !n.directory.clean {
		n.logger.Info("the last run did not stop cleanly: partitions are recovered at their first use and in the background")
	}
	if banner != nil {
		fmt.Fprint(banner, n.banner())
	}
	n.logger.Info("ready", "listeners", strings.Join(n.Addrs(), " "), "data", absolute(n.dir), "took", time.Since(n.started).Round(time.Microsecond))
}

func (n *Node) banner() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "ottla %s, cluster %s, node %d\n", n.version, n.catalog.ClusterID(), n.config.Int("node.id"))
	for i, l := range n.config.Listeners() {
		advertised := config.Listener{Host: n.advertised[l.Name].Host, Port: n.advertised[l.Name].Port}.Addr()
		text := fmt.Sprintf("%s  %s", n.bound[i].Addr(), l.Name)
		if advertised != n.bound[i].Addr().String() {
			text += ", clients are told " + advertised
		}
		line("listening", "%s", text)
	}
	line("data", "%s", absolute(n.dir))
	if n.httpBound != nil {
		line("metrics", "http://%s/metrics", n.httpBound.Addr())
	}
	shares := n.shares()
	line("producers", "%s for their state: %s in use, %s not yet on disk, %s for the store of all others",
		size(n.config.Int("producer.state.memory.bytes")), size(shares.HotBytes), size(shares.OverlayBytes), size(shares.ColdBytes))
	line("", "remembered while their data is retained, and at least %s", millis(n.config.Int("producer.id.expiration.ms")))
	line("limits", "%d connections, %d of one address; requests of %s, %s of them in memory",
		n.config.Int("max.connections"), n.config.Int("max.connections.per.ip"),
		size(n.config.Int("socket.request.max.bytes")), size(n.config.Int("queued.max.request.bytes")))
	return b.String()
}

// size writes bytes in the largest unit that shows them exactly, or nearly.
func size(bytes int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes%unit.bytes == 0 {
			return fmt.Sprintf("%d %s", bytes/unit.bytes, unit.name)
		}
		if bytes > 10*unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func millis(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
