// Package phrase puts numbers into words for people, and reads those that people write: sizes, counts, rates, shares, lengths of time. It owns
// units, rounding and thousands separators, so that a sentence and a table say the same of one number.
//
// It must not know what the numbers are of.
package phrase
