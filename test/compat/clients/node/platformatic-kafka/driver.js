'use strict'
const c = require('../common.js')
const { Consumer, MessagesStreamFallbackModes, MessagesStreamModes, Producer } = c.client('@platformatic/kafka')

async function produce(topic, from, to) {
  const producer = new Producer({ clientId: 'driver', bootstrapBrokers: [c.bootstrap] })
  const bytes = s => Buffer.from(s)
  for (const chunk of c.chunks(from, to)) {
    await producer.send({
      messages: chunk.map(i => ({
        topic,
        key: bytes(c.key(i)),
        value: bytes(c.value(i)),
        headers: new Map([[bytes('h'), bytes(String(i))]])
      }))
    })
  }
  await producer.close()
}

const assign = () => c.unsupported('@platformatic/kafka reads in groups only')

// One life of a consumer: ends with the stream. Any failure that outlasts the client's own retries destroys the
// stream; the application, here the caller, begins again.
async function life(topic, groupId, stop, onRecord) {
  const options = { clientId: 'driver', groupId, bootstrapBrokers: [c.bootstrap] }
  if (c.groupProtocol) options.groupProtocol = c.groupProtocol
  const consumer = new Consumer(options)
  let clean = false
  try {
    const stream = await consumer.consume({
      topics: [topic],
      mode: MessagesStreamModes.COMMITTED,
      fallbackMode: MessagesStreamFallbackModes.EARLIEST
    })
    stream.on('autocommit', (err, offsets) => {
      if (err) c.note('commit:', err.message)
      else for (const { partition, offset } of offsets) c.committed(partition, offset)
    })
    const ended = new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject))
    const enough = new Promise(resolve =>
      stream.on('data', m => {
        c.record(m.partition, m.offset, m.key, m.value)
        if (onRecord()) resolve()
      })
    )
    await Promise.race([ended, enough, stop])
    // What has been fetched is committed or will be: it is shown to the last record.
    await Promise.all([stream.close(), ended])
    clean = true
  } finally {
    await consumer.close(!clean).catch(err => {
      if (clean) throw err
      c.note('close:', err.message)
    })
  }
}

async function group(topic, groupId, n) {
  const stop = c.signalled()
  let seen = 0
  for (;;) {
    try {
      await life(topic, groupId, stop, () => ++seen >= n)
      if (stop.set || seen >= n) return 0
    } catch (err) {
      c.note(err.message, ...(err.errors ?? []).map(e => e.message))
    }
    await c.delay(c.retryMillis)
  }
}

c.main({ produce, assign, group })
