'use strict'

// The references of a link group: an externref in wasm is an index into this slab.
//
// Invariant: an index is freed only when no wasm frame of the group is active, no coercion has handed it out that has
// not reached wasm yet, and the group's tables and globals do not hold it.

const { native } = require('./native.js')

const FIRST_SWEEP = 1024

const FREE = Symbol('free')

// The Map of indices cannot tell -0 from 0.
const NEGATIVE_ZERO = Symbol('-0')

class Slab {
  #group
  /** Index 0 is ref.null. */
  #values = [null]
  #indices = new Map()
  #free = []
  #limit = FIRST_SWEEP
  #coercing = 0
  #scheduled = false

  constructor(group) {
    this.#group = group
  }

  get size() {
    return this.#values.length - 1 - this.#free.length
  }

  at(index) {
    return this.#values[index]
  }

  intern(value) {
    if (value === null) return 0
    const key = Object.is(value, -0) ? NEGATIVE_ZERO : value
    const known = this.#indices.get(key)
    if (known !== undefined) return known
    const index = this.#free.pop() ?? this.#values.length
    this.#values[index] = value
    this.#indices.set(key, index)
    if (this.size > this.#limit && !this.#scheduled) this.#schedule()
    return index
  }

  /** A call with externref arguments begins to coerce them. */
  begin() {
    if (this.#coercing === 0 && this.size > this.#limit) this.sweep()
    this.#coercing++
  }

  end() {
    this.#coercing--
  }

  // In a microtask no JavaScript is under way that could hold an index.
  #schedule() {
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (this.size > this.#limit) this.sweep()
    })
  }

  sweep() {
    const found = native.liveReferences(this.#group.handle)
    if (found === null) return
    const live = new Set(found)
    for (let index = 1; index < this.#values.length; index++) {
      const value = this.#values[index]
      if (value === FREE || live.has(index)) continue
      this.#indices.delete(Object.is(value, -0) ? NEGATIVE_ZERO : value)
      this.#values[index] = FREE
      this.#free.push(index)
    }
    this.#limit = Math.max(FIRST_SWEEP, 2 * this.size)
  }
}

module.exports = { Slab }
