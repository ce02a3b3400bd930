'use strict'

// How much memory this process, and those that it leaves behind, may still take.

const fs = require('node:fs')

/** The groups of this process that may have a limit: `<hierarchy>:<controllers>:<path>` a line (cgroups(7)). */
function groups() {
  const lines = fs.readFileSync('/proc/self/cgroup', 'utf8').trimEnd().split('\n')
  return lines.flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === '') return [`/sys/fs/cgroup${path}`, '/sys/fs/cgroup']
    return controllers === 'memory' ? [`/sys/fs/cgroup/memory${path}`, '/sys/fs/cgroup/memory'] : []
  })
}

/** What the kernel counts for the group of this process, and gives up when it is needed: files that were read once. */
function reclaimable() {
  for (const group of groups()) {
    try {
      const stat = fs.readFileSync(`${group}/memory.stat`, 'utf8')
      return Number(/^(?:total_)?inactive_file (\d+)/m.exec(stat)?.[1] ?? 0)
    } catch {
      // Another container's path.
    }
  }
  return 0
}

/** No machine has so many bytes: what Node says where there is no limit. */
const NO_LIMIT = 2 ** 60

/** Bytes; with the limit of a container. Node counts what was read of files as taken. */
function available() {
  /* eslint-disable n/no-unsupported-features/node-builtins -- undefined where they are not there */
  const given = process.availableMemory?.()
  const limit = process.constrainedMemory?.() ?? 0
  /* eslint-enable n/no-unsupported-features/node-builtins */
  const isLimited = limit > 0 && limit < NO_LIMIT
  // Loading it takes longer than to ask.
  if (given !== undefined && !isLimited) return given
  const os = require('node:os')
  const free = given ?? os.freemem()
  if (!isLimited || limit >= os.totalmem()) return free
  try {
    return Math.min(limit, os.freemem(), free + reclaimable())
  } catch {
    return free
  }
}

/** How much of what was free one process may take, and how much of that has to stay, whoever takes it; of plenty, so many bytes. */
const [SHARE, REST, PLENTY] = [0.8, 0.1, 64 * 1024 * 1024]

/** What a process that is left behind has to keep to, in bytes, where so much is `free`. */
const bounds = (free) => ({ most: Math.floor(SHARE * free), reserve: Math.min(PLENTY, Math.floor(REST * free)) })

const megabytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MB`

/** The verdict where there is less `room` than is `needed`, in bytes. */
function shortage(needed, room) {
  const reason = `compiling it takes some ${megabytes(needed)} of memory, and ${megabytes(room)} are free`
  return { engine: 'builtin', basis: 'memory', reason, needed }
}

module.exports = { available, bounds, shortage }
