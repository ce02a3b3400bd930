'use strict'
// The namespace: its classes, and the one that install puts in place.

const test = require('ava')
const { EMPTY, W, builtin, ours } = require('../support/engine.js')

test('classes want new, and their methods their own objects', (t) => {
  for (const name of ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag']) {
    t.throws(() => Reflect.apply(W[name], undefined, [{}]), {
      instanceOf: TypeError,
      message: `WebAssembly.${name}(): WebAssembly.${name} must be invoked with 'new'`,
    })
  }
  for (const name of ['imports', 'exports', 'customSections']) {
    t.throws(() => W.Module[name]({}, 'x'), {
      instanceOf: TypeError,
      message: `WebAssembly.Module.${name}(): Argument 0 must be a WebAssembly.Module`,
    })
  }
  for (const [name, method] of [
    ['Table', 'get'],
    ['Table', 'set'],
    ['Table', 'grow'],
    ['Memory', 'grow'],
    ['Global', 'valueOf'],
  ]) {
    t.throws(() => Reflect.apply(W[name].prototype[method], {}, [0]), {
      instanceOf: TypeError,
      message: `WebAssembly.${name}.${method}(): Receiver is not a WebAssembly.${name}`,
    })
  }
  class Mine extends W.Module {}
  t.true(new Mine(EMPTY) instanceof Mine)
})

/** Own keys with their attributes; for functions name, length and constructibility instead of identity. */
function shape(object) {
  const entries = Reflect.ownKeys(object).map((key) => {
    const { value, get, set, ...attributes } = Object.getOwnPropertyDescriptor(object, key)
    const describe = (f) => (typeof f === 'function' ? [f.name, f.length, 'prototype' in f] : typeof f)
    return [String(key), { ...attributes, value: describe(value), get: describe(get), set: describe(set) }]
  })
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

ours('install puts a namespace in place that looks like the built-in', (t) => {
  W.install()
  const namespace = globalThis.WebAssembly
  W.install()
  t.is(globalThis.WebAssembly, namespace)
  t.not(namespace, builtin)
  // Stack switching is absent, so that programs that look for it do without.
  const { Suspending: _s, promising: _p, SuspendError: _e, ...members } = shape(builtin)
  t.deepEqual(shape(namespace), members)
  t.is(namespace.Module, W.Module)
  for (const name of ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag']) {
    const { tier: _t, optimized: _o, ...statics } = shape(namespace[name])
    // V8's constructors are sloppy-mode functions.
    const { arguments: _a, caller: _c, ...theirs } = shape(builtin[name])
    t.deepEqual(statics, theirs, name)
    t.deepEqual(shape(namespace[name].prototype), shape(builtin[name].prototype), name)
  }
  W.uninstall()
  W.uninstall()
  t.is(globalThis.WebAssembly, builtin)
})
