package connection

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parseProperties reads the format of java.util.Properties. The text is UTF-8; bytes that are none are taken as ISO 8859-1, which
// is what Java takes.
func parseProperties(text []byte) (map[string]string, error) {
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("more than %d bytes", fileBytesMax)
	}
	s := string(bytes.TrimPrefix(text, []byte("\ufeff")))
	if !utf8.ValidString(s) {
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		s = string(runes)
	}
	out := map[string]string{}
	for n, line := range logicalLines(s) {
		key, value, err := splitProperty(line)
		if err != nil {
			return nil, fmt.Errorf("property %d: %w", n+1, err) // not its text: that may be a secret
		}
		if out[key] = value; len(out) > valuesMax {
			return nil, fmt.Errorf("more than %d keys", valuesMax)
		}
	}
	return out, nil
}

// logicalLines joins lines that end in an odd number of backslashes with the next, and drops comments and blank lines.
func logicalLines(s string) []string {
	var out []string
	var open strings.Builder
	joined := false
	for line := range strings.Lines(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), " \t\f")
		if !joined && (line == "" || line[0] == '#' || line[0] == '!') {
			continue
		}
		body := strings.TrimRight(line, `\`)
		backslashes := len(line) - len(body)
		open.WriteString(line[:len(line)-backslashes%2])
		if joined = backslashes%2 == 1; !joined {
			out = append(out, open.String())
			open.Reset()
		}
	}
	if open.Len() > 0 {
		out = append(out, open.String())
	}
	return out
}

// splitProperty splits at the first separator that is not escaped: white space, then at most one = or :, then white space.
func splitProperty(line string) (key, value string, err error) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte(" \t\f=:", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	if key, err = unescapeProperty(line[:end]); err != nil {
		return "", "", err
	}
	value, err = unescapeProperty(rest)
	return key, value, err
}

func unescapeProperty(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch c := s[i]; c {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 'f':
			out.WriteByte('\f')
		case 'u':
			r, n, err := unicodeEscape(s[i+1:])
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
			i += n
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

// unicodeEscape reads four hexadecimal digits, and a second escape where they are half a surrogate pair.
func unicodeEscape(s string) (r rune, n int, err error) {
	unit := func(s string) (rune, bool) {
		if len(s) < 4 {
			return 0, false
		}
		v, err := strconv.ParseUint(s[:4], 16, 16)
		return rune(v), err == nil
	}
	r, ok := unit(s)
	if !ok {
		return 0, 0, errors.New(`malformed \uXXXX`)
	}
	if utf16.IsSurrogate(r) && len(s) >= 10 && s[4:6] == `\u` {
		if low, ok := unit(s[6:]); ok {
			return utf16.DecodeRune(r, low), 10, nil
		}
	}
	return r, 4, nil
}
