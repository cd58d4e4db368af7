// The kafkajs client: writer, reader and group member of the conformance tests. It judges nothing: it prints what it
// saw, the harness compares. Called as `node client.js VERB BOOTSTRAP TOPIC ...`, with the output of the other clients.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import * as fzstd from 'fzstd'
import kafkajs from 'kafkajs'
import lz4 from 'lz4js'
import snappy from 'snappyjs'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs

// kafkajs brings gzip alone. These read what others write; only snappy also writes.
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async encoder => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: async buffer => {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(snappy.uncompress(buffer))
    const blocks = []
    for (let at = 16; at < buffer.length; ) {
      const size = buffer.readInt32BE(at)
      blocks.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size))))
      at += 4 + size
    }
    return Buffer.concat(blocks)
  },
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async () => { throw new Error('lz4 is only read') },
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async () => { throw new Error('zstd is only read') },
  decompress: async buffer => Buffer.from(fzstd.decompress(buffer)),
})

const [verb, bootstrap, topic, ...rest] = process.argv.slice(2)
const kafka = new Kafka({
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 60 },
})
const say = event => console.log(JSON.stringify(event))

async function write(file, first, last, codec) {
  const compression = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP,
    snappy: CompressionTypes.Snappy }[codec]
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  let row = 0, acked = 0, messages = []
  const flush = async () => {
    await producer.send({ topic, compression, acks: -1, messages })
    acked += messages.length
    messages = []
  }
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (row >= Number(last)) break
    if (row >= Number(first)) {
      const cell = line.indexOf('\t'), next = line.indexOf('\t', cell + 1)
      messages.push({ key: cell === 0 ? null : line.slice(0, cell), timestamp: line.slice(cell + 1, next),
        value: line.slice(next + 1), headers: { row: String(row) } })
      if (messages.length === 2000) await flush()
    }
    row++
  }
  if (messages.length) await flush()
  await producer.disconnect()
  say({ acked, failed: 0 })
}

async function read() {
  const admin = kafka.admin()
  await admin.connect()
  const waiting = new Map()
  for (const p of await admin.fetchTopicOffsets(topic)) {
    if (BigInt(p.high) > BigInt(p.low)) waiting.set(p.partition, p)
  }
  // kafkajs reads through a group only: a fresh one, that seeks to the first offsets.
  const groupId = `reader-${process.pid}-${Date.now()}`
  const consumer = kafka.consumer({ groupId, maxBytes: 16 << 20, maxBytesPerPartition: 4 << 20 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const digest = new Digest()
  let heard = Date.now()
  await new Promise((resolve, reject) => {
    const watch = setInterval(() => {
      if (Date.now() - heard > 30_000) reject(new Error(`nothing for 30 s, not reached: ${[...waiting.keys()]}`))
    }, 1000)
    consumer.on(consumer.events.CRASH, event => reject(event.payload.error))
    consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch }) => {
        heard = Date.now()
        const end = waiting.get(batch.partition)
        for (const message of batch.messages) {
          if (BigInt(message.offset) < BigInt(end.high)) digest.add(message)
        }
        if (BigInt(batch.lastOffset()) + 1n >= BigInt(end.high)) waiting.delete(batch.partition)
        if (waiting.size === 0) { clearInterval(watch); resolve() }
      },
    }).catch(reject)
    for (const p of waiting.values()) consumer.seek({ topic, partition: p.partition, offset: p.low })
  })
  await consumer.disconnect()
  await admin.deleteGroups([groupId])
  await admin.disconnect()
  say(digest.summary())
}

async function member(groupId, strategy) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000,
    metadataMaxAge: 2000, maxWaitTimeInMs: 200 })
  let held = []
  consumer.on(consumer.events.GROUP_JOIN, event => {
    held = event.payload.memberAssignment[topic] ?? []
    say({ assigned: [...held].sort((a, b) => a - b) })
  })
  consumer.on(consumer.events.REBALANCING, () => say({ assigned: [] }))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  process.on('SIGTERM', async () => {
    await consumer.disconnect()
    say({ closed: true })
    process.exit(0)
  })
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: 6,
    eachBatchAutoResolve: true,
    eachBatch: async ({ batch, isStale, isRunning }) => {
      if (batch.isEmpty() || isStale() || !isRunning()) return
      say({ records: [[batch.partition, Number(batch.firstOffset()), Number(batch.lastOffset())]] })
      try {
        const offset = String(BigInt(batch.lastOffset()) + 1n)
        await consumer.commitOffsets([{ topic, partition: batch.partition, offset }])
      } catch (error) { // a rebalance in between: the runner rejoins, and the batch is read again
        say({ commit_failed: String(error) })
        throw error
      }
    },
  })
}

// The digest that clients/python/digest.py describes.
class Digest {
  keys = new Map()
  keyless = []
  rows = new Set()
  count = 0

  add(message) {
    const row = Buffer.from(message.headers?.row ?? '')
    const timestamp = Buffer.alloc(8)
    timestamp.writeBigInt64BE(BigInt(message.timestamp))
    const record = Buffer.concat([timestamp, framed(row), framed(message.value)])
    this.count++
    this.rows.add(row.toString())
    if (message.key === null) {
      this.keyless.push(createHash('sha256').update(record).digest())
      return
    }
    const key = message.key.toString('latin1')
    let running = this.keys.get(key)
    if (!running) this.keys.set(key, (running = createHash('sha256')))
    running.update(record)
  }

  summary() {
    const total = createHash('sha256')
    for (const one of this.keyless.sort(Buffer.compare)) total.update(one)
    for (const key of [...this.keys.keys()].sort()) {
      total.update(framed(Buffer.from(key, 'latin1'))).update(this.keys.get(key).digest())
    }
    return { count: this.count, rows: this.rows.size, keys: this.keys.size, digest: total.digest('hex') }
  }
}

function framed(data) {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  return Buffer.concat([length, data])
}

const verbs = { write, read, member }
verbs[verb](...rest).then(
  () => { if (verb !== 'member') process.exit(0) },
  error => { console.error(error); process.exit(1) },
)
