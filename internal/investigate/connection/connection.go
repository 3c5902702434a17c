// Package connection turns what administrators already have (a Java client.properties, an rpk profile, environment
// variables, flags) into options of a Kafka client. It owns the parsing of these files and the building of TLS and SASL.
//
// It must not connect to anything, and never puts a secret into an error, a log line or a printed form.
package connection

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of what is read.
const (
	fileBytesMax = 1 << 20 // of a properties file, a profile, a certificate, a key store
	valuesMax    = 10_000  // keys in one file
	brokersMax   = 1_000
)

// Settings are where and how to connect, from one or several sources, later ones winning. The zero value says nothing. It is
// not for use by several goroutines.
type Settings struct {
	Brokers []string
	// Ignored are keys of the files that mean nothing here, for a note to the user.
	Ignored []string

	values map[string]string // by keys of Java clients, and by own* keys
}

// Keys that Java clients do not have.
const (
	ownUser       = "user"
	ownPass       = "pass"
	ownToken      = "token"
	ownTLS        = "tls.enabled"
	ownCA         = "tls.ca"
	ownCert       = "tls.cert"
	ownKey        = "tls.key"
	ownInsecure   = "tls.insecure_skip_verify"
	ownServerName = "tls.server_name"
	ownAWSKey     = "aws.access.key.id"
	ownAWSSecret  = "aws.secret.access.key"
	ownAWSToken   = "aws.session.token"
)

// known are the keys that mean something. What Java clients have beyond these changes nothing about how to connect, or is refused
// in Options where it would.
var known = []string{
	"bootstrap.servers", "security.protocol", "sasl.mechanism", "sasl.jaas.config", "sasl.oauthbearer.token.endpoint.url",
	"ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.certificates",
	"ssl.keystore.type", "ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.key", "ssl.keystore.certificate.chain",
	"ssl.key.password", "ssl.endpoint.identification.algorithm",
	ownUser, ownPass, ownToken, ownTLS, ownCA, ownCert, ownKey, ownInsecure, ownServerName, ownAWSKey, ownAWSSecret, ownAWSToken,
}

// aliases are other tools' names for the same, as they stand after -X, in a profile, or in the environment.
var aliases = map[string]string{
	"brokers": "bootstrap.servers", "bootstrap": "bootstrap.servers",
	"password": ownPass, "username": ownUser, "sasl.username": ownUser, "sasl.password": ownPass, "sasl.user": ownUser,
	"sasl.mechanisms": "sasl.mechanism", "sasl.type": "sasl.mechanism",
	"ssl.ca.location": ownCA, "ssl.certificate.location": ownCert, "ssl.key.location": ownKey, // librdkafka
	"tls.truststore": ownCA, "tls.insecure": ownInsecure,
}

// set takes one value and says whether its key means something.
func (s *Settings) set(key, value string) bool {
	key = strings.ToLower(strings.TrimSpace(key))
	if other, ok := aliases[key]; ok {
		key = other
	}
	if !slices.Contains(known, key) {
		return false
	}
	value = strings.TrimSpace(value)
	if key == "bootstrap.servers" {
		s.Brokers = splitBrokers(value)
		return true
	}
	if s.values == nil {
		s.values = map[string]string{}
	}
	s.values[key] = value
	return true
}

func splitBrokers(value string) []string {
	var out []string
	for b := range strings.SplitSeq(value, ",") {
		if b = strings.TrimSpace(b); b != "" && len(out) < brokersMax {
			if _, rest, found := strings.Cut(b, "://"); found { // a listener, as brokers write it
				b = rest
			}
			b = b[strings.LastIndexByte(b, '@')+1:] // a name and password, which no broker's address has, would be printed and recorded
			if _, _, err := net.SplitHostPort(b); err != nil && !strings.HasSuffix(b, ":") {
				b = net.JoinHostPort(strings.Trim(b, "[]"), "9092")
			}
			out = append(out, b)
		}
	}
	return out
}

// Bootstrap overrides the brokers: HOST:PORT, several separated by commas. Without a port it is 9092.
func (s *Settings) Bootstrap(brokers string) { s.Brokers = splitBrokers(brokers) }

// Flag takes one KEY=VALUE as rpk takes it after -X, or with a key of a Java client.
func (s *Settings) Flag(keyValue string) error {
	key, value, found := strings.Cut(keyValue, "=")
	name := strings.ToLower(strings.TrimSpace(key))
	switch {
	case !found:
		return errors.New("want KEY=VALUE, for example brokers=HOST:PORT or user=NAME")
	case !s.set(key, value):
		return fmt.Errorf("unknown key %q: there are %s", key, strings.Join(Keys(), ", "))
	case len(s.Brokers) == 0 && (name == "bootstrap.servers" || aliases[name] == "bootstrap.servers"):
		return fmt.Errorf("%s is empty: is a variable not set?", key)
	}
	return nil
}

