package connection

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SASL is how to log in; nil: not at all.
func (s *Settings) SASL() (sasl.Mechanism, error) {
	_, on, err := s.security()
	if err != nil || !on {
		return nil, err
	}
	var login jaas
	if text := s.values["sasl.jaas.config"]; text != "" {
		if login, err = parseJAAS(text); err != nil {
			return nil, err
		}
	}
	user, pass := login.options["username"], login.options["password"]
	if v, ok := s.values[ownUser]; ok {
		user = v
	}
	if v, ok := s.values[ownPass]; ok {
		pass = v
	}
	mechanism := strings.ToUpper(s.values["sasl.mechanism"])
	if mechanism == "" {
		mechanism = mechanismOf(login.module)
	}
	switch mechanism {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		if user == "" || pass == "" {
			return nil, fmt.Errorf("%s wants a user and a password: sasl.jaas.config, or -X user=NAME -X pass=PASSWORD", mechanism)
		}
	}
	switch mechanism {
	case "PLAIN":
		return plain.Auth{User: user, Pass: pass}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return s.scram(user, pass, login).AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return s.scram(user, pass, login).AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		return s.bearer(pass)
	case "AWS_MSK_IAM":
		return s.aws()
	case "":
		return nil, errors.New("sasl.mechanism is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM")
	}
	return nil, fmt.Errorf("sasl.mechanism %q is not supported: there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM", mechanism)
}

// mechanismOf is the mechanism that only one login module has.
func mechanismOf(module string) string {
	switch module {
	case "PlainLoginModule":
		return "PLAIN"
	case "OAuthBearerLoginModule":
		return "OAUTHBEARER"
	case "IAMLoginModule":
		return "AWS_MSK_IAM"
	}
	return ""
}

func (s *Settings) scram(user, pass string, login jaas) scram.Auth {
	return scram.Auth{User: user, Pass: pass, IsToken: strings.EqualFold(login.options["tokenauth"], "true")}
}

// bearer takes a token as it is, as rpk does ("pass=token:..."), or from a file: URL, as Java does. It asks no token endpoint.
func (s *Settings) bearer(pass string) (sasl.Mechanism, error) {
	token := s.values[ownToken]
	if rest, ok := strings.CutPrefix(pass, "token:"); ok && token == "" {
		token = rest
	}
	if endpoint := s.values["sasl.oauthbearer.token.endpoint.url"]; endpoint != "" && token == "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "file" {
			return nil, errors.New("OAUTHBEARER: token endpoints are not asked: fetch a token and give it with -X token=TOKEN, or a file: URL of it")
		}
		b, err := readFile(u.Path)
		if err != nil {
			return nil, fmt.Errorf("OAUTHBEARER: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	if token == "" {
		return nil, errors.New("OAUTHBEARER wants a token: -X token=TOKEN")
	}
	return oauth.Auth{Token: token}.AsMechanism(), nil
}

// aws takes the credentials of AWS_ACCESS_KEY_ID and its fellows.
func (s *Settings) aws() (sasl.Mechanism, error) {
	a := aws.Auth{AccessKey: s.values[ownAWSKey], SecretKey: s.values[ownAWSSecret], SessionToken: s.values[ownAWSToken], UserAgent: "ottla"}
	if a.AccessKey == "" || a.SecretKey == "" {
		return nil, errors.New("AWS_MSK_IAM wants AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
	}
	return a.AsManagedStreamingIAMMechanism(), nil
}
