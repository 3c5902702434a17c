package phrase

import "math"

// unit is a unit of time. A number is said in the largest of which it has nearly one: what is rounded to one is one.
type unit struct {
	seconds           float64
	one, many         string // "minute", "minutes"
	shortOne, shortly string // "min", "min"
	per, shortPer     string // "a minute", "/min"
}

const nearlyOne = 0.95

var units = []unit{
	{365 * 86400, "year", "years", "year", "years", "", ""},
	{86400, "day", "days", "day", "days", "a day", "/day"},
	{3600, "hour", "hours", "h", "h", "an hour", "/h"},
	{60, "minute", "minutes", "min", "min", "a minute", "/min"},
	{1, "second", "seconds", "s", "s", "a second", "/s"},
	{0.001, "millisecond", "milliseconds", "ms", "ms", "", ""},
}

const inSeconds = 4 // of units

// rateUnit is the unit that so many a second are said in: the shortest in which there is nearly one.
func rateUnit(perSecond float64) *unit {
	at := inSeconds
	for perSecond > 0 && perSecond*units[at].seconds < nearlyOne && units[at-1].per != "" {
		at--
	}
	return &units[at]
}

// Rate is so many a second, for tables: "38.2/s", "12/min", "3/h", "2/day". There are no negative ones.
func Rate(perSecond float64) string {
	if !finite(perSecond) {
		return unknown
	}
	u := rateUnit(perSecond)
	return Significant(max(0, perSecond)*u.seconds) + u.shortPer
}

// RateWithin is a rate and its error in the same unit: "38.2 ± 0.05/s".
func RateWithin(perSecond, plusMinus float64) string {
	if !finite(perSecond) || !finite(plusMinus) || plusMinus <= 0 {
		return Rate(perSecond)
	}
	u := rateUnit(max(perSecond, plusMinus))
	return Significant(max(0, perSecond)*u.seconds) + " ± " + Significant(plusMinus*u.seconds) + u.shortPer
}

// RateInWords is so many a second, for sentences: "38 a second", and "38 new producers a second" if what is "new producers".
func RateInWords(perSecond float64, what string) string {
	if what != "" {
		what += " "
	}
	if !finite(perSecond) {
		return unknown + " " + what + "a second"
	}
	u := rateUnit(perSecond)
	return Number(max(0, perSecond)*u.seconds) + " " + what + u.per
}

// Span is a length of time in seconds, for tables: "3.9 days", "2 h", "10 min", "12 ms". Negative means never.
func Span(seconds float64) string {
	n, u, ok := spanUnit(seconds)
	switch {
	case !ok:
		return n
	case n == "1":
		return n + " " + u.shortOne
	}
	return n + " " + u.shortly
}

// SpanInWords is a length of time in seconds, for sentences: "3.9 days", "2 hours", "1 minute". Negative means never.
func SpanInWords(seconds float64) string {
	n, u, ok := spanUnit(seconds)
	switch {
	case !ok:
		return n
	case n == "1":
		return n + " " + u.one
	}
	return n + " " + u.many
}

// spanUnit returns the number and its unit, or all there is to say.
func spanUnit(seconds float64) (number string, u *unit, ok bool) {
	switch {
	case !finite(seconds):
		return unknown, nil, false
	case seconds < 0:
		return "never", nil, false
	case math.Round(seconds*1000) == 0:
		return "0", &units[inSeconds], true
	}
	at := 0
	for at < len(units)-1 && seconds/units[at].seconds < nearlyOne {
		at++
	}
	return Number(seconds / units[at].seconds), &units[at], true
}
