'use strict'
// The part of a driver that is the same in both bindings of librdkafka with node-rdkafka's API.

const c = require('./common.js')

const batchRecords = 100
const pollMillis = 200

const call = (object, method, ...args) =>
  new Promise((resolve, reject) => object[method](...args, (err, result) => (err ? reject(err) : resolve(result))))

function consumer(rdkafka, config) {
  const consumer = new rdkafka.KafkaConsumer(
    { 'metadata.broker.list': c.bootstrap, ...config },
    { 'auto.offset.reset': 'earliest' }
  )
  consumer.setDefaultConsumeTimeout(pollMillis)
  consumer.on('event.error', err => c.note('error:', err.message))
  return consumer
}

// Up to batchRecords records, printed; returns how many.
async function take(consumer) {
  let messages = []
  try {
    messages = await call(consumer, 'consume', batchRecords)
  } catch (err) {
    c.note('consume:', err.message)
  }
  for (const m of messages) c.record(m.partition, m.offset, m.key, m.value)
  return messages.length
}

async function assign(rdkafka, topic, n) {
  const from = consumer(rdkafka, { 'group.id': `assign-${topic}`, 'enable.auto.commit': false })
  await call(from, 'connect', {})
  const metadata = await call(from, 'getMetadata', { topic, timeout: 30_000 })
  const { partitions } = metadata.topics.find(t => t.name === topic)
  from.assign(partitions.map(p => ({ topic, partition: p.id, offset: 0 })))
  const quiet = c.silence()
  let seen = 0
  while (seen < n && !quiet.over()) {
    const got = await take(from)
    if (got > 0) quiet.heard()
    seen += got
  }
  await call(from, 'disconnect')
  return c.incomplete(seen, n)
}

module.exports = { assign, call, consumer, take }
