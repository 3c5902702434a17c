'use strict'
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const c = require('../common.js')
const { Kafka, logLevel } = c.client('kafkajs')

const kafka = new Kafka({ brokers: [c.bootstrap], logLevel: logLevel.ERROR })

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

const assign = () => c.unsupported('kafkajs reads in groups only')

async function group(topic, groupId, n) {
  const stop = c.signalled()
  const consumer = kafka.consumer({ groupId })
  consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
    for (const { partitions } of payload.topics) {
      for (const { partition, offset } of partitions) c.committed(partition, offset)
    }
  })
  const crashed = new Promise((_, reject) =>
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      c.note('crash:', payload.error.message, payload.restart ? '(restarts)' : '')
      if (!payload.restart) reject(payload.error)
    })
  )
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  // What the client resolves and commits by itself is what eachMessage has returned from.
  const next = new Map()
  // After a rebalance a partition may be another member's, which has committed more.
  consumer.on(consumer.events.GROUP_JOIN, () => next.clear())
  let seen = 0
  let full
  const enough = new Promise(resolve => (full = resolve))
  await consumer.run({
    eachMessage: async ({ partition, message, pause }) => {
      c.record(partition, message.offset, message.key, message.value)
      next.set(partition, BigInt(message.offset) + 1n)
      if (++seen >= n) {
        pause()
        full()
      }
    }
  })
  await Promise.race([enough, stop, crashed])
  consumer.pause([{ topic }])
  const done = await c.finalCommit(() =>
    consumer.commitOffsets([...next].map(([partition, offset]) => ({ topic, partition, offset: String(offset) })))
  )
  await consumer.stop() // commits, too
  await consumer.disconnect()
  return done ? 0 : 1
}

c.main({ produce, assign, group })
