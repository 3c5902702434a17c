// Command bench measures Ottla beside Apache Kafka on this machine and writes docs/benchmarks.md. It owns the order of
// what is done; what is measured is in bench/rows, how the report looks in bench/report.
package main

func main() {}
