package diagnose

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"ottla/internal/investigate/evidence"
)

// quote makes one word of a POSIX shell out of a name. Names come from strangers: what moves a cursor or cannot be seen is written
// with escapes ($'...', which bash, zsh and ksh know), so that what is pasted is what is read.
func quote(name string) string {
	plain, graphic := name != "" && name[0] != '=', true // zsh takes =x for a path
	for _, r := range name {
		if r < ' ' || r > '~' || r == utf8.RuneError {
			graphic = false
		}
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@,+-=", r) {
			plain = false
		}
	}
	switch {
	case plain:
		return name
	case graphic:
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	var out strings.Builder
	out.WriteString("$'")
	for i := range len(name) {
		switch b := name[i]; {
		case b == '\'' || b == '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case b < ' ' || b > '~':
			out.WriteString(`\` + octal(b))
		default:
			out.WriteByte(b)
		}
	}
	return out.String() + "'"
}

// octal has always three digits: a following digit is not part of it.
func octal(b byte) string { return strconv.FormatInt(int64(b)+0o1000, 8)[1:] }

// value is an option's argument with what parts it from its option. One that begins with a dash would be taken for an option.
func value(name string) string {
	if strings.HasPrefix(name, "-") {
		return "=" + quote(name)
	}
	return " " + quote(name)
}

// topicPattern is a topic's name where Kafka's scripts take a regular expression: payments.audit would also be paymentsXaudit.
func topicPattern(name string) string { return regexp.QuoteMeta(name) }

// place is where a cluster runs, if its brokers' names tell, because settings of brokers are made elsewhere there.
type place struct {
	name               string
	cluster, namespace string // of Strimzi
}

var strimziHost = regexp.MustCompile(`\.([a-z0-9][a-z0-9.-]*)-kafka-brokers\.([a-z0-9][a-z0-9-]*)\.svc`)

const (
	placeStrimzi   = "Strimzi"
	placeMSK       = "Amazon MSK"
	placeConfluent = "Confluent Cloud"
	placeAiven     = "Aiven"
	placeEventHubs = "Azure Event Hubs"
)

func placeOf(brokers []evidence.Broker) place {
	for i := range brokers {
		host := strings.ToLower(brokers[i].Host)
		if m := strimziHost.FindStringSubmatch(host); m != nil {
			return place{placeStrimzi, m[1], m[2]}
		}
		for suffix, name := range map[string]string{
			".amazonaws.com": placeMSK, ".confluent.cloud": placeConfluent, ".aivencloud.com": placeAiven, ".servicebus.windows.net": placeEventHubs,
		} {
			if strings.HasSuffix(host, suffix) && (name != placeMSK || strings.Contains(host, ".kafka")) {
				return place{name: name}
			}
		}
	}
	return place{}
}

// elsewhere says where settings of brokers are made, if not with Kafka's own means.
func (p place) elsewhere(key string) string {
	switch p.name {
	case placeStrimzi:
		return "the cluster is Strimzi's: set it in the Kafka resource, or the operator's next pass may take it back"
	case placeMSK:
		return "on Amazon MSK put " + key + " into the cluster's configuration (aws kafka update-cluster-configuration), where it allows this key"
	case placeConfluent, placeAiven, placeEventHubs:
		return "on " + p.name + " settings of brokers are made by the provider: ask for this one, with the report"
	}
	return ""
}
