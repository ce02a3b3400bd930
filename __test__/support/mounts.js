'use strict'
// Small file systems of their own (Linux): in a mount namespace that ends with the test, so that nobody else sees them, and
// for users who are not root with a user namespace, in which they are.

const { execFileSync, spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { folder } = require('./commands.js')

const MISSING =
  'A small file system has to be mounted for this test, and cannot be. It takes util-linux (unshare, nsenter), and root or ' +
  'user namespaces: sysctl -w user.max_user_namespaces=10000, kernel.apparmor_restrict_unprivileged_userns=0'

/**
 * Mounts a tmpfs.
 *
 * @param {string} options of the mount, for instance "size=64k,nr_inodes=10"
 * @returns {Promise<{path: string, inside: string, under: string[], remount: (options: string) => void}>} `path`: where it is
 *   for commands that are started by `under`; `inside`: the same as this process sees it
 */
async function small(t, options) {
  const at = folder(t)
  // Root needs no user namespace, and without one its files belong to it outside as well.
  const namespaces = process.getuid() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']
  const script = 'mount -t tmpfs -o "$1,mode=700" none "$0" && echo mounted && exec cat'
  const holder = spawn('unshare', [...namespaces, 'sh', '-c', script, at, options], { stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(async () => {
    const ended = once(holder, 'close')
    holder.stdin.end()
    await ended
  })
  let stderr = ''
  holder.stderr.on('data', (text) => (stderr += text))
  const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'close'), once(holder, 'error')])
  if (String(said) !== 'mounted\n') throw new Error(`${MISSING}\n${said instanceof Error ? said.message : stderr}`)
  const user = namespaces.length > 1 ? ['--user', '--preserve-credentials'] : []
  const under = ['nsenter', '--target', String(holder.pid), ...user, '--mount', `--wd=${process.cwd()}`]
  const remount = (options) => execFileSync(under[0], [...under.slice(1), 'mount', '-o', `remount,${options}`, at])
  return { path: at, inside: path.join(`/proc/${holder.pid}/root`, at), under, remount }
}

/** Writes a file until not a byte more will go; what it took. */
function fill(file) {
  const to = fs.openSync(file, 'w')
  try {
    for (const length of [65536, 4096, 1]) {
      try {
        for (;;) fs.writeSync(to, Buffer.alloc(length))
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error
      }
    }
    return fs.fstatSync(to).size
  } finally {
    fs.closeSync(to)
  }
}

module.exports = { fill, small }
