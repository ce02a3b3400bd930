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

// What the namespace looks like is in ../conformance/surface.test.js.
ours('install puts a namespace in place, and uninstall the built-in', (t) => {
  W.install()
  const namespace = globalThis.WebAssembly
  W.install()
  t.is(globalThis.WebAssembly, namespace)
  t.not(namespace, builtin)
  t.is(namespace.Module, W.Module)
  W.uninstall()
  W.uninstall()
  t.is(globalThis.WebAssembly, builtin)
})
