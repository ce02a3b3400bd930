'use strict'

// A Chrome trace on request: WASM_COMPILE_CACHE_TRACE=file writes one at exit, for chrome://tracing or Perfetto
// (the format: "Trace Event Format", JSON object form). `${pid}` in the name becomes the process's id, as in Node's
// own --trace-event-file-pattern, for programs that start others.
//
// The main thread writes the file. Worker threads send it their events as they happen, so that a terminated worker's
// are not lost; a worker whose main thread has not loaded this package writes `file.<thread id>`.

const { existsSync, writeFileSync } = require('node:fs')
const { dirname } = require('node:path')

const { isMainThread } = require('../process/thread.js')

const CATEGORY = 'v8.wasm'
const COLLECTED = 'wasm-compile-cache:trace' // environment data: a thread above this one collects the events
const MICROSECONDS = 1000

let file = null
let hadFolder = false
let port = null
let forwards = false
let entries = []
/** node:worker_threads, of which a program without a trace has no need. */
let threads

function entry({ name, ts, dur, tid, ...args }) {
  const time = Math.round(ts * MICROSECONDS)
  const common = { name, cat: CATEGORY, pid: process.pid, tid: tid ?? threads.threadId, ts: time, args }
  return dur > 0 ? { ...common, ph: 'X', dur: Math.round(dur * MICROSECONDS) } : { ...common, ph: 'i', s: 't' }
}

/** 64-bit counters arrive as BigInt, which JSON does not know. */
const plain = (_key, value) => (typeof value === 'bigint' ? Number(value) : value)

function start() {
  const wanted = process.env.WASM_COMPILE_CACHE_TRACE
  if (!wanted || file !== null) return
  threads = require('node:worker_threads')
  file = wanted.replaceAll('${pid}', process.pid)
  hadFolder = existsSync(dirname(file))
  forwards = !isMainThread && threads.getEnvironmentData(COLLECTED) === true
  if (!isMainThread && !forwards) file += `.${threads.threadId}`
  port = new threads.BroadcastChannel(`wasm-compile-cache:trace:${process.pid}`)
  port.unref()
  if (isMainThread) {
    port.onmessage = collect
    threads.setEnvironmentData(COLLECTED, true)
  }
}

function collect({ data }) {
  entries.push(JSON.parse(data))
}

function record(event) {
  if (file === null) return
  if (forwards) port.postMessage(JSON.stringify(entry(event), plain))
  else entries.push(entry(event))
}

function close() {
  if (file === null) return
  if (!forwards) {
    if (isMainThread) {
      // What the event loop did not come to deliver.
      for (let sent; (sent = threads.receiveMessageOnPort(port)) !== undefined;) collect({ data: sent.message })
    }
    entries.sort((a, b) => a.ts - b.ts)
    try {
      writeFileSync(file, JSON.stringify({ traceEvents: entries, displayTimeUnit: 'ms' }, plain))
    } catch (error) {
      // The folder was removed, as the command `trace` does when its script has ended.
      const isGone = hadFolder && error.code === 'ENOENT'
      if (!isGone) process.stderr.write(`wasm-compile-cache: the trace was not written: ${error.message}\n`)
    }
  }
  port.close()
  entries = []
  file = null
}

module.exports = { close, record, start }
