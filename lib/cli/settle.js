'use strict'

// What a script has left (WASM_COMPILE_CACHE_FINISH=later): modules that are to be found out about (../front/seen.js), and such that
// the optimizing tier was not done with (../process/exit.js). The processes that do it are those that the script would have left
// behind; here they are waited for, so that it works where nobody would wait for them, in the building of an image for one.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { detachedEnvironment } = require('../process/detached.js')

const [JUDGE, FINISH] = ['judge.js', 'finish.js'].map((name) => path.join(__dirname, name))

/** So often, in ms, is looked whether another process is done that found out about modules already. */
const EVERY = 200

/** So long, in ms, another process is waited for that does not get on. */
const LIMIT = 15 * 60 * 1000

const filesIn = (folder, ending) =>
  fs.existsSync(folder)
    ? fs
        .readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .map((name) => path.join(folder, name))
    : []

const runToEnd = (root, ...args) =>
  once(spawn(process.execPath, args, { env: { ...detachedEnvironment(), WASM_COMPILE_CACHE: root }, stdio: 'ignore' }), 'close')

async function judge(root) {
  const waiting = () => filesIn(path.join(root, 'seen'), '.wasm').join()
  let [before, since] = ['', performance.now()]
  for (let now = waiting(); now !== ''; now = waiting()) {
    if (now !== before) [before, since] = [now, performance.now()]
    else if (performance.now() - since > LIMIT) return
    await runToEnd(root, JUDGE, 'now')
    if (waiting() !== '') await new Promise((resolve) => setTimeout(resolve, EVERY))
  }
}

/** Modules of this version, and of others; those that take what is theirs. */
async function finish(root, since) {
  const versions = fs.existsSync(root) ? fs.readdirSync(root).filter((name) => /^v\d/.test(name)) : []
  const spooled = versions.flatMap((name) => filesIn(path.join(root, name, 'spool'), '.spool'))
  const own = spooled.filter((file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs >= since)
  if (own.length > 0) await runToEnd(root, FINISH, ...own)
}

/**
 * @param {string} root where the cache is
 * @param {number} since when the script was started, in ms since 1970
 */
async function settle(root, since) {
  await judge(root)
  await finish(root, since)
}

module.exports = { settle }
