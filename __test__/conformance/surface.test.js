'use strict'
// All that can be reached from the namespace by properties and prototypes, compared with this Node's own: keys in order,
// attributes, functions' names and lengths, what is a constructor, class strings, prototypes.
// https://webidl.spec.whatwg.org/#js-interfaces, #js-namespaces; what V8 does is the measure.

const test = require('ava')
const { builtin } = require('../support/engine.js')
const { check, engine, onBuiltin } = require('../support/conformance.js')

/** What we have and the standard has not (README, index.d.ts), by the path of its owner. */
const EXTRAS = { 'WebAssembly.Module': ['tier', 'optimized'] }

/** What the built-in has and we have not: stack switching, so that programs that look for it do without. */
const ABSENT = { WebAssembly: ['Suspending', 'promising', 'SuspendError'] }

// V8 up to 13 makes its constructors as sloppy-mode functions, which have these before `prototype`; ours have them after.
const SLOPPY = ['arguments', 'caller']

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'

function isConstructor(value) {
  try {
    Reflect.construct(Object, [], value)
    return true
  } catch {
    return false
  }
}

const INTRINSICS = new Map(
  Object.entries({ Object, Function, Error, Array, Promise }).flatMap(([name, value]) => [
    [value, name],
    [value.prototype, `${name}.prototype`],
  ])
)

/** Path -> description of every object that belongs to `namespace`. */
function walk(namespace) {
  const paths = new Map()
  const found = {}
  const visit = (object, path) => {
    if (INTRINSICS.has(object)) return INTRINSICS.get(object)
    if (paths.has(object)) return paths.get(object)
    paths.set(object, path)
    const description = {
      type: typeof object,
      extensible: Object.isExtensible(object),
      string: Object.prototype.toString.call(object),
    }
    found[path] = description
    if (typeof object === 'function') description.constructor = isConstructor(object)
    const keys = Reflect.ownKeys(object)
    description.keys = keys.filter((key) => !SLOPPY.includes(key)).map(String)
    description.sloppy = keys.filter((key) => SLOPPY.includes(key)).sort()
    description.properties = Object.fromEntries(
      keys.map((key) => {
        const { value, get, set, ...attributes } = Object.getOwnPropertyDescriptor(object, key)
        const step = `${path}.${String(key)}`
        const show = (member, where) => (isObject(member) ? visit(member, where) : member)
        return [
          String(key),
          { ...attributes, value: show(value, step), get: show(get, `get ${step}`), set: show(set, `set ${step}`) },
        ]
      })
    )
    const prototype = Object.getPrototypeOf(object)
    description.prototype = prototype === null ? null : visit(prototype, `${path}.[[Prototype]]`)
    return path
  }
  visit(namespace, 'WebAssembly')
  return found
}

/** Takes `names` out of the descriptions of their owners, and what is reached through them. */
function leaveOut(found, names) {
  for (const [owner, members] of Object.entries(names)) {
    const description = found[owner]
    description.keys = description.keys.filter((key) => !members.includes(key))
    for (const member of members) {
      delete description.properties[member]
      for (const path of Object.keys(found)) {
        if (new RegExp(`^(get |set )?${owner}\\.${member}(\\.|$)`).test(path)) delete found[path]
      }
    }
  }
  return found
}

test('the namespace is the built-in’s, property by property', (t) => {
  const ours = walk(engine)
  if (!onBuiltin) {
    for (const [owner, names] of Object.entries(EXTRAS)) {
      for (const name of names) {
        t.true(ours[owner].keys.includes(name), `${name} is documented`)
        t.false(ours[owner].properties[name].enumerable, `${name} is met by nobody who walks the standard's members`)
      }
    }
    leaveOut(ours, EXTRAS)
  }
  // As it is without us: while we are installed, some of its prototypes inherit from ours.
  const { install, uninstall } = require('../../index.js')
  if (!onBuiltin) uninstall()
  const theirs = leaveOut(walk(builtin), onBuiltin ? {} : ABSENT)
  if (!onBuiltin) install()
  t.deepEqual(ours, theirs)
})

check(
  'WebAssembly namespace object: a plain extensible object with the class string WebAssembly',
  (W) => ({
    prototype: Object.getPrototypeOf(W) === Object.prototype,
    string: String(W),
    callable: typeof W,
    tag: Object.getOwnPropertyDescriptor(W, Symbol.toStringTag),
  }),
  {
    prototype: true,
    string: '[object WebAssembly]',
    callable: 'object',
    tag: { value: 'WebAssembly', writable: false, enumerable: false, configurable: true },
  }
)

check(
  'globalThis.WebAssembly: writable, configurable, not enumerable (Web IDL, [Exposed] namespace)',
  () => {
    const { value: _value, ...attributes } = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')
    return attributes
  },
  { writable: true, enumerable: false, configurable: true }
)

check(
  'Web IDL operations: those of the namespace need no receiver',
  (W, { assemble, all }) => {
    const { validate, Module } = W
    const { exports, imports, customSections } = Module
    const module = new Module(assemble('(func (export "f"))'))
    return all({
      validate: () => validate(assemble('')),
      exports: () => exports(module),
      imports: () => imports(module),
      customSections: () => customSections(module, 'x'),
      otherReceiver: () => Reflect.apply(exports, 7, [module]),
    })
  },
  {
    validate: true,
    exports: [{ name: 'f', kind: 'function' }],
    imports: [],
    customSections: [],
    otherReceiver: [{ name: 'f', kind: 'function' }],
  }
)
