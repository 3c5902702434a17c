package config

import (
	"fmt"
	"strconv"
	"strings"
)

type property struct {
	name, value string
	line        int // of the first physical line, from 1
}

// parseProperties reads Java's .properties format: '#' and '!' comments, '=', ':' or blanks between key and
// value, a backslash at the end of a line to continue it, and escapes. Later lines override earlier ones
// in the order returned.
func parseProperties(data []byte) ([]property, error) {
	var out []property
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\r", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		first := i + 1
		text := strings.TrimLeft(lines[i], " \t\f")
		if text == "" || text[0] == '#' || text[0] == '!' {
			continue
		}
		var logical strings.Builder
		for continues(text) && i+1 < len(lines) {
			logical.WriteString(text[:len(text)-1])
			i++
			text = strings.TrimLeft(lines[i], " \t\f")
		}
		if continues(text) {
			text = text[:len(text)-1]
		}
		logical.WriteString(text)
		name, value, err := splitProperty(logical.String())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first, err)
		}
		out = append(out, property{name, value, first})
	}
	return out, nil
}

// continues reports whether a line ends in an odd number of backslashes.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

func splitProperty(line string) (name, value string, err error) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=: \t\f", rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	if name, err = unescape(line[:end]); err != nil {
		return "", "", err
	}
	if name == "" {
		return "", "", fmt.Errorf("%w: no key before %q", ErrSyntax, rest)
	}
	value, err = unescape(rest)
	return name, value, err
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+5 > len(s) {
				return "", fmt.Errorf("%w: \\u needs four hexadecimal digits", ErrSyntax)
			}
			code, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", fmt.Errorf("%w: \\u%s is not a character", ErrSyntax, s[i+1:i+5])
			}
			b.WriteRune(rune(code))
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}
