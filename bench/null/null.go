// Package null owns a server that speaks just enough of Kafka's protocol for librdkafka's and the Java client's
// perf tools and stores nothing: it answers each Produce with success as soon as its frame is read, and each Fetch with the
// same prepared batch. What a client reaches against it is the client's own limit. It must not know Ottla's packages of the
// request path, so that their cost is not in it.
package null
