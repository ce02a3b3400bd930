'use strict'
// Where the measured modules come from: real packages, and the text files of this folder.

const { readFileSync, writeFileSync } = require('node:fs')
const path = require('node:path')

const within = (name, ...parts) => path.join(path.dirname(require.resolve(`${name}/package.json`)), ...parts)

/** Assembles `name`.wat of this folder into `directory`; resolves to the path of the binary. */
async function assemble(name, directory) {
  const wabt = await require('wabt')()
  const parsed = wabt.parseWat(`${name}.wat`, readFileSync(path.join(__dirname, `${name}.wat`), 'utf8'), { exceptions: true })
  const file = path.join(directory, `${name}.wasm`)
  writeFileSync(file, parsed.toBinary({}).buffer)
  parsed.destroy()
  return file
}

const esbuild = () => within('esbuild-wasm', 'esbuild.wasm')
const ffmpeg = () => path.join(path.dirname(require.resolve('@ffmpeg/core')), 'ffmpeg-core.wasm')
const pglite = () => path.join(path.dirname(require.resolve('@electric-sql/pglite')), 'pglite.wasm')
const sqljs = () => require.resolve('sql.js/dist/sql-wasm.wasm')
const swc = () => within('@swc/wasm', 'wasm_bg.wasm')

module.exports = { assemble, esbuild, ffmpeg, pglite, sqljs, swc, within }
