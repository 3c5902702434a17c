// Package coordinator hosts consumer groups: it loads them, gives their state machines one request at a time, appends their records to
// __consumer_offsets, parks each answer until what it says is durable, and owns the timers and the committed offsets.
package coordinator
