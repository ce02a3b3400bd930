'use strict'

// WebAssembly.Instance: reading the imports, matching them with what the module declares, linking, exports, start.

const { createAdapter } = require('./adapter.js')
const { binary } = require('./binary.js')
const { compileNow, worded } = require('../compile/compile.js')
const { readOptions } = require('../compile/options.js')
const { shared } = require('../process/copies.js')
const { describeFunction } = require('./function.js')
const {
  bindGlobal,
  claimGlobal,
  decidingGroup,
  defineValue,
  globalAt,
  isBuiltinGlobal,
  isGlobal,
  matchGlobal,
} = require('./global.js')
const { chooseGroup } = require('./group.js')
const { builtinExports, instantiateBuiltin, linked, newBuiltinInstance } = require('./link-builtin.js')
const { state: front } = require('../front/state.js')
const { attachMemory, createMemory, isMemory, matchMemory } = require('./memory.js')
const { KINDS, describeModule, isModule, moduleOf, twinOf } = require('./module.js')
const { native, builtin, classes, helperModule } = require('../process/native.js')
const realm = require('../process/realm.js')
const { parseSignature } = require('./signature.js')
const { leaving } = require('./stack.js')
const { bindTable, claimTable, isBuiltinTable, isTable, matchTable, suggestedGroup, tableAt, tableGroup } = require('./table.js')
const { bindTag, homeGroup, isBuiltinTag, isTag, matchTag, tagAt } = require('./tag.js')
const { Unit } = require('./unit.js')
const { NOT_A_FUNCTION } = require('./value.js')
const { isObject } = require('./dictionary.js')
const { defineInterface, inheriting, requireNew, v8 } = require('./webidl.js')

const { apply } = Reflect

/** Instance of ours -> its exports object. */
const exportsOf = shared('exports of instances', () => new WeakMap())

// V8 names an import as `Import #0 module="m" function="f"` before 13 (Node 20 and 22), and before 12 adds ` error`.
const olderEnd = v8 < 12 ? ' error' : ''
const subjectOf = ({ module, name }, index) =>
  v8 < 13 ? `Import #${index} module="${module}" function="${name}"${olderEnd}` : `Import #${index} "${module}" "${name}"`
const moduleSubject = ({ module }, index) =>
  v8 < 13 ? `Import #${index} module="${module}"${olderEnd}` : `Import #${index} "${module}"`

const NOT_CALLABLE = 'function import requires a callable'

/** An import that suspends the stack (JSPI), which the built-in engine alone can. */
const isSuspending = (value) => front.suspending.has(value)

/** Why `value` cannot be an import of the declared kind; undefined if it can ("read the imports", steps 3.4 on). */
function kindMismatch({ kind, type }, value) {
  switch (kind) {
    case 'function':
      return typeof value === 'function' || isSuspending(value) ? undefined : NOT_CALLABLE
    case 'table':
      return isTable(value) ? undefined : 'table import requires a WebAssembly.Table'
    case 'memory':
      return isMemory(value) ? undefined : 'memory import must be a WebAssembly.Memory object'
    case 'tag':
      return isTag(value) || isBuiltinTag(value) ? undefined : 'tag import requires a WebAssembly.Tag'
    default:
      return isGlobal(value) ? undefined : constantMismatch(type, value)
  }
}

/** The same for a global given as a plain value. */
function constantMismatch({ value: letter, mutable }, value) {
  if (mutable) return 'imported mutable global must be a WebAssembly.Global object'
  switch (letter) {
    case 'r':
      return undefined
    case 'c':
      return value === null || describeFunction(value) !== undefined ? undefined : NOT_A_FUNCTION
    case 'v':
      return 'global import of type v128 must be a WebAssembly.Global'
    default:
      if (typeof value === (letter === 'I' ? 'bigint' : 'number') && letter !== 'x') return undefined
      return 'global import must be a number, valid Wasm reference, or WebAssembly.Global object'
  }
}

/** "Read the imports". The user's getters run here, in the order of the imports, and nowhere later. */
function readImports(module, importObject, where) {
  const { imports } = describeModule(module)
  // 1. If module's imports are not empty and importObject is undefined, throw a TypeError.
  if (imports.length > 0 && importObject === undefined) {
    throw new TypeError(`${where}: Imports argument must be present and must be an object`)
  }
  // A loop, so that the stacks of what the getters throw show no method of Array.
  const values = []
  for (const [index, declared] of imports.entries()) {
    // 3.1-3.3. Get(importObject, moduleName) has to be an object; Get(o, componentName).
    const from = importObject[declared.module]
    if (!isObject(from)) {
      throw new TypeError(`${where}: ${moduleSubject(declared, index)}: module is not an object or function`)
    }
    const value = from[declared.name]
    const mismatch = kindMismatch(declared, value)
    if (mismatch !== undefined) throw new classes.LinkError(`${where}: ${subjectOf(declared, index)}: ${mismatch}`)
    values.push(value)
  }
  return values
}

