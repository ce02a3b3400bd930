'use strict'

// Which machine compiles: the one whose claim is beside the place of an artifact that is not there yet.
//
// Where a service writes only what is not there, the first claim is the one. Elsewhere the last one that is written within a
// moment is; two machines may then compile, which costs time and nothing else. A machine that ended keeps no other waiting for
// long: whoever has seen the same claim for as long as a compile may take replaces it. No machine's clock is compared with
// another's.

const { setTimeout: pause } = require('node:timers/promises')

const MOMENT = 1_000 // ms

/** How long a claim holds, in ms, of a module with so many bytes. */
const termOf = (size) => 20_000 + (6_000 * size) / 2 ** 20

class Claims {
  #remote
  #owner
  #held = new Set()

  /** @param {string} owner names this process, and the one that it leaves its work to */
  constructor(remote, owner) {
    this.#remote = remote
    this.#owner = owner
  }

  async #read(key) {
    const claim = await this.#remote.ask((signal) => this.#remote.storage.read(this.#remote.claimOf(key), signal))
    return claim?.toString('utf8')
  }

  #write(key, exclusive) {
    const bytes = Buffer.from(this.#owner)
    return this.#remote.ask((signal) => this.#remote.storage.write(this.#remote.claimOf(key), bytes, { exclusive, signal }))
  }

  async #isOurs(key) {
    await pause(MOMENT)
    return (await this.#read(key)) === this.#owner
  }

  /** Claims what nobody has claimed, or `lapsed`; whether it is ours. */
  async #take(key, lapsed) {
    const found = await this.#read(key)
    if (found === this.#owner) return true
    if (found !== undefined && found !== lapsed) return false
    if (!(await this.#write(key, found === undefined))) return false
    return (found === undefined && (await this.#remote.storage.isExclusive())) || this.#isOurs(key)
  }

  /**
   * Waits until there is an object, or this machine is to make it.
   *
   * @param {string} key
   * @param {number} size of the module
   * @param {boolean} writes whether this machine may claim
   * @returns the object as `get` of ./remote.js returns it, or undefined
   */
  async wait(key, size, writes) {
    let seen
    let since = 0
    for (;;) {
      if (await this.#remote.has(key)) return this.#remote.get(key)
      const found = await this.#read(key)
      if (found !== seen || since === 0) [seen, since] = [found, performance.now()]
      const hasLapsed = performance.now() - since > termOf(size)
      if (!writes) {
        // Nobody is at it.
        if (found === undefined || hasLapsed) return undefined
      } else if (await this.#take(key, hasLapsed ? found : undefined)) {
        this.#held.add(key)
        // Whoever had it may have been faster than we were.
        if (!(await this.#remote.has(key))) return undefined
        await this.release(key)
        return this.#remote.get(key)
      }
      await pause(MOMENT + Math.random() * MOMENT)
    }
  }

  /** Ends a claim of ours. */
  async release(key) {
    if (!this.#held.delete(key)) return
    if ((await this.#read(key)) === this.#owner) {
      await this.#remote.ask(() => this.#remote.storage.remove(this.#remote.claimOf(key)))
    }
  }
}

module.exports = { Claims }
