'use strict'
const c = require('../common.js')
const { assign } = require('../rdkafka.js')
const rdkafka = c.client('@confluentinc/kafka-javascript')
const { Kafka, logLevel } = rdkafka.KafkaJS

const kafka = new Kafka({ kafkaJS: { brokers: [c.bootstrap], logLevel: logLevel.WARN } })

async function produce(topic, from, to) {
  const producer = kafka.producer()
  await producer.connect()
  for (const chunk of c.chunks(from, to)) {
    await producer.send({
      topic,
      messages: chunk.map(i => ({ key: c.key(i), value: c.value(i), headers: c.headers(i) }))
    })
  }
  await producer.disconnect()
}

async function group(topic, groupId, n) {
  const stop = c.signalled()
  const config = { kafkaJS: { groupId, fromBeginning: true } }
  if (c.groupProtocol) config['group.protocol'] = c.groupProtocol
  const consumer = kafka.consumer(config)
  await consumer.connect()
  await consumer.subscribe({ topic })
  let seen = 0
  let full
  const enough = new Promise(resolve => (full = resolve))
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      c.record(partition, message.offset, message.key, message.value)
      if (++seen >= n) full()
    }
  })
  await Promise.race([enough, stop])
  // The client tells of no commit of its own (it commits again when it disconnects): only this one is printed.
  const done = await c.finalCommit(async () => {
    await consumer.commitOffsets()
    for (const { partition, offset } of await consumer.committed(null, 10_000)) {
      if (Number(offset) >= 0) c.committed(partition, offset)
    }
  })
  await consumer.disconnect()
  return done ? 0 : 1
}

c.main({ produce, assign: (topic, n) => assign(rdkafka, topic, n), group })
