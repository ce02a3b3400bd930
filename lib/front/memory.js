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

/** Bytes; with the limit of a container. Node counts what was read of files as taken. */
function available() {
  const os = require('node:os')
  /* eslint-disable n/no-unsupported-features/node-builtins -- undefined where they are not there */
  const free = process.availableMemory?.() ?? os.freemem()
  const limit = process.constrainedMemory?.() ?? 0
  /* eslint-enable n/no-unsupported-features/node-builtins */
  if (limit === 0 || limit >= os.totalmem()) return free
  try {
    return Math.min(limit, os.freemem(), free + reclaimable())
  } catch {
    return free
  }
}

module.exports = { available }
