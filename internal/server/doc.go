// Package server owns listeners, connections and their limits: it reads frames, hands requests to a
// wire.Handler in the order of arrival, and sends the answers in that order. It knows frames, not Kafka:
// what a request means is the handler's business.
package server
