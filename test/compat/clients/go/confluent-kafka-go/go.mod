module ottla-compat/confluent-kafka-go

go 1.26.8

require (
	github.com/confluentinc/confluent-kafka-go/v2 v2.11.1
	ottla-compat/driver v0.0.0
)

replace ottla-compat/driver => ../driver
