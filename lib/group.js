'use strict'

// Link groups: instances that share one native store.
//
// Owns: everything of a store that JavaScript must keep alive or give an identity. All edges that can form a cycle are
// here, where V8's collector sees them; native holds this object weakly.
//
// Invariant: one object for ever for each function, table, global and tag of a group.

const { native, classes } = require('./native.js')
const { createAdapter } = require('./adapter.js')
const { Exceptions } = require('./exception.js')
const { createExportedFunction, describeFunction } = require('./function.js')
const { Slab } = require('./slab.js')
const { passed, threw, trapped } = require('./stack.js')

const collections = new FinalizationRegistry((group) => group.deref()?.collected())

class Group {
  handle = native.groupNew(this)
  /** What instances need for as long as the store lives: adapters, memories, owners of globals. */
  keep = []
  references = new Slab(this)
  #exceptions = new Exceptions(this)
  /** Definition address -> Global, table id -> Table, tag id -> Tag. */
  globals = new Map()
  tables = new Map()
  tags = new Map()
  #reference
  #watched = false
  #functions = new Map()
  #foreign = new Map()

  /** The function object of an address of this group. */
  functionAt(address) {
    let exported = this.#functions.get(address)
    if (exported === undefined) {
      exported = createExportedFunction(this, address)
      this.#functions.set(address, exported)
    }
    return exported
  }

  /** The address in this group of an exported function of any group; undefined for anything else. */
  addressOf(value) {
    const record = describeFunction(value)
    if (record === undefined) return undefined
    return record.group === this ? record.address : this.#adopt(value, record.signature)
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

  // A function of another group is a host function here, and keeps its identity: its address answers with the
  // original object.
  #adopt(exported, signature) {
    let address = this.#foreign.get(exported)
    if (address === undefined) {
      const adapter = createAdapter(exported, signature, this)
      address = native.hostFunctionCreate(this.handle, signature.text, adapter)
      this.keep.push(adapter)
      this.#foreign.set(exported, address)
      this.#functions.set(address, exported)
    }
    return address
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
  if (bound.length === 0) return preferred ?? new Group()
  const [first, ...others] = bound
  for (const other of others) {
    if (other.group === first.group) continue
    throw new classes.LinkError(
      `${caller}: ${other.subject}: it belongs to other instances than ${first.subject}; ` +
        'tables, tags and mutable reference globals of instances that were not linked with each other cannot be mixed'
    )
  }
  return first.group
}

module.exports = { Group, chooseGroup }
