package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Type is the type of a key's value, in Kafka's terms.
type Type uint8

// The types in use.
const (
	String Type = iota
	Boolean
	Int    // 32 bits, signed
	Long   // 64 bits, signed
	Double // a finite number
	List   // separated by commas
)

// String names the type as Kafka's documentation does.
func (t Type) String() string {
	return [...]string{"string", "boolean", "int", "long", "double", "list"}[t]
}

// Key is one row of the table.
type Key struct {
	Name     string
	Aliases  []string // other names of Kafka's for the same thing
	Type     Type
	Default  string // canonical text; empty means not set
	Nullable bool   // an empty value means "not set"
	Min, Max int64  // allowed range of a number, both ends included; 0 as Max: what the type holds
	Choices  []string
	Flag     string // name of the key's own command-line flag, if it has one
	Kafka    bool   // the name and the meaning are Kafka's
	// KafkaDefault is Kafka's default where ours differs, and Why says why it differs.
	KafkaDefault, Why string
	// Topic names the topic configuration that this key is the default of.
	Topic string
	// OneBroker is the only value that a single broker can honour: others are accepted, replaced and reported.
	OneBroker string
	// Floor is what a smaller value counts as, if it is more than 0.
	Floor   int64
	Section Section
	Doc     string
}

// Section groups keys in the documentation.
type Section uint8

// The sections, in the order they are documented.
const (
	SectionBroker Section = iota
	SectionNetwork
	SectionTopics
	SectionLog
	SectionCleaner
	SectionProducers
	SectionGroups
	SectionProcess
	sectionCount
)

// String is the section's heading.
func (s Section) String() string {
	return [...]string{"Broker", "Network", "Topics", "Log", "Compaction", "Producers", "Consumer groups", "Process"}[s]
}

// Allowed describes the values that the key takes.
func (k *Key) Allowed() string {
	switch {
	case len(k.Choices) > 0:
		return strings.Join(k.Choices, ", ")
	case k.Type == Boolean:
		return "true, false"
	case k.Type == Int || k.Type == Long:
		low, high := k.bounds()
		if high == math.MaxInt64 || k.Type == Int && high == math.MaxInt32 {
			return fmt.Sprintf("%d and above", low)
		}
		return fmt.Sprintf("%d to %d", low, high)
	case k.Type == Double && k.Max == 0:
		return fmt.Sprintf("%d and above", k.Min)
	case k.Type == Double:
		return fmt.Sprintf("%d to %d", k.Min, k.Max)
	}
	return ""
}

// bounds fills in the end of the range that the type gives.
func (k *Key) bounds() (low, high int64) {
	high = k.Max
	if high == 0 {
		high = math.MaxInt64
		if k.Type == Int {
			high = math.MaxInt32
		}
	}
	return k.Min, high
}

// Env is the environment variable that sets the key.
func (k *Key) Env() string { return envName(k.Name) }

// check answers with the canonical text of a value, and a note if something else will be in force.
func (k *Key) check(text string) (canonical, note string, err error) {
	if text == "" {
		if k.Nullable {
			return "", "", nil
		}
		return "", "", k.invalid(text, k.Allowed())
	}
	switch k.Type {
	case Boolean:
		text = strings.ToLower(text)
		if text != "true" && text != "false" {
			return "", "", k.invalid(text, k.Allowed())
		}
	case Int, Long:
		n, err := strconv.ParseInt(text, 10, 64)
		low, high := k.bounds()
		if err != nil || n < low || n > high {
			allowed := fmt.Sprintf("whole numbers from %d to %d", low, high)
			if high == math.MaxInt64 {
				allowed = fmt.Sprintf("whole numbers, %d and above", low)
			}
			return "", "", k.invalid(text, allowed)
		}
		text = strconv.FormatInt(n, 10)
		if n > 0 && n < k.Floor {
			return strconv.FormatInt(k.Floor, 10), fmt.Sprintf("%s=%s counts as %d", k.Name, text, k.Floor), nil
		}
	case Double:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < float64(k.Min) || k.Max != 0 && f > float64(k.Max) {
			return "", "", k.invalid(text, k.Allowed())
		}
	case String, List:
		if text, err = k.checkChoices(text); err != nil {
			return "", "", err
		}
	}
	if k.OneBroker != "" && text != k.OneBroker {
		return k.OneBroker, fmt.Sprintf("%s=%s needs more than one broker: %s is in force", k.Name, text, k.OneBroker), nil
	}
	return text, "", nil
}

func (k *Key) checkChoices(text string) (string, error) {
	if len(k.Choices) == 0 {
		return text, nil
	}
	items := []string{text}
	if k.Type == List {
		items = splitList(text)
	}
	for i, item := range items {
		match := ""
		for _, choice := range k.Choices {
			if strings.EqualFold(choice, item) {
				match = choice
			}
		}
		if match == "" {
			return "", k.invalid(text, k.Allowed())
		}
		items[i] = match
	}
	return strings.Join(items, ","), nil
}

func (k *Key) invalid(text, allowed string) error {
	return fmt.Errorf("%w: %s=%s: allowed: %s", ErrInvalid, k.Name, strconv.Quote(text), orAnything(allowed))
}

func orAnything(allowed string) string {
	if allowed == "" {
		return "anything but an empty value"
	}
	return allowed
}

func splitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