// Keys are the keys that Flag knows.
func Keys() []string {
	out := append([]string{"brokers"}, known...)
	return slices.Sorted(slices.Values(out))
}

// Environ takes NAME=VALUE pairs: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_JAAS_CONFIG and the like, rpk's RPK_BROKERS, RPK_USER, and
// its older REDPANDA_BROKERS, REDPANDA_SASL_USERNAME. Other names are left alone.
func (s *Settings) Environ(environ []string) {
	sorted := slices.Sorted(slices.Values(environ)) // RPK_ behind REDPANDA_ behind KAFKA_
	for _, prefix := range []string{"KAFKA_", "REDPANDA_", "RPK_"} {
		for _, pair := range sorted {
			name, value, _ := strings.Cut(pair, "=")
			rest, found := strings.CutPrefix(name, prefix)
			if !found || value == "" {
				continue
			}
			key := strings.ToLower(strings.ReplaceAll(rest, "_", "."))
			s.set(strings.ReplaceAll(key, "insecure.skip.verify", "insecure_skip_verify"), value)
		}
	}
	for _, pair := range sorted {
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN":
			s.set(strings.ToLower(strings.ReplaceAll(name, "_", ".")), value)
		}
	}
}

// File takes a Java client.properties, or rpk's rpk.yaml if its name ends in .yaml or .yml; FILE.yaml#NAME is another profile of it than the
// current one.
func (s *Settings) File(path string) error {
	file, profile := path, ""
	if i := strings.LastIndexByte(path, '#'); i > 0 && isYAML(path[:i]) {
		file, profile = path[:i], path[i+1:]
	}
	b, err := readFile(file)
	switch {
	case err != nil:
		return err
	case isYAML(file):
		err = s.Profile(b, profile)
	default:
		err = s.Properties(b)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func isYAML(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// Properties takes the text of a Java client.properties.
func (s *Settings) Properties(text []byte) error {
	values, err := parseProperties(text)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if isReference(values[key], values["config.providers"] != "") && slices.Contains(known, key) {
			return fmt.Errorf("%s is, or holds, a reference that a config provider would resolve: put its value here, or give it with -X", key)
		}
		if !s.set(key, values[key]) {
			s.Ignored = append(s.Ignored, key)
		}
	}
	return nil
}

// reference is what a config provider resolves, anywhere in a value (Java's ConfigTransformer).
var reference = regexp.MustCompile(`\$\{[^}]*:[^}]*\}`)

// isReference: within a value only where the file names providers, or else it may be a password.
func isReference(value string, providers bool) bool {
	return strings.HasPrefix(value, "${") || providers && reference.MatchString(value)
}

// readFile reads a small file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err == nil && len(b) > fileBytesMax {
		err = fmt.Errorf("%s: more than %d bytes", path, fileBytesMax)
	}
	return b, err
}

// Options gives the options of a Kafka client: seeds, TLS, SASL.
func (s *Settings) Options() ([]kgo.Opt, error) {
	if len(s.Brokers) == 0 {
		return nil, errors.New("no broker to connect to: name one with --bootstrap HOST:PORT")
	}
	if err := s.addresses(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(s.Brokers...)}
	tls, err := s.TLS()
	if err != nil {
		return nil, err
	}
	if tls != nil {
		opts = append(opts, kgo.DialTLSConfig(tls))
	}
	mechanism, err := s.SASL()
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// addresses refuses ports that are none.
func (s *Settings) addresses() error {
	for _, b := range s.Brokers {
		_, port, err := net.SplitHostPort(b)
		if n, notNumber := strconv.ParseUint(port, 10, 16); err != nil || notNumber != nil || n == 0 {
			return fmt.Errorf("broker %q: want HOST:PORT, with a port from 1 to 65535", b)
		}
	}
	return nil
}

// security says what the connection needs. An explicit security.protocol decides, as in Java; without one, what else is given.
func (s *Settings) security() (tls, sasl bool, err error) {
	v := s.values
	switch protocol := strings.ToUpper(v["security.protocol"]); protocol {
	case "PLAINTEXT":
	case "SSL":
		tls = true
	case "SASL_PLAINTEXT":
		sasl = true
	case "SASL_SSL":
		tls, sasl = true, true
	case "":
		tls = v[ownCA] != "" || v[ownCert] != "" || v[ownKey] != "" || v["ssl.truststore.location"] != "" || v["ssl.truststore.certificates"] != ""
		sasl = v["sasl.mechanism"] != "" || v[ownUser] != "" || v["sasl.jaas.config"] != "" || v[ownToken] != ""
	default:
		return false, false, fmt.Errorf("security.protocol %q: allowed: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", protocol)
	}
	if on, given := v[ownTLS]; given {
		if tls, err = boolean(ownTLS, on); err != nil {
			return false, false, err
		}
	}
	return tls, sasl, nil
}

func boolean(key, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "1", "yes":
		return true, nil
	case "false", "0", "no", "":
		return false, nil
	}
	return false, fmt.Errorf("%s: want true or false", key)
}
