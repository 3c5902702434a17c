package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Listener is a named address.
type Listener struct {
	Name string
	Host string // empty or a wildcard address: every interface
	Port int    // 0: any free one
}

// Addr is the address in the form that net.Listen takes.
func (l Listener) Addr() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// NoAuthentication is the warning of a listener that others than this machine can reach.
const NoAuthentication = "NO AUTHENTICATION: everybody who can reach this listener can read, write and delete everything; restrict it by a firewall or listen on 127.0.0.1"

// Loopback reports whether only this machine can reach the address.
func (l Listener) Loopback() bool {
	if strings.EqualFold(l.Host, "localhost") {
		return true
	}
	ip := net.ParseIP(l.Host)
	return ip != nil && ip.IsLoopback()
}

// Wildcard reports whether the address stands for every interface, so that no client can be told it.
func (l Listener) Wildcard() bool {
	ip := net.ParseIP(l.Host)
	return l.Host == "" || ip != nil && ip.IsUnspecified()
}

// collides reports whether both cannot be listened on at once: they have a port in common, and an address.
func (l Listener) collides(other Listener) bool {
	if l.Port != other.Port || l.Port == 0 {
		return false
	}
	if strings.EqualFold(l.Host, other.Host) {
		return true
	}
	// 0.0.0.0 is every address of IPv4 alone.
	covers := func(wild, one Listener) bool {
		a, b := net.ParseIP(wild.Host), net.ParseIP(one.Host)
		return wild.Wildcard() && (a.To4() == nil || b == nil || b.To4() != nil)
	}
	return covers(l, other) || covers(other, l)
}

// checkPorts refuses addresses that collide, which the start would find one at a time.
func (c *Config) checkPorts(metrics string, metricsOn bool) {
	all := slices.Clone(c.listeners)
	if l, err := ParseListener(metrics); metricsOn && err == nil {
		l.Name = "http.listener"
		all = append(all, l)
	}
	for i, l := range all {
		for _, before := range all[:i] {
			if l.collides(before) {
				c.problem(fmt.Errorf("%w: %s and %s are both on port %d", ErrInvalid, before.Name, l.Name, l.Port))
			}
		}
	}
}

// defaultListenerName is the name of a listener that was given none, Kafka's usual one.
const defaultListenerName = "PLAINTEXT"

// ParseListener reads one address: Kafka's NAME://HOST:PORT, or [name=]HOST:PORT.
func ParseListener(text string) (Listener, error) {
	name, address := "", text
	if before, after, ok := strings.Cut(text, "://"); ok {
		name, address = before, after
	} else if before, after, ok := strings.Cut(text, "="); ok {
		name, address = before, after
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return Listener{}, fmt.Errorf("%w: listener %q: want HOST:PORT, name=HOST:PORT or NAME://HOST:PORT", ErrInvalid, text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return Listener{}, fmt.Errorf("%w: listener %q: port %q: allowed: 0 to 65535", ErrInvalid, text, portText)
	}
	for _, r := range name {
		if !(r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return Listener{}, fmt.Errorf("%w: listener %q: a name has letters, digits, '_' and '-'", ErrInvalid, text)
		}
	}
	return Listener{Name: strings.ToUpper(name), Host: host, Port: int(port)}, nil
}

// resolveListeners parses both lists, leaves out the controller's listeners of a combined Kafka node, and refuses
// a listener that should encrypt or authenticate: serving it in plain text would betray whoever asked.
func resolveListeners(c *Config) (listen, advertised []Listener, err error) {
	skip := map[string]bool{}
	for _, name := range splitList(c.Text("controller.listener.names")) {
		skip[strings.ToUpper(name)] = true
	}
	if listen, err = parseListeners("listeners", c.Text("listeners"), skip); err != nil {
		return nil, nil, err
	}
	if len(listen) == 0 {
		return nil, nil, fmt.Errorf("%w: listeners=%q: names no listener for clients", ErrInvalid, c.Text("listeners"))
	}
	if advertised, err = parseListeners("advertised.listeners", c.Text("advertised.listeners"), skip); err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	for _, l := range listen {
		names[l.Name] = true
	}
	for _, a := range advertised {
		if !names[a.Name] {
			return nil, nil, fmt.Errorf("%w: advertised.listeners: no listener is called %s", ErrInvalid, a.Name)
		}
		if a.Wildcard() {
			return nil, nil, fmt.Errorf("%w: advertised.listeners=%q: clients cannot connect to a wildcard address", ErrInvalid, c.Text("advertised.listeners"))
		}
	}
	return listen, advertised, checkProtocols(c, listen)
}

func parseListeners(key, text string, skip map[string]bool) ([]Listener, error) {
	var out []Listener
	taken := map[string]bool{}
	for _, item := range splitList(text) {
		l, err := ParseListener(item)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if skip[l.Name] {
			continue
		}
		if l.Name == "" {
			l.Name = freeName(taken)
		}
		if taken[l.Name] {
			return nil, fmt.Errorf("%w: %s=%q: two listeners are called %s", ErrInvalid, key, text, l.Name)
		}
		taken[l.Name] = true
		out = append(out, l)
	}
	return out, nil
}

func freeName(taken map[string]bool) string {
	name := defaultListenerName
	for i := 2; taken[name]; i++ {
		name = defaultListenerName + "_" + strconv.Itoa(i)
	}
	return name
}

// checkProtocols reads listener.security.protocol.map as Kafka does: a listener that the map does not name speaks the
// protocol it is called after. Any other name is free here, because only one protocol exists.
func checkProtocols(c *Config, listen []Listener) error {
	protocols := map[string]string{}
	for _, item := range splitList(c.Text("listener.security.protocol.map")) {
		name, protocol, ok := strings.Cut(item, ":")
		if !ok {
			return fmt.Errorf("%w: listener.security.protocol.map: %q: want NAME:PROTOCOL", ErrInvalid, item)
		}
		protocols[strings.ToUpper(strings.TrimSpace(name))] = strings.ToUpper(strings.TrimSpace(protocol))
	}
	for _, l := range listen {
		protocol, mapped := protocols[l.Name]
		if !mapped {
			protocol = l.Name
		}
		switch protocol {
		case "SSL", "SASL_PLAINTEXT", "SASL_SSL":
			return fmt.Errorf("%w: listener %s asks for %s: allowed: PLAINTEXT (encryption and authentication do not exist yet)", ErrInvalid, l.Name, protocol)
		case "PLAINTEXT":
		default:
			if mapped {
				return fmt.Errorf("%w: listener.security.protocol.map: %s:%s: allowed: PLAINTEXT", ErrInvalid, l.Name, protocol)
			}
		}
	}
	return nil
}
