// Package explain holds one page for each horseman of a producer leak: what it is, how it is measured, how to confirm it by hand,
// how it is repaired in each client library, and what healthy looks like. It owns the words and nothing else.
//
// It must not know a cluster, a verdict or a terminal. Pages are Markdown that reads well as it is.
package explain

import (
	"embed"
	"strings"
)

//go:embed pages/*.md
var pages embed.FS

// ids in the order of a verdict's horsemen.
var ids = []string{"H1", "H2", "H3", "H4", "H4b", "H5"}

// IDs are the horsemen that have a page, in the order in which a verdict lists them.
func IDs() []string { return append([]string(nil), ids...) }

// Page is the page of a horseman, as Markdown; false if there is none of that name. Case does not matter.
func Page(id string) (string, bool) {
	for _, known := range ids {
		if strings.EqualFold(id, known) {
			text, err := pages.ReadFile("pages/" + known + ".md")
			return string(text), err == nil
		}
	}
	return "", false
}

// Title is the first line of a horseman's page without its mark; empty if there is none of that name.
func Title(id string) string {
	text, _ := Page(id)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "#"))
}

// libraries are the sections of pages, in the order of the pages, and by which names clients of theirs go: ApiVersions has a client
// software name since KIP-511, logs and people have others. idempotence says whether it is on without
// being asked for.
var libraries = []struct {
	name        string
	known       []string // in lower case; the first that is contained in a name decides, so the special come before the general
	idempotence string
}{
	{"Spring Kafka", []string{"spring"}, "on by default with kafka-clients 3.0.1, 3.1.1, 3.2 and later"},
	{"Flink", []string{"flink"}, "on by default with kafka-clients 3.0.1, 3.1.1, 3.2 and later"},
	{"Python", []string{"confluent-kafka-python", "aiokafka", "kafka-python", "python"}, "off by default, except in kafka-python 3.0 and later"},
	{".NET", []string{"confluent-kafka-dotnet", "dotnet", ".net", "csharp"}, "off by default"},
	{"Node.js", []string{"kafkajs", "confluent-kafka-javascript", "node-rdkafka", "@platformatic/kafka", "node"}, "off by default"},
	{"Ruby", []string{"ruby", "karafka", "waterdrop"}, "off by default"},
	{"Sarama", []string{"sarama"}, "off by default"},
	{"franz-go", []string{"kgo", "franz"}, "on by default"},
	{"AWS Lambda and other functions", []string{"lambda", "faas"}, "that of the library"},
	{"Java", []string{"apache-kafka-java", "java"}, "on by default since 3.0.1, 3.1.1 and 3.2"},
	{"librdkafka", []string{"librdkafka", "rdkafka"}, "off by default"},
}

// Library is the name of the section of a client library, found in what a client says of itself ("apache-kafka-java 3.7.0", "kgo");
// empty if it is none that has one.
func Library(software string) string {
	software = strings.ToLower(software)
	for _, l := range libraries {
		for _, known := range l.known {
			if strings.Contains(software, known) {
				return l.name
			}
		}
	}
	return ""
}

// Libraries are the names of all sections of client libraries.
func Libraries() []string {
	var out []string
	for _, l := range libraries {
		out = append(out, l.name)
	}
	return out
}

// Idempotence says whether a library's producers are idempotent without being asked to; the name is one of Library's.
func Idempotence(library string) string {
	for _, l := range libraries {
		if l.name == library {
			return l.idempotence
		}
	}
	return "not known for this library"
}

// Snippet is the repair on a horseman's page for a library, without its fences; the name is one of Library's. False if the page
// has none.
func Snippet(id, library string) (string, bool) {
	page, found := Page(id)
	if !found || library == "" {
		return "", false
	}
	inside, code := false, false
	var out []string
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case !code && strings.HasPrefix(line, "#"):
			inside = strings.TrimSpace(strings.TrimLeft(line, "#")) == library
		case inside && code && strings.HasPrefix(line, "```"):
			return strings.Join(out, "\n"), true
		case strings.HasPrefix(line, "```"):
			code = !code
		case inside && code:
			out = append(out, line)
		}
	}
	return "", false
}
