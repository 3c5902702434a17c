'use strict'
// What the Node drivers share: the records, the output, the command line. It knows no client.
//
//     driver produce TOPIC FROM TO
//     driver assign TOPIC N
//     driver group TOPIC GROUP N
//
// BOOTSTRAP names the broker. The README of the directory above says what each command prints and when it ends.

const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')

const silenceMillis = 60_000 // assign ends after so long without a record
const finalCommitAttempts = 20 // a rebalance or a broker that restarts may refuse the final commit for a while
const retryMillis = 500
const sendRecordsMax = 100 // one call of a client's send

const filler = Array.from({ length: 64 + 26 }, (_, i) => String.fromCharCode(97 + (i % 26))).join('')

const key = i => `k${i}`
const value = i => `v${i}-${filler.slice(i % 26, (i % 26) + 64)}`
const headers = i => ({ h: String(i) })

function* chunks(from, to) {
  for (let start = from; start < to; start += sendRecordsMax) {
    yield Array.from({ length: Math.min(sendRecordsMax, to - start) }, (_, i) => start + i)
  }
}

const text = b => (b === null || b === undefined ? '' : b.toString())

// Standard output is written synchronously: a line is out before the next record is asked for.
const record = (partition, offset, k, v) => process.stdout.write(`${partition}\t${offset}\t${text(k)}\t${text(v)}\n`)
const committed = (partition, offset) => process.stdout.write(`committed\t${partition}\t${offset}\n`)
const note = (...words) => console.error(new Date().toISOString().slice(11, 23), ...words)

// stop resolves at SIGTERM or SIGINT; stop.set says whether it came.
function signalled() {
  let arrived
  const stop = new Promise(resolve => (arrived = resolve))
  stop.set = false
  for (const s of ['SIGTERM', 'SIGINT']) {
    process.on(s, () => {
      stop.set = true
      arrived()
    })
  }
  return stop
}

function silence() {
  let last = Date.now()
  return { heard: () => (last = Date.now()), over: () => Date.now() - last > silenceMillis }
}

// Tries the last commit until it is acknowledged; false after finalCommitAttempts.
async function finalCommit(commit) {
  for (let i = 0; i < finalCommitAttempts; i++) {
    try {
      await commit()
      return true
    } catch (err) {
      note('final commit:', err.message)
      await delay(retryMillis)
    }
  }
  return false
}

function unsupported(why) {
  note(why)
  process.stdout.write('unsupported\n')
  return 3
}

function incomplete(seen, wanted) {
  if (seen >= wanted) return 0
  note(`${seen} records of ${wanted}`)
  return 1
}

// Runs the command; each function gets its arguments with numbers as such and returns the exit code (undefined is 0).
async function main({ produce, assign, group }) {
  const [command, topic, ...rest] = process.argv.slice(2)
  let run
  if (command === 'produce' && rest.length === 2) run = () => produce(topic, Number(rest[0]), Number(rest[1]))
  if (command === 'assign' && rest.length === 1) run = () => assign(topic, Number(rest[0]))
  if (command === 'group' && rest.length === 2) run = () => group(topic, rest[0], Number(rest[1]))
  if (!run) {
    note('usage: driver produce TOPIC FROM TO | assign TOPIC N | group TOPIC GROUP N')
    process.exit(2)
  }
  try {
    process.exit((await run()) ?? 0)
  } catch (err) {
    note(err)
    process.exit(1)
  }
}

module.exports = {
  bootstrap: process.env.BOOTSTRAP ?? '127.0.0.1:9092',
  groupProtocol: process.env.GROUP_PROTOCOL ?? '',
  client: name => require(require.resolve(name, { paths: [path.dirname(process.env.NODE_MODULES)] })),
  retryMillis,
  delay,
  key,
  value,
  headers,
  chunks,
  record,
  committed,
  note,
  signalled,
  silence,
  finalCommit,
  unsupported,
  incomplete,
  main
}
