package connection

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rpkFile is what matters of rpk's rpk.yaml, and of a redpanda.yaml of before profiles.
type rpkFile struct {
	Current  string `yaml:"current_profile"`
	Profiles []struct {
		Name  string      `yaml:"name"`
		Kafka rpkKafkaAPI `yaml:"kafka_api"`
	} `yaml:"profiles"`
	RPK struct {
		Kafka rpkKafkaAPI `yaml:"kafka_api"`
	} `yaml:"rpk"`
}

type rpkKafkaAPI struct {
	Brokers []string `yaml:"brokers"`
	TLS     *struct {
		Enabled  string `yaml:"enabled"`
		CA       string `yaml:"ca_file"`
		CAOld    string `yaml:"truststore_file"`
		Cert     string `yaml:"cert_file"`
		Key      string `yaml:"key_file"`
		Insecure string `yaml:"insecure_skip_verify"`
	} `yaml:"tls"`
	SASL *struct {
		User      string `yaml:"user"`
		Password  string `yaml:"password"`
		Mechanism string `yaml:"mechanism"`
		Type      string `yaml:"type"`
	} `yaml:"sasl"`
}

// Profile takes the text of an rpk.yaml. Without a name the profile is the one that the file calls current.
func (s *Settings) Profile(text []byte, name string) error {
	var file rpkFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		return errors.New("not a profile of rpk") // not why: the library's errors show values
	}
	if len(file.Profiles) == 0 {
		if len(file.RPK.Kafka.Brokers) == 0 {
			return errors.New("no profile of rpk in it")
		}
		s.takeProfile(&file.RPK.Kafka)
		return nil
	}
	if name == "" {
		name = file.Current
	}
	for i := range file.Profiles {
		if p := &file.Profiles[i]; p.Name == name || name == "" && len(file.Profiles) == 1 {
			s.takeProfile(&p.Kafka)
			return nil
		}
	}
	return fmt.Errorf("no profile %q in it", name)
}

func (s *Settings) takeProfile(p *rpkKafkaAPI) {
	given := func(key, value string) {
		if value != "" {
			s.set(key, value)
		}
	}
	given("brokers", strings.Join(p.Brokers, ","))
	if t := p.TLS; t != nil { // "tls: {}" means yes
		s.set(ownTLS, "true")
		given(ownTLS, t.Enabled)
		given(ownCA, t.CAOld)
		given(ownCA, t.CA)
		given(ownCert, t.Cert)
		given(ownKey, t.Key)
		given(ownInsecure, t.Insecure)
	}
	if a := p.SASL; a != nil {
		given(ownUser, a.User)
		given(ownPass, a.Password)
		given("sasl.mechanism", a.Type)
		given("sasl.mechanism", a.Mechanism)
	}
}
