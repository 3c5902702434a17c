package diagnose

import "ottla/internal/investigate/evidence"

// Remedies are what Diagnose would prescribe, for a verdict that was reached in another way: from the remains of a broker. Of
// the verdict the level, life, horsemen, suspects and the worst heap are read.
func Remedies(s *evidence.Scan, v *Verdict) []Remedy { return remedies(s, v) }
