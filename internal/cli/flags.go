package cli

import (
	"errors"
	"regexp"
	"strings"

	"ottla/internal/config"
)

// keyFlag is the command-line flag of a configuration key. Its value is checked with all others, when the layers are merged.
type keyFlag struct {
	key   *config.Key
	items []string
}

// Set implements pflag.Value. A list grows with every use, anything else is replaced.
func (f *keyFlag) Set(text string) error {
	if f.key.Type != config.List {
		f.items = f.items[:0]
	}
	f.items = append(f.items, text)
	return nil
}

// String implements pflag.Value.
func (f *keyFlag) String() string { return strings.Join(f.items, ",") }

// Type implements pflag.Value: the placeholder in the help.
func (f *keyFlag) Type() string {
	switch f.key.Flag {
	case "listen", "advertise":
		return "[NAME=]HOST:PORT"
	case "http":
		return "HOST:PORT"
	case "data":
		return "DIR"
	}
	return strings.Join(f.key.Choices, "|")
}

// help is the first sentence of the key's documentation.
func (f *keyFlag) help() string {
	text, _, _ := strings.Cut(f.key.Doc, ". ")
	text = strings.TrimSuffix(text, ".")
	if f.key.Type == config.List {
		text += "; repeatable"
	}
	if f.key.Default != "" {
		text += " (default " + f.key.Default + ")"
	}
	return text
}

// goErrors are the words of Go's parsers in the errors of flags, and what is said instead.
var goErrors = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`: strconv\.ParseBool: parsing ".*": invalid syntax$`), ": want true or false"},
	{regexp.MustCompile(`: strconv\.\w+: parsing ".*": value out of range$`), ": the number is too large or too small"},
	{regexp.MustCompile(`: strconv\.\w+: parsing ".*": invalid syntax$`), ": want a number"},
	{regexp.MustCompile(`: time: .*$`), ": want a duration such as 30s or 5m"},
}

// flagError puts what is wrong with a flag into words that name no part of Go.
func flagError(err error) error {
	text := err.Error()
	for _, g := range goErrors {
		if g.pattern.MatchString(text) {
			return errors.New(g.pattern.ReplaceAllLiteralString(text, g.text))
		}
	}
	return err
}
