package config

//go:generate go test . -run TestDocumentIsFresh -update

import (
	"fmt"
	"strings"
)

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`<!-- Generated from internal/config/keys.go: go generate ./internal/config -->
# Configuration

Everything has a default: ` + "`ottla`" + ` alone listens on 127.0.0.1:9092 and keeps its data in ` + "`./ottla-data`" + `.

A key can be set in four ways; the first that says something wins:

1. the key's own flag, where it has one, for example ` + "`--data /var/lib/ottla`" + `
2. ` + "`--set key=value`" + `, as often as needed
3. the environment: the key in capitals with underscores, after ` + "`OTTLA_`" + `, for example ` + "`OTTLA_NUM_PARTITIONS=3`" + `
4. a properties file: ` + "`--config FILE`" + ` or ` + "`OTTLA_CONFIG=FILE`" + `

A key that does not exist, or a value that is not allowed, is an error: the process names it and does not start.
A key carries Kafka's name, type and unit wherever the thing is Kafka's. A ` + "`server.properties`" + ` of Kafka's works: its keys that have
no meaning here (` + "`process.roles`" + `, ` + "`zookeeper.connect`" + `, ` + "`num.io.threads`" + `, ...) are named in one warning. A listener that asks for
encryption or authentication is refused, because there is neither yet.
`)
	for s := range sectionCount {
		fmt.Fprintf(&b, "\n## %s\n", s)
		for i := range table {
			if table[i].Section == s {
				table[i].markdown(&b)
			}
		}
	}
	return b.String()
}

func (k *Key) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n", k.Name, k.Doc)
	fmt.Fprintf(b, "- type: %s\n- default: %s\n", k.Type, orNone(k.Default))
	if k.KafkaDefault != "" {
		fmt.Fprintf(b, "- Kafka's default: `%s`. It differs because %s.\n", k.KafkaDefault, k.Why)
	}
	if allowed := k.Allowed(); allowed != "" {
		fmt.Fprintf(b, "- allowed: %s\n", allowed)
	}
	if k.Topic != "" {
		fmt.Fprintf(b, "- default of the topic configuration `%s`\n", k.Topic)
	}
	if len(k.Aliases) > 0 {
		fmt.Fprintf(b, "- also called `%s`\n", strings.Join(k.Aliases, "`, `"))
	}
	if k.Flag != "" {
		fmt.Fprintf(b, "- flag: `--%s`\n", k.Flag)
	}
	fmt.Fprintf(b, "- environment: `%s`\n", k.Env())
}

func orNone(value string) string {
	if value == "" {
		return "not set"
	}
	return "`" + value + "`"
}

const helpWidth = 100

// Help lists all keys for the terminal, for `ottla serve --help`.
func Help() string {
	var b strings.Builder
	b.WriteString("Configuration keys, for --set, the file and the environment (OTTLA_ and the key in capitals with underscores):\n")
	for s := range sectionCount {
		fmt.Fprintf(&b, "\n%s\n", s)
		for i := range table {
			k := &table[i]
			if k.Section != s {
				continue
			}
			fmt.Fprintf(&b, "  %s", k.Name)
			if k.Default != "" {
				fmt.Fprintf(&b, "=%s", k.Default)
			}
			if k.Flag != "" {
				fmt.Fprintf(&b, "  (--%s)", k.Flag)
			}
			b.WriteByte('\n')
			wrap(&b, k.Doc, "      ")
		}
	}
	return b.String()
}

// wrap writes text in lines of at most helpWidth.
func wrap(b *strings.Builder, text, indent string) {
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len(word) > helpWidth:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