/** What the program made itself becomes ours, where it can. */
function claim({ kind }, value) {
  if (kind === 'table') claimTable(value)
  else if (kind === 'global' && isGlobal(value)) claimGlobal(value)
}

/** Import matching of the core specification (module instantiation, step 3). */
function matchImports(imports, values, where) {
  imports.forEach((declared, index) => {
    const { kind, type } = declared
    const value = values[index]
    const subject = `${where}: ${subjectOf(declared, index)}`
    if (kind === 'table') matchTable(value, type, index, subject)
    else if (kind === 'memory') matchMemory(value, type, subject)
    else if (kind === 'tag') matchTag(value, type, subject)
    else if (kind === 'global') isGlobal(value) && matchGlobal(value, type, subject)
    else {
      if (isSuspending(value)) throw new classes.LinkError(`${subject}: ${NOT_CALLABLE}`)
      const record = describeFunction(value)
      if (record !== undefined && record.signature.text !== type) {
        throw new classes.LinkError(`${subject}: imported function does not match the expected type`)
      }
    }
  })
}

/** Whether what cannot be shared between the engines belongs to the built-in one. */
const isTheirs = ({ kind, type }, value) =>
  (kind === 'function' && isSuspending(value)) ||
  (kind === 'table' && isBuiltinTable(value)) ||
  (kind === 'global' && type.mutable && isBuiltinGlobal(value)) ||
  (kind === 'tag' && isBuiltinTag(value))

/**
 * An instance of the built-in engine in the place of ours, for a module that is to share state with its instances (the
 * side modules of a program whose main module it compiled), or whose memories are not guarded; undefined where the bytes
 * were not kept for that.
 */
function linkElsewhere(module, values) {
  const { imports } = describeModule(module)
  const theirs = twinOf(module)
  if (theirs === undefined) return undefined
  // Whatever the names are, `__proto__` among them.
  const importObject = Object.create(null)
  imports.forEach(({ module: from, name }, index) => {
    importObject[from] ??= Object.create(null)
    importObject[from][name] = values[index]
  })
  return newBuiltinInstance(theirs, importObject)
}

/** The group that decides, if any, and the one that would suit. */
function groupOf(kind, value) {
  switch (kind) {
    case 'table':
      return { decides: tableGroup(value), suits: suggestedGroup(value) }
    case 'global':
      return isGlobal(value) ? { decides: decidingGroup(value) } : {}
    case 'tag':
      return { suits: homeGroup(value) }
    case 'function':
      return { suits: describeFunction(value)?.group }
    default:
      return {}
  }
}

function findGroup(imports, values, where) {
  const bound = []
  const suitable = { table: undefined, tag: undefined, function: undefined }
  imports.forEach((declared, index) => {
    const { decides, suits } = groupOf(declared.kind, values[index])
    if (decides) bound.push({ group: decides, subject: subjectOf(declared, index) })
    if (suits) suitable[declared.kind] ??= suits
  })
  return chooseGroup(bound, suitable.table ?? suitable.tag ?? suitable.function, where)
}

/** An import in the form native takes; what must stay alive with the instance goes to its unit. */
function bindImport({ kind, type }, value, { group, keep }) {
  switch (kind) {
    case 'table':
      return bindTable(value, group)
    case 'tag':
      return bindTag(value, group)
    case 'memory':
      return attachMemory(value)
    case 'global':
      return isGlobal(value) ? bindGlobal(value, type.value, group) : defineValue(group, type.value, false, value)
    default: {
      const own = group.adopt(value)
      if (own !== undefined) {
        keep.push(own.unit)
        return own.address
      }
      const adapter = createAdapter(value, parseSignature(type), group)
      keep.push(adapter)
      return adapter
    }
  }
}

/** "Create an exports object" */
function createExports({ names, kinds, types }, raws, memories, unit) {
  const { group, from, to } = unit
  const exported = Object.create(null)
  let others = 0
  names.forEach((name, index) => {
    const raw = raws[index]
    const kind = KINDS[kinds[index]]
    const type = kind === 'function' ? undefined : types[others++]
    switch (kind) {
      case 'function':
        exported[name] = raw >= from && raw < to ? unit.functionAt(raw) : group.functionAt(raw)
        break
      case 'table':
        exported[name] = tableAt(group, raw)
        break
      case 'memory':
        exported[name] = memories[raw]
        break
      case 'global':
        exported[name] = globalAt(group, raw, type)
        break
      default:
        exported[name] = tagAt(group, raw)
    }
  })
  return Object.freeze(exported)
}

