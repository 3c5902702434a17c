package connection

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestProperties(t *testing.T) {
	for _, c := range []struct{ name, text, key, want string }{
		{"equals", "a=b", "a", "b"},
		{"spaces", "  a \t=  b c ", "a", "b c "},
		{"colon", "a:b", "a", "b"},
		{"blank as separator", "a b", "a", "b"},
		{"only the first separator counts", "a = = b", "a", "= b"},
		{"comments", "# a=1\n! a=2\n  # a=3\na=4\n", "a", "4"},
		{"no value", "a", "a", ""},
		{"the last one wins", "a=1\na=2", "a", "2"},
		{"continued", "a=one \\\n    two \\\n\tthree\nb=4", "a", "one two three"},
		{"continued by an odd number only", "a=one\\\\\nb=2", "a", `one\`},
		{"a comment sign in a continued line", "a=one\\\n# two", "a", "one# two"},
		{"CR LF", "a=1\r\nb=2\r\n", "b", "2"},
		{"escapes", `a=\t\n\r\f\q\\`, "a", "\t\n\r\fq\\"},
		{"escaped separators", `a\=b\:c\ d = e`, "a=b:c d", "e"},
		{"Unicode", `a=caf\u00e9 \ud83d\ude00`, "a", "café 😀"},
		{"half a surrogate pair", `a=\ud83dx`, "a", "\ufffdx"},
		{"ISO 8859-1", "a=caf\xe9", "a", "café"},
		{"UTF-8 with a mark", "\ufeffa=café", "a", "café"},
		{"continued at the end", `a=b\`, "a", "b"},
	} {
		got, err := parseProperties([]byte(c.text))
		if err != nil || got[c.key] != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	for name, text := range map[string]string{
		"short escape": `a=\u12`, "no hexadecimal": `a=\uzzzz`, "large": strings.Repeat("#", fileBytesMax+1), "many": manyKeys(),
	} {
		if _, err := parseProperties([]byte(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func manyKeys() string {
	var b strings.Builder
	for i := range valuesMax + 1 {
		b.WriteString(strings.Repeat("k", 1+i%50))
		b.WriteByte(byte('a' + i%26))
		b.WriteString(string(rune(0x4e00+i)) + "\n")
	}
	return b.String()
}

func TestJAAS(t *testing.T) {
	for _, c := range []struct {
		text, module string
		options      map[string]string
	}{
		{`org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="al\"ice;=1";`, "PlainLoginModule",
			map[string]string{"username": "alice", "password": `al"ice;=1`}},
		{"  a.b.ScramLoginModule\n required\n username=bob password='it is' tokenauth=true ; other required;", "ScramLoginModule",
			map[string]string{"username": "bob", "password": "it is", "tokenauth": "true"}},
		{`X REQUIRED;`, "X", map[string]string{}},
		{`X required a="\101\n\tz\400";`, "X", map[string]string{"a": "A\n\tz 0"}},
		{`X required a="é";`, "X", map[string]string{"a": "é"}},
	} {
		got, err := parseJAAS(c.text)
		if err != nil || got.module != c.module || !reflect.DeepEqual(got.options, c.options) {
			t.Errorf("%s: %q %v", c.text, got, err)
		}
	}
	for _, text := range []string{
		"", "X", "X required", `X required password="hunter2"`, `X required password="hunter2`, `X required hunter2;`, `X required hunter2=;`,
		`X maybe password="hunter2";`, `X required password=="hunter2";`, `X required password "hunter2";`,
	} {
		if got, err := parseJAAS(text); err == nil {
			t.Errorf("%s: %q", text, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the secret: %v", text, err)
		}
	}
}

const scramProperties = `
bootstrap.servers = kafka1.example.com:9093, SASL_SSL://kafka2.example.com:9094,kafka3.example.com,[::1]:9092
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
    username="alice" \
    password="hunter2";
request.timeout.ms=1000
`

func TestSources(t *testing.T) {
	s := &Settings{}
	s.Environ([]string{"RPK_BROKERS=c:3", "KAFKA_BOOTSTRAP_SERVERS=a:1", "REDPANDA_BROKERS=b:2", "KAFKA_HEAP_OPTS=-Xmx1g", "HOME=/root", "RPK_USER=", "RPK_TLS_INSECURE_SKIP_VERIFY=true"})
	if want := []string{"c:3"}; !reflect.DeepEqual(s.Brokers, want) || s.values[ownInsecure] != "true" || len(s.values) != 1 {
		t.Errorf("environment: %v %v", s.Brokers, s.values)
	}
	if err := s.Properties([]byte(scramProperties)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"kafka1.example.com:9093", "kafka2.example.com:9094", "kafka3.example.com:9092", "[::1]:9092"}; !reflect.DeepEqual(s.Brokers, want) {
		t.Errorf("properties: %q", s.Brokers)
	}
	if want := []string{"request.timeout.ms"}; !reflect.DeepEqual(s.Ignored, want) {
		t.Errorf("ignored: %q", s.Ignored)
	}
	if m, err := s.SASL(); err != nil || m.Name() != "SCRAM-SHA-512" {
		t.Errorf("%v, %v", m, err)
	}
	for _, x := range []string{"sasl.mechanism=PLAIN", "brokers=d:4,e:5", "user=bob"} {
		if err := s.Flag(x); err != nil {
			t.Error(err)
		}
	}
	if m, err := s.SASL(); err != nil || m.Name() != "PLAIN" {
		t.Errorf("%v, %v", m, err)
	}
	if want := []string{"d:4", "e:5"}; !reflect.DeepEqual(s.Brokers, want) {
		t.Errorf("flags: %q", s.Brokers)
	}
	s.Bootstrap("bob:hunter2@g:7,SASL_SSL://bob:hunter2@h") // what is printed and recorded
	if want := []string{"g:7", "h:9092"}; !reflect.DeepEqual(s.Brokers, want) {
		t.Errorf("with a password: %q", s.Brokers)
	}
	s.Bootstrap("f")
	if opts, err := s.Options(); err != nil || len(opts) != 3 || s.Brokers[0] != "f:9092" {
		t.Errorf("%d options for %v, %v", len(opts), s.Brokers, err)
	}
	for _, x := range []string{"tea=1", "brokers", "=", ""} {
		if s.Flag(x) == nil {
			t.Errorf("-X %q was taken", x)
		}
	}
}

func TestSASL(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("ey.ab.cd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const bearer = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
	for _, c := range []struct {
		name  string
		flags []string
		want  string // the mechanism, or what the error says after "!"
	}{
		{"nothing", nil, ""},
		{"plaintext decides", []string{"security.protocol=PLAINTEXT", "user=a", "pass=b", "sasl.mechanism=PLAIN"}, ""},
		{"scram", []string{"user=a", "pass=b", "sasl.mechanism=scram-sha-256"}, "SCRAM-SHA-256"},
		{"no mechanism", []string{"user=a", "pass=hunter2"}, "!sasl.mechanism is missing"},
		{"mechanism of the module", []string{`sasl.jaas.config=a.PlainLoginModule required username="a" password="b";`}, "PLAIN"},
		{"no password", []string{"user=a", "sasl.mechanism=PLAIN"}, "!wants a user and a password"},
		{"Kerberos", []string{"sasl.mechanism=GSSAPI"}, "!not supported"},
		{"a token", []string{"sasl.mechanism=OAUTHBEARER", "token=x"}, "OAUTHBEARER"},
		{"a token as rpk has it", []string{"sasl.mechanism=OAUTHBEARER", "pass=token:x"}, "OAUTHBEARER"},
		{"a token in a file", []string{"sasl.jaas.config=" + bearer, "sasl.oauthbearer.token.endpoint.url=file://" + token}, "OAUTHBEARER"},
		{"a token in no file", []string{"sasl.jaas.config=" + bearer, "sasl.oauthbearer.token.endpoint.url=file:///no/such"}, "!no such file"},
		{"a token's endpoint", []string{"sasl.jaas.config=" + bearer, "sasl.oauthbearer.token.endpoint.url=https://id.example.com/token"}, "!not asked"},
		{"no token", []string{"sasl.mechanism=OAUTHBEARER"}, "!wants a token"},
		{"IAM without credentials", []string{"sasl.mechanism=AWS_MSK_IAM"}, "!AWS_ACCESS_KEY_ID"},
		{"IAM", []string{"sasl.mechanism=AWS_MSK_IAM", "aws.access.key.id=a", "aws.secret.access.key=b"}, "AWS_MSK_IAM"},
		{"broken JAAS", []string{"sasl.mechanism=PLAIN", `sasl.jaas.config=X required password="hunter2`}, "!not closed"},
		{"protocol", []string{"security.protocol=SASL"}, "!allowed"},
		{"boolean", []string{"tls.enabled=maybe"}, "!true or false"},
	} {
		s := &Settings{}
		for _, x := range c.flags {
			if err := s.Flag(x); err != nil {
				t.Fatal(err)
			}
		}
		m, err := s.SASL()
		switch got := ""; {
		case err != nil && (!strings.HasPrefix(c.want, "!") || !strings.Contains(err.Error(), c.want[1:]) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: %v", c.name, err)
		case err == nil:
			if m != nil {
				got = m.Name()
			}
			if got != c.want {
				t.Errorf("%s: %q", c.name, got)
			}
		}
	}
}

func TestFileErrors(t *testing.T) {
	s := &Settings{}
	if err := s.File("/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	const inside = "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=u password=\"${file:/etc/secrets:pass}\";\n"
	if err := s.Properties([]byte(inside + "config.providers=file")); err == nil || !strings.Contains(err.Error(), "config provider") {
		t.Error(err)
	}
	if err := s.Properties([]byte(inside)); err != nil {
		t.Errorf("without providers it is a password: %v", err)
	}
	if err := s.Properties([]byte("sasl.jaas.config=${file:/etc/secrets:jaas}")); err == nil || !strings.Contains(err.Error(), "config provider") {
		t.Error(err)
	}
	if _, err := s.Options(); err == nil {
		t.Error("no brokers, no error")
	}
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, make([]byte, fileBytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.File(path); err == nil {
		t.Error("a large file was read")
	}
}

const rpkProfiles = `
version: 7
current_profile: prod
profiles:
    - name: dev
      kafka_api:
        brokers: [127.0.0.1:9092]
    - name: prod
      description: example
      kafka_api:
        brokers:
            - seed-1.example.com:9092
            - seed-2.example.com:9093
        tls: {}
        sasl:
            user: alice
            password: hunter2
            mechanism: SCRAM-SHA-256
      admin_api:
        addresses: [127.0.0.1:9644]
    - name: mutual
      kafka_api:
        brokers: [c:1]
        tls: {ca_file: /no/such/ca.pem, insecure_skip_verify: true, enabled: true}
`

func TestRPKProfiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rpk.yaml")
	if err := os.WriteFile(path, []byte(rpkProfiles), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Settings{}
	if err := s.File(path); err != nil {
		t.Fatal(err)
	}
	if want := []string{"seed-1.example.com:9092", "seed-2.example.com:9093"}; !reflect.DeepEqual(s.Brokers, want) {
		t.Errorf("brokers %v", s.Brokers)
	}
	m, err := s.SASL()
	config, tlsErr := s.TLS()
	if err != nil || m.Name() != "SCRAM-SHA-256" || tlsErr != nil || config == nil {
		t.Errorf("%v %v, %v %v", m, err, config, tlsErr)
	}
	other := &Settings{}
	if err := other.File(path + "#mutual"); err != nil || other.values[ownInsecure] != "true" || other.values[ownCA] != "/no/such/ca.pem" {
		t.Errorf("%v %v", err, other.values)
	}
	if err := other.File(path + "#none"); err == nil {
		t.Error("a profile that is not there was found")
	}
	old := &Settings{}
	if err := old.Profile([]byte("rpk: {kafka_api: {brokers: [a:1], sasl: {user: u, password: p, type: SCRAM-SHA-512}, tls: {truststore_file: t, enabled: false}}}"), ""); err != nil {
		t.Fatal(err)
	}
	if tls, sasl, err := old.security(); tls || !sasl || err != nil || old.values["sasl.mechanism"] != "SCRAM-SHA-512" {
		t.Errorf("%v %v %v %v", tls, sasl, err, old.values)
	}
	for _, text := range []string{"", "[", "profiles: hunter2", "a: b", "profiles: [{kafka_api: {sasl: hunter2}}]"} {
		if err := (&Settings{}).Profile([]byte(text), ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add([]byte(rpkProfiles))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Settings{}
		if s.Profile(text, "") == nil {
			_, _ = s.SASL()
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte(scramProperties))
	f.Add([]byte("a\\\n=b\\u0041\\\\\n!c\r\rd:e\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseProperties(text)
		if err != nil {
			return
		}
		for k, v := range values {
			if len(k)+len(v) > 4*len(text)+16 {
				t.Errorf("%d bytes became a key of %d and a value of %d", len(text), len(k), len(v))
			}
		}
		s := &Settings{}
		if s.Properties(text) == nil {
			_, _ = s.SASL()
		}
	})
}

func FuzzJAAS(f *testing.F) {
	f.Add(`org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="a\"b\101;";`)
	f.Add(`X optional a='b' c=d; Y required;`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseJAAS(text)
		if err == nil && got.options == nil {
			t.Error("no options")
		}
	})
}
