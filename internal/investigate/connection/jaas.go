package connection

import (
	"errors"
	"fmt"
	"strings"
)

// jaas is one login module of sasl.jaas.config.
type jaas struct {
	module  string // the class's last name: "PlainLoginModule"
	options map[string]string
}

// parseJAAS reads `CLASS FLAG key="value" ...;`, as Kafka's JaasConfig does: the first entry counts. Errors never show values.
func parseJAAS(s string) (jaas, error) {
	out := jaas{options: map[string]string{}}
	tokens, err := jaasTokens(s)
	if err != nil {
		return out, err
	}
	if len(tokens) < 3 {
		return out, errors.New("sasl.jaas.config: want CLASS required KEY=\"VALUE\" ... ;")
	}
	out.module = tokens[0].text[strings.LastIndexByte(tokens[0].text, '.')+1:]
	switch flag := strings.ToLower(tokens[1].text); flag {
	case "required", "requisite", "sufficient", "optional":
	default:
		return out, errors.New("sasl.jaas.config: the word after the class must be required, requisite, sufficient or optional")
	}
	for i := 2; i < len(tokens); i += 3 {
		if tokens[i].is(";") {
			return out, nil
		}
		if i+2 >= len(tokens) || !tokens[i+1].is("=") {
			return out, fmt.Errorf("sasl.jaas.config: option %d has no value", (i-2)/3+1)
		}
		out.options[tokens[i].text] = tokens[i+2].text
	}
	return out, errors.New("sasl.jaas.config: it does not end in ;")
}

type jaasToken struct {
	text   string
	quoted bool
}

func (t jaasToken) is(s string) bool { return !t.quoted && t.text == s }

// jaasTokens splits into words, quoted strings, = and ;.
func jaasTokens(s string) ([]jaasToken, error) {
	var out []jaasToken
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case strings.IndexByte(" \t\r\n\f", c) >= 0:
			i++
		case c == '=' || c == ';':
			out = append(out, jaasToken{text: string(c)})
			i++
		case c == '"' || c == '\'':
			text, n, err := jaasQuoted(s[i:])
			if err != nil {
				return nil, err
			}
			out = append(out, jaasToken{text, true})
			i += n
		default:
			end := i
			for end < len(s) && strings.IndexByte(" \t\r\n\f=;\"'", s[end]) < 0 {
				end++
			}
			out = append(out, jaasToken{text: s[i:end]})
			i = end
		}
		if len(out) > valuesMax {
			return nil, errors.New("sasl.jaas.config: too long")
		}
	}
	return out, nil
}

// jaasQuoted reads a quoted string with the escapes of java.io.StreamTokenizer; n is its length with the quotes.
func jaasQuoted(s string) (text string, n int, err error) {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return out.String(), i + 1, nil
		case c == '\\' && i+1 < len(s):
			i++
			if v, digits := octal(s[i:]); digits > 0 {
				out.WriteRune(v)
				i += digits - 1
			} else if j := strings.IndexByte("abfnrtv", s[i]); j >= 0 {
				out.WriteByte("\a\b\f\n\r\t\v"[j])
			} else {
				out.WriteByte(s[i])
			}
		default:
			out.WriteByte(c)
		}
	}
	return "", 0, errors.New("sasl.jaas.config: a quote is not closed")
}

// octal reads up to three octal digits, at most \377.
func octal(s string) (v rune, digits int) {
	for digits < len(s) && digits < 3 && s[digits] >= '0' && s[digits] <= '7' {
		if next := v*8 + rune(s[digits]-'0'); next > 0o377 {
			break
		} else {
			v = next
		}
		digits++
	}
	return v, digits
}
