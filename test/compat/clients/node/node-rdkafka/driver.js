'use strict'
const c = require('../common.js')
const { assign, call, consumer, take } = require('../rdkafka.js')
const rdkafka = c.client('node-rdkafka')

const noOffset = -168 // librdkafka: nothing to commit
const queueFull = -184
const flushMillis = 120_000

async function produce(topic, from, to) {
  const producer = new rdkafka.Producer({ 'metadata.broker.list': c.bootstrap, dr_cb: true })
  producer.on('event.error', err => c.note('error:', err.message))
  const failed = []
  let reports = 0
  producer.on('delivery-report', err => {
    reports++
    if (err) failed.push(err)
  })
  await call(producer, 'connect', {})
  producer.setPollInterval(100)
  for (let i = from; i < to; i++) {
    for (;;) {
      try {
        producer.produce(topic, null, Buffer.from(c.value(i)), c.key(i), null, null, [c.headers(i)])
        break
      } catch (err) {
        if (err.code !== queueFull) throw err
        await c.delay(10)
      }
    }
  }
  await call(producer, 'flush', flushMillis)
  while (reports < to - from) await c.delay(10) // flushed: their events are on the way
  await call(producer, 'disconnect')
  if (failed.length > 0) {
    c.note(`${failed.length} failed:`, failed[0].message)
    return 1
  }
}

async function group(topic, groupId, n) {
  const stop = c.signalled()
  const config = { 'group.id': groupId, offset_commit_cb: true }
  if (c.groupProtocol) config['group.protocol'] = c.groupProtocol
  const from = consumer(rdkafka, config)
  from.on('offset.commit', (err, offsets) => {
    if (err) c.note('commit:', err.message)
    else for (const o of offsets) if (o.offset >= 0) c.committed(o.partition, o.offset)
  })
  await call(from, 'connect', {})
  from.subscribe([topic])
  let seen = 0
  while (seen < n && !stop.set) seen += await take(from)
  const done = await c.finalCommit(async () => {
    try {
      from.commitSync(null)
    } catch (err) {
      if (err.code === noOffset) return
      await take(from)
      throw err
    }
    for (const o of await call(from, 'committed', from.assignments(), 10_000)) {
      if (o.offset >= 0) c.committed(o.partition, o.offset)
    }
  })
  await call(from, 'disconnect')
  return done ? 0 : 1
}

c.main({ produce, assign: (topic, n) => assign(rdkafka, topic, n), group })
