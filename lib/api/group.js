'use strict'

// Link groups: instances that share one native store.
//
// Owns: everything of a store that JavaScript must keep alive or give an identity. All edges that can form a cycle are
// here, where V8's collector sees them; native holds this object weakly.
//
// Invariant: one object for each function, table, global and tag of a group, for as long as that is there.

const { native, classes } = require('../process/native.js')
const { createAdapter } = require('./adapter.js')
const { Exceptions } = require('./exception.js')
const { describeFunction } = require('./function.js')
const { Slab } = require('./slab.js')
const { passed, threw, trapped } = require('./stack.js')
const { Unit } = require('./unit.js')

// So many new units at least are made between two sweeps, or a collection of V8's.
const BETWEEN_SWEEPS = 128

// What V8 finds unreachable whenever it collects: objects that nothing holds.
const collections = new FinalizationRegistry((group) => group.deref()?.collected())

class Group {
  handle = native.groupNew(this)
  references = new Slab(this)
  #exceptions = new Exceptions(this)
  /** Definition address -> Global, table id -> Table, tag id -> Tag. */
  globals = new Map()
  tables = new Map()
  tags = new Map()
  /** Anyfunc's address -> function object, of all units that are not loose. */
  functions = new Map()
  /** Units that WebAssembly may reach. */
  #held = new Set()
  #units = 0
  #limit = BETWEEN_SWEEPS
  #reference
  #watched = false
  /** Units whose functions went to WebAssembly since the last sweep; they may be on their way still. */
  #passed = new Set()
  /** Function of another group -> the unit of its host function here. */
  #adopted = new WeakMap()

  /** The function object of an address of this group. */
  functionAt(address) {
    return this.functions.get(address) ?? native.unitOf(this.handle, address).functionAt(address)
  }

  /**
   * An exported function of any group, as WebAssembly of this group gets it: its address and the unit it belongs to, which
   * is held from now on. Undefined for anything else.
   */
  adopt(value) {
    const record = describeFunction(value)
    if (record === undefined) return undefined
    const own = record.group === this ? record : (this.#adopted.get(value) ?? this.#adopt(value, record))
    if (own.unit.loose) this.hold(own.unit)
    this.#passed.add(own.unit)
    return own
  }

  addressOf(value) {
    return this.adopt(value)?.address
  }

  /** A new unit, which is held until a sweep finds that nothing of WebAssembly reaches it. */
  add(unit) {
    this.#held.add(unit)
    // One alone goes with its group.
    if (++this.#units > 1) this.watch()
    if (this.#units > this.#limit) this.#sweep()
  }

  /** WebAssembly may reach a unit that was loose. */
  hold(unit) {
    this.#held.add(unit)
    unit.loose = false
    for (const [address, exported] of unit.functions) this.functions.set(address, exported)
  }

  #loosen(unit) {
    unit.loose = true
    for (const address of unit.functions.keys()) this.functions.delete(address)
  }

  #sweep() {
    const { held, loose, contents } = native.sweepUnits(this.handle)
    const passed = this.#passed
    this.#passed = new Set()
    this.#held = new Set(held)
    for (const unit of held) {
      unit.contents = []
      if (unit.loose) this.hold(unit)
    }
    for (const unit of loose) {
      unit.contents = []
      if (passed.has(unit)) this.#held.add(unit)
      else this.#loosen(unit)
    }
    for (const [unit, others] of contents) unit.contents = others
    this.#units = held.length + loose.length
    this.#limit = this.#units + Math.max(BETWEEN_SWEEPS, held.length)
  }

  /** From now on, V8's collections are noticed, when the event loop turns. */
  watch() {
    if (this.#watched) return
    this.#watched = true
    this.#reference ??= new WeakRef(this)
    collections.register({}, this.#reference)
  }

  /** What wasm does not hold any more may be what V8 looks for. */
  collected() {
    this.#watched = false
    this.references.sweep(0)
    this.#exceptions.sweep()
    this.#sweep()
    this.watch()
  }

  /** An exception that leaves wasm, by its number and its tag's id; its payload is in the arena. */
  exceptionFromWasm(number, tag) {
    return this.#exceptions.fromWasm(number, tag)
  }

  /** An import threw: the number of the exception of wasm that it becomes; throws what wasm handlers do not see. */
  importThrew(error) {
    // First, because nothing may run between the making of an exception and its throwing.
    threw(error)
    const number = this.#exceptions.toWasm(error)
    if (number === 0) throw error
    return number
  }

  /** The error of a trap in this group. */
  fault(words, traced) {
    return trapped(words, traced)
  }

  /** An import's error leaves this group's code, which has no handlers. */
  pass(error) {
    passed(error)
  }

  // A function of another group is a host function here, and keeps its identity: its address answers with the original
  // object. One that another instance only imported from JavaScript is JavaScript's here as well.
  #adopt(exported, { signature, imported }) {
    const unit = new Unit(this)
    const adapter = createAdapter(imported ?? exported, signature, this)
    unit.keep.push(adapter)
    const address = native.hostFunctionCreate(this.handle, signature.text, adapter, unit)
    unit.add(address, exported)
    const own = { address, unit }
    this.#adopted.set(exported, own)
    this.add(unit)
    return own
  }
}

/**
 * The group an instance goes to. What lives in one store only (a table, a tag, a mutable global of references) decides;
 * where there is none, the first function or table element that belongs to a group; else the instance begins its own.
 *
 * @param {{group: Group, subject: string}[]} bound
 * @param {Group | undefined} preferred
 */
function chooseGroup(bound, preferred, caller) {
  // A group's errors are those of its realm.
  if (bound.length === 0) return preferred instanceof Group ? preferred : new Group()
  const [first, ...others] = bound
  for (const other of others) {
    if (other.group === first.group) continue
    throw new classes.LinkError(
      `${caller}: ${other.subject}: it belongs to other instances than ${first.subject}; ` +
        'tables, tags and mutable reference globals can only be shared by instances that were linked with each other'
    )
  }
  return first.group
}

module.exports = { chooseGroup }
