// The decoder inside the package source-map is a small module with a plain interface: a string of mappings goes into its
// memory, and it calls an import for every mapping.

import { Instance, Module, compileStreaming } from 'wasm-compile-cache'

// It is below 128 kB, which the cache leaves alone unless it is asked.
const url = new URL('lib/mappings.wasm', import.meta.resolve('source-map'))
const module = await compileStreaming(url, { minSize: 0 })

const mappings = []
const env = {
  mapping_callback(line, column, _hasLast, _last, _hasOriginal, source, originalLine, originalColumn) {
    mappings.push(`${line + 1}:${column} from ${source}:${originalLine + 1}:${originalColumn}`)
  },
}
// Its other imports only measure time.
for (const { name } of Module.imports(module)) env[name] ??= () => {}

const { exports } = new Instance(module, { env })

function decode(text) {
  const pointer = exports.allocate_mappings(text.length)
  new TextEncoder().encodeInto(text, new Uint8Array(exports.memory.buffer, pointer, text.length))
  const parsed = exports.parse_mappings(pointer)
  mappings.length = 0
  exports.by_generated_location(parsed)
  exports.free_mappings(parsed)
  return mappings.join('\n')
}

const first = decode('AAAA,SAASA;ACCT')
console.log(first)

await Module.optimized(module)
console.log(decode('AAAA,SAASA;ACCT') === first ? `the same in ${Module.tier(module)} code` : 'not the same')
