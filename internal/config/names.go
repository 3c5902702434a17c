package config

import (
	_ "embed"
	"strings"
)

// Every key of Kafka 4.3's broker, and keys of older versions that still stand in many
// server.properties files. Names only: they tell "Kafka's, but not ours" from a typing error.
var (
	//go:embed kafka_4_3_keys.txt
	kafkaKeys string
	//go:embed kafka_older_keys.txt
	kafkaOlderKeys string
)

// Families of keys that Kafka accepts without listing them: settings of one listener and of plug-ins.
var kafkaPrefixes = []string{"listener.name.", "config.providers.", "rlmm.config.", "rsm.config.", "super.users", "allow.everyone.if.no.acl.found"}

// securityPrefixes begin the keys of Kafka's by which somebody is kept from something.
var securityPrefixes = []string{"authorizer.", "sasl.", "ssl.", "delegation.token.", "super.users", "allow.everyone.if.no.acl.found"}

const envPrefix = "OTTLA_"

// EnvConfigFile is the environment variable that names the properties file.
const EnvConfigFile = "OTTLA_CONFIG"

// byName has every key of ours under its name and its aliases.
var byName = func() map[string]*Key {
	m := make(map[string]*Key, len(table)+8)
	for i := range table {
		k := &table[i]
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			if m[name] != nil {
				panic("BUG: configuration key twice in the table: " + name)
			}
			m[name] = k
		}
	}
	return m
}()

// Keys lists the table. The caller must not change it.
func Keys() []Key { return table }

// isKafkaKey scans the embedded lists: it runs only for names that are not ours, so no index is kept.
func isKafkaKey(name string) bool {
	for _, prefix := range kafkaPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return eachKafkaKey(func(known string) bool { return known == name })
}

func eachKafkaKey(match func(string) bool) bool {
	for _, list := range []string{kafkaKeys, kafkaOlderKeys} {
		for known := range strings.SplitSeq(list, "\n") {
			if known != "" && match(known) {
				return true
			}
		}
	}
	return false
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func keyOfEnv(env string) (key string, ok bool) {
	for name := range byName {
		if envName(name) == env {
			return name, true
		}
	}
	ok = eachKafkaKey(func(known string) bool { key = known; return envName(known) == env })
	return key, ok
}

// injectedByKubernetes recognises the variables that Kubernetes puts into every container for a Service
// called "ottla". Nobody typed them, so they are no reason to refuse to start.
func injectedByKubernetes(env string) bool {
	rest := strings.TrimPrefix(env, envPrefix)
	return rest == "PORT" || rest == "SERVICE_HOST" || rest == "SERVICE_PORT" ||
		strings.HasPrefix(rest, "SERVICE_PORT_") || strings.HasPrefix(rest, "PORT_")
}

// suggest names the key that was probably meant.
func suggest(name string) string {
	best, bestDistance := "", 4
	for known := range byName {
		d := editDistance(name, known)
		if d < bestDistance || d == bestDistance && known < best {
			best, bestDistance = known, d
		}
	}
	if best == "" {
		return " (`ottla serve --help` lists all keys)"
	}
	return " (did you mean " + best + "?)"
}

// editDistance is Levenshtein's, on names cut to a length that bounds the work.
func editDistance(a, b string) int {
	const lengthMax = 64
	a, b = a[:min(len(a), lengthMax)], b[:min(len(b), lengthMax)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
