'use strict'

// What comes and goes within a link group: instances, and JavaScript functions that its tables hold.
//
// Owns: what native needs of a unit for as long as that is there. Native holds this object weakly; whatever can call into
// the unit from JavaScript holds it. What WebAssembly can reach, the group holds (./group.js, runtime/unit.rs).

const { createExportedFunction } = require('./function.js')

class Unit {
  /** Adapters of imports, memories, owners of globals, units of imported functions. */
  keep = []
  /** What the instance imports, by import. */
  imports = []
  /** The units of which its own tables and globals held functions at the last sweep. */
  contents = []
  /** Whether it is there only for as long as JavaScript has this object. */
  loose = false
  /** Where the anyfuncs of its own functions lie. */
  from = 0
  to = 0
  /** Anyfunc's address -> its function object: one for as long as the unit is there. */
  functions = new Map()

  constructor(group) {
    this.group = group
  }

  /** The function object of one of its functions. */
  functionAt(address) {
    let exported = this.functions.get(address)
    if (exported === undefined) this.add(address, (exported = createExportedFunction(this, address)))
    return exported
  }

  add(address, exported) {
    this.functions.set(address, exported)
    if (!this.loose) this.group.functions.set(address, exported)
  }
}

module.exports = { Unit }