/** "Instantiate the core of a WebAssembly module", then "initialize an instance object". */
function link(instance, module, values, where) {
  const { handle, imports, exports: declared, memories: defines } = describeModule(module)
  imports.forEach((declaration, index) => claim(declaration, values[index]))
  if (imports.some((declaration, index) => isTheirs(declaration, values[index]))) {
    const elsewhere = linkElsewhere(module, values)
    if (elsewhere !== undefined) return inheriting(elsewhere, instance)
  }
  matchImports(imports, values, where)
  const group = findGroup(imports, values, where)

  const unit = new Unit(group)
  unit.imports = values
  const defined = defines.map((type) => createMemory(type, where))
  unit.keep.push(...defined)
  const memories = [...values.filter((_, index) => imports[index].kind === 'memory'), ...defined]

  let made
  try {
    // First, because it is refused where no guard region can be seen, and nothing of the imports may belong to us then.
    memories.forEach(attachMemory)
    const bound = imports.map((declaration, index) => bindImport(declaration, values[index], unit))
    made = native.instantiate(handle, group.handle, bound, defined.map(attachMemory), v8, unit)
  } catch (error) {
    const elsewhere = error.code === 'ERR_WASM_NO_GUARD_REGION' ? linkElsewhere(module, values) : undefined
    if (elsewhere !== undefined) return inheriting(elsewhere, instance)
    throw worded(error, where)
  } finally {
    // Also where a segment was out of bounds: earlier segments may have published the instance.
    group.add(unit)
  }
  const { start } = made
  unit.from = made.from
  unit.to = made.to
  exportsOf.set(instance, createExports(declared, made.exports, memories, unit))
  // What the start function throws is the program's own, and left as it is.
  if (start !== 0) group.functionAt(start)()
  return instance
}

function checkImportObject(importObject, where) {
  if (importObject === undefined || isObject(importObject)) return
  throw new TypeError(`${where}: Argument 1 must be an object`)
}

const EMPTY = shared('a module of nothing', () => helperModule(binary()))

// Every Instance is V8's own; one of ours is V8's instance of a module without anything.
const create = () => new builtin.Instance(EMPTY)

/** Modules of the built-in engine that had to follow what they share -> the module of ours. */
const followers = shared('modules that follow', () => new WeakMap())

function followerOf(module, bytes, where) {
  if (!followers.has(module)) followers.set(module, moduleOf(compileNow(bytes, readOptions(undefined, where), where)))
  return followers.get(module)
}

/** What the built-in engine is to instantiate; or an instance of ours in its place, with `self`'s prototype. */
function linkTheirs(module, importObject, self, where) {
  const { bytes, imports } = linked(module, importObject, where)
  const own = bytes === undefined ? undefined : followerOf(module, bytes, where)
  // Undefined where this engine does not take it, too.
  if (own === undefined || describeModule(own) === undefined) return { imports }
  return { instance: link(inheriting(create(), self), own, readImports(own, imports, where), where) }
}

/** An instance of a module of the built-in engine, with `self`'s prototype. */
function newTheirs(module, importObject, self, where) {
  if (!realm.isAuto) return inheriting(newBuiltinInstance(module, importObject), self)
  const { imports, instance } = linkTheirs(module, importObject, self, where)
  return instance ?? inheriting(new builtin.Instance(module, imports), self)
}

/** The same as WebAssembly.instantiate does it. */
async function instantiateTheirs(module, importObject, prototype, where) {
  if (!realm.isAuto) return Object.setPrototypeOf(await instantiateBuiltin(module, importObject), prototype)
  const { imports, instance } = linkTheirs(module, importObject, Object.create(prototype), where)
  return instance ?? builtin.instantiate(module, imports)
}

function Instance(module, importObject = undefined) {
  try {
    const where = 'WebAssembly.Instance()'
    requireNew(new.target, 'Instance')
    if (!isModule(module)) throw new TypeError(`${where}: Argument 0 must be a WebAssembly.Module`)
    checkImportObject(importObject, where)
    if (describeModule(module) === undefined) return newTheirs(module, importObject, this, where)
    return link(inheriting(create(), this), module, readImports(module, importObject, where), where)
  } catch (error) {
    throw leaving(error, Instance) // node-do-not-add-exception-line
  }
}

const own = defineInterface(Instance, 'WebAssembly.Instance', {
  get exports() {
    try {
      return exportsOf.get(this) ?? apply(builtinExports, this, [])
    } catch (error) {
      throw leaving(error, own['get exports']) // node-do-not-add-exception-line
    }
  },
})

const newInstance = (module, values, where, prototype) => link(Object.setPrototypeOf(create(), prototype), module, values, where)

module.exports = { Instance, checkImportObject, instantiateTheirs, newInstance, readImports }
