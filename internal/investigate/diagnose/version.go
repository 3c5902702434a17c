package diagnose

import (
	"strconv"
	"strings"

	"ottla/internal/investigate/evidence"
)

// release is a version of Kafka as far as rules depend on it: 4.3 is {4, 3}. The zero value is not known.
type release struct{ major, minor int }

// newest is what rules assume where nothing says otherwise.
var newest = release{4, 3}

// parseRelease reads "3.6.2", "v4.0", "2.8-SNAPSHOT" or "3". What it cannot read is not known.
func parseRelease(s string) release {
	s = strings.TrimPrefix(strings.TrimSpace(s), "v")
	major, rest, _ := strings.Cut(s, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(leadingDigits(major))
	if err != nil || a > 1000 {
		return release{}
	}
	b, err := strconv.Atoi(leadingDigits(minor))
	if err != nil || b > 1000 {
		b = 0
	}
	return release{a, b}
}

func leadingDigits(s string) string {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return s[:i]
		}
	}
	return s
}

func (r release) known() bool { return r != release{} }

// below compares; what is not known is below nothing.
func (r release) below(major, minor int) bool {
	return r.known() && (r.major < major || r.major == major && r.minor < minor)
}

func (r release) String() string { return strconv.Itoa(r.major) + "." + strconv.Itoa(r.minor) }

// releases is the range that a cluster's version lies in. Either end may be unknown.
type releases struct {
	least, most release
	given       bool
}

func releasesOf(c *evidence.Cluster, given evidence.Given) releases {
	if v := parseRelease(given.Version); v.known() {
		return releases{v, v, true}
	}
	r := releases{parseRelease(c.VersionLeast), parseRelease(c.VersionMost), false}
	if r.least.known() && r.most.known() && r.most.below(r.least.major, r.least.minor) {
		r.most = r.least
	}
	return r
}

// taken is the version that rules go by: the newest of the range, because the older rules promise cures that the newer versions do
// not have. Where the range has no upper end, it is the lower one, which the brokers have shown to have.
func (r releases) taken() release {
	switch {
	case r.most.known():
		return r.most
	case r.least.known():
		return r.least
	}
	return newest
}

// allBelow and someBelow say whether every, or any, version of the range is below the one named.
func (r releases) allBelow(major, minor int) bool {
	return r.most.below(major, minor) || !r.most.known() && r.least.below(major, minor)
}

func (r releases) someBelow(major, minor int) bool {
	return r.least.below(major, minor) || !r.least.known() && r.most.known()
}

func (r releases) String() string {
	switch {
	case r.given:
		return r.least.String() + " (given)"
	case r.least.known() && r.most.known() && r.least != r.most:
		return r.least.String() + " to " + r.most.String()
	case r.least.known() && r.most.known():
		return r.least.String()
	case r.least.known():
		return r.least.String() + " or later"
	case r.most.known():
		return "at most " + r.most.String()
	}
	return "not known"
}
