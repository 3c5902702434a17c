package explain

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryHorsemanHasAPage(t *testing.T) {
	for _, id := range IDs() {
		page, found := Page(strings.ToLower(id))
		if !found || !strings.HasPrefix(page, "# "+id+" ") {
			t.Fatalf("%s: %.40q", id, page)
		}
		for _, section := range []string{"What it is", "How it is measured", "Confirm by hand", "Repair", "What healthy looks like"} {
			if !strings.Contains(page, "\n## "+section+"\n") {
				t.Errorf("%s has no section %q", id, section)
			}
		}
		if strings.Count(page, "```")%2 != 0 {
			t.Errorf("%s: a block of code does not end", id)
		}
	}
	for _, id := range []string{"", "H", "H9", "../explain.go", "H1.md"} {
		if _, found := Page(id); found {
			t.Errorf("%q has a page", id)
		}
	}
}

// Where the repair is code, it is there for every library; what is a heading in a repair is a library.
func TestEveryLibraryHasItsRepair(t *testing.T) {
	for _, id := range []string{"H1", "H2", "H4b"} {
		page, _ := Page(id)
		for _, library := range Libraries() {
			if !strings.Contains(page, "\n### "+library+"\n") {
				t.Errorf("%s does not speak of %s", id, library)
			}
			if _, found := Snippet(id, library); !found && library != "AWS Lambda and other functions" {
				t.Errorf("%s has no code for %s", id, library)
			}
		}
		for line := range strings.Lines(page) {
			if name, found := strings.CutPrefix(strings.TrimSpace(line), "### "); found && !slices.Contains(Libraries(), name) {
				t.Errorf("%s: no client is recognised as %q", id, name)
			}
		}
	}
	if s, found := Snippet("H1", "Java"); !found || !strings.Contains(s, "new KafkaProducer") || strings.Contains(s, "```") {
		t.Errorf("got %q", s)
	}
	if _, found := Snippet("H1", "COBOL"); found {
		t.Error("a library that is not there has code")
	}
}

func TestClientsAreRecognised(t *testing.T) {
	for software, want := range map[string]string{
		"apache-kafka-java 3.7.0": "Java", "kgo": "franz-go", "confluent-kafka-javascript 1.2": "Node.js", "librdkafka 2.3.0": "librdkafka", "confluent-kafka-python": "Python",
		"Sarama": "Sarama", "confluent-kafka-dotnet": ".NET", "kafka-python 3.0.1": "Python", "": "", "curl": "",
	} {
		if got := Library(software); got != want {
			t.Errorf("%q: want %q, got %q", software, want, got)
		}
	}
	for _, l := range Libraries() {
		if strings.HasPrefix(Idempotence(l), "not known") {
			t.Errorf("%s", l)
		}
	}
}
