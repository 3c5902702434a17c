//go:build race

package broker

// raceDetector says that sync.Pool drops a part of what it is given, so that allocations cannot be counted.
const raceDetector = true
