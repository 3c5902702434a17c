// Package connection turns what administrators already have (a Java client.properties, an rpk profile, environment
// variables, flags) into options of a Kafka client. It owns the parsing of these files and the building of TLS and SASL.
//
// It must not connect to anything, and never puts a secret into an error, a log line or a printed form.
package connection

import "github.com/twmb/franz-go/pkg/kgo"

// Settings are where and how to connect, from one or several sources, later ones winning.
type Settings struct {
	Brokers []string
	// Ignored are keys of the files that mean nothing here, for a note to the user.
	Ignored []string
}

// Options gives the options of a Kafka client: seeds, TLS, SASL.
func (s *Settings) Options() ([]kgo.Opt, error) { return nil, nil }
