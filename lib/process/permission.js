'use strict'

// Node's permission model (node --permission): this package does nothing for a program that the program may not do
// itself. The addon reads, writes and maps files without Node's seeing it, so it has to be kept from that here.

const fs = require('node:fs')
const path = require('node:path')

/** Also true where there is no such model in force. */
const has = (scope, reference) => process.permission === undefined || process.permission.has(scope, reference)

/**
 * What may be done with a cache in a folder: 0 nothing, 1 look up, 2 look up and store (as native's option `cache`).
 *
 * @param {string | null} directory null: not known yet
 */
function cacheAccess(directory) {
  if (process.permission === undefined) return 2
  if (directory === null) return 0
  // Permissions for a folder that does not exist yet are those for what would be in it.
  const inside = path.join(directory, 'any')
  if (!has('fs.read', inside)) return 0
  return has('fs.write', inside) ? 2 : 1
}

/** Whether a process may be left behind. It has a worker thread, and where Node hands its limits on they are ours. */
const mayHandOff = () => has('child') && has('worker')

/** Throws Node's ERR_ACCESS_DENIED for a file that may not be read. */
function checkReadable(file) {
  if (!has('fs.read', file)) fs.accessSync(file)
}

/** Whether the network may be used. Nodes without that permission do not limit it. */
const mayFetch = () => !process.allowedNodeEnvironmentFlags.has('--allow-net') || has('net')

/** Whether native code may reach what it is told to, which Node would not see. */
const isUnlimited = () => process.permission === undefined

module.exports = { cacheAccess, checkReadable, isUnlimited, mayFetch, mayHandOff }
