'use strict'

// The references of a link group: an externref in wasm is TAG over the index of a place in this slab, 0 for null.
//
// A value takes a place whenever it goes to wasm, however often it has been there, and keeps it until a sweep finds that
// nothing holds the place's externref: no frame of wasm, table, global or exception of the group (native marks what they
// hold), and no value of the arena that is being filled. Sweeps happen where no place is free, which may be in the
// middle of wasm; each leaves enough places free to be worth what it has scanned. So at most a fixed number of values,
// or a part of what is scanned, is held without need; the group sweeps that, too, after a collection of V8's.
//
// Invariant: between the moment when a place is taken and the moment when its externref reaches wasm, nothing sweeps
// but the taking of places for further values of the same signature, in order.

const { native, U32 } = require('../process/native.js')

/** crates/engine/src/runtime/reference.rs has it, too. */
const TAG = 0x7ff47265

/** A sweep leaves so many places free at least, or one for so many words that it has looked at. */
const LEAST_FREE = 32
const WORDS_A_PLACE = 16

class Slab {
  #group
  /** Place 0 is ref.null's. A free one that may be taken holds the index of the next such. */
  #values = [null]
  #next = 0
  #marks = new Uint8Array(2 * LEAST_FREE)

  constructor(group) {
    this.#group = group
  }

  at(index) {
    return this.#values[index]
  }

  /** Makes value `k` of the arena an externref; those before it are of the same signature. */
  put(k, value) {
    if (value === null) {
      U32[4 * k] = 0
      U32[4 * k + 1] = 0
      return
    }
    if (this.#next === 0) {
      this.#group.watch()
      this.sweep(k)
    }
    const index = this.#next
    const values = this.#values
    this.#next = values[index]
    values[index] = value
    U32[4 * k] = index
    U32[4 * k + 1] = TAG
  }

  /** Frees the places that nothing holds; of the arena, `pending` values are on their way to wasm. */
  sweep(pending) {
    const values = this.#values
    if (this.#marks.length < values.length) this.#marks = new Uint8Array(2 * values.length)
    const marks = this.#marks.fill(0, 0, values.length)
    const seen = native.markReferences(this.#group.handle, marks, pending) + values.length
    let wanted = Math.max(LEAST_FREE, Math.floor(seen / WORDS_A_PLACE))
    let first = 0
    let last = 0
    let end = 1
    // The lowest places are the first to be taken, so that those at the end become free.
    const link = (index) => {
      if (last === 0) first = index
      else values[last] = index
      last = index
      wanted--
    }
    for (let index = 1; index < values.length; index++) {
      if (marks[index] !== 0) end = index + 1
      else if (wanted > 0) link(index)
      else values[index] = undefined
    }
    end = Math.max(end, last + 1)
    if (values.length > 2 * end) values.length = end
    while (wanted > 0) link(values.push(0) - 1)
    values[last] = 0
    this.#next = first
  }
}

module.exports = { Slab }
