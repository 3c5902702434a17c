package diagnose

import "ottla/internal/investigate/evidence"

// remedies are what to do about a verdict, in the order of doing: they read its level, version, life, horsemen, suspects and heap.
// A healthy cluster needs none.
func remedies(s *evidence.Scan, v *Verdict) []Remedy {
	return nil
}
