'use strict'
// A control group with a memory limit, as a container has it: cgroups v1 or v2, where this user may make one.

const fs = require('node:fs')
const path = require('node:path')

const KINDS = [
  ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
  ['/sys/fs/cgroup', 'memory.max'],
]

/**
 * Makes a group for as long as the test runs.
 *
 * @param {number} bytes
 * @returns {string | undefined} its folder; undefined where none can be made
 */
function memoryGroup(t, bytes) {
  for (const [root, limit] of KINDS) {
    const group = path.join(root, `wasm-compile-cache-test-${process.pid}-${bytes}`)
    try {
      if (!fs.existsSync(path.join(root, 'cgroup.procs'))) continue
      fs.mkdirSync(group)
      fs.writeFileSync(path.join(group, limit), `${bytes}`)
      t.teardown(() => fs.rmdirSync(group))
      return group
    } catch {
      if (fs.existsSync(group)) fs.rmdirSync(group)
    }
  }
  return undefined
}

module.exports = { memoryGroup }
