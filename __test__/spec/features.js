'use strict'
// The features that our engine does not have, by their names in wasmparser's WasmFeatures. A module that needs one of them
// must be refused here, or compiled by the built-in engine where that is allowed (option `fallback`); what a script then
// does with such a module is not held against us. When the engine learns one, its line has to go: a module that
// needs it and compiles all the same is an error of this list.
const LACKING = [
  'ACQUIRE_RELEASE_ATOMICS',
  'CUSTOM_DESCRIPTORS',
  'CUSTOM_PAGE_SIZES',
  'FUNCTION_REFERENCES',
  'GC',
  'MEMORY64',
  'SHARED_EVERYTHING_THREADS',
  'STACK_SWITCHING',
  'TAIL_CALL',
  'WIDE_ARITHMETIC',
]

// Those that our engine has and the built-in of an older Node has not. Older scripts say that modules which need them are
// not valid, and such a Node agrees.
const NEWER = ['EXCEPTIONS', 'MULTI_MEMORY', 'RELAXED_SIMD']

// Words that our engine cannot tell apart, [ours, the built-in's]: wasmer's table.init has one trap for a table and for a
// segment that ends too early.
const ALIKE = [['table index is out of bounds', 'element segment out of bounds']]

module.exports = { ALIKE, LACKING, NEWER }
