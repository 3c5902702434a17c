// Command ottla is a Kafka-protocol broker that remembers every idempotent producer, and the tools that go with it.
package main

import (
	"os"

	"ottla/internal/cli"
)

func main() { os.Exit(cli.Main()) }
