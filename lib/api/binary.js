'use strict'

// Small modules for the built-in engine, written byte by byte.

const CODES = { i: 0x7f, I: 0x7e, f: 0x7d, d: 0x7c, v: 0x7b, c: 0x70, r: 0x6f, x: 0x69 }

const PREAMBLE = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

const leb128 = (value) => (value < 128 ? [value] : [(value % 128) | 128, ...leb128(Math.floor(value / 128))])

/** Value types by letter (see ./signature.js), as a vector. */
const types = (letters) => [...leb128(letters.length), ...letters.map((letter) => CODES[letter])]

const name = (text) => {
  const bytes = Buffer.from(text)
  return [...leb128(bytes.length), ...bytes]
}

const section = (id, content) => [id, ...leb128(content.length), ...content]

const custom = (title, content) => section(0, [...name(title), ...content])

/** (type (func (param ...params) (result ...results))) */
const functionType = ({ params, results }) => section(1, [1, 0x60, ...types(params), ...types(results)])

const KINDS = { function: 0, memory: 2, global: 3 }

/** One import: `description` is what follows the kind. */
const importOf = (module, field, kind, description) => section(2, [1, ...name(module), ...name(field), KINDS[kind], ...description])

const exportFunction = (field, index) => section(7, [1, ...name(field), 0, index])

/** A name section. Debuggers have a script for every module of the built-in engine, and this is whose it is. */
const NAMED = custom('name', [0, ...(([length, ...rest]) => [length + 1, length, ...rest])(name('wasm-compile-cache'))])

const binary = (...sections) => new Uint8Array([...PREAMBLE, ...sections.flat(), ...NAMED])

module.exports = { CODES, NAMED, binary, custom, exportFunction, functionType, importOf, leb128 }
