'use strict'
// lightningcss-wasm: style sheets compiled for old browsers, with CSS modules, visitors called from
// WebAssembly, and a bundle whose files arrive by promise, for which the module unwinds and rewinds
// its stack (asyncify).

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

/** What a module exports comes out of a hash map, in any order. */
const sorted = (_, value) =>
  value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value

run(async () => {
  const css = require('lightningcss-wasm')
  await css.default()
  const source = fs.readFileSync(path.join(__dirname, 'styles.css'))
  const many = Buffer.concat(
    Array.from({ length: 4 }, (_, i) =>
      Buffer.from(
        source
          .toString()
          .replace(/^@(charset|import|namespace).*$/gm, '')
          .replaceAll('.card', `.card-${i}`)
      )
    )
  )
  const targets = css.browserslistToTargets(['chrome 80', 'safari 13', 'firefox 78'])
  const files = {
    'main.css': '@import "a.css"; @import "b.css" print;',
    'a.css': '@import "b.css"; a { color: red }',
    'b.css': many,
  }
  const read = async (file) => {
    await new Promise((resolve) => setImmediate(resolve))
    if (!(file in files)) throw new Error(`no ${file}`)
    return String(files[file])
  }

  return async () => {
    const outputs = []
    // Copied at once: they are views of a memory that grows.
    const add = ({ code, map, warnings, exports, references, dependencies }) =>
      outputs.push(
        Buffer.from(code),
        Buffer.from(map ?? ''),
        JSON.stringify({ warnings, exports, references, dependencies }, sorted)
      )
    add(
      css.transform({
        filename: 'styles.css',
        code: source,
        minify: true,
        sourceMap: true,
        targets,
        drafts: { customMedia: true },
        unusedSymbols: ['unused'],
      })
    )
    add(
      css.transform({
        filename: 'styles.css',
        code: source,
        cssModules: { dashedIdents: true },
        analyzeDependencies: true,
        drafts: { customMedia: true },
      })
    )
    add(css.transform({ filename: 'many.css', code: many, minify: true, targets, drafts: { customMedia: true } }))
    add(
      css.transform({
        filename: 'visited.css',
        code: many.subarray(0, many.length / 4),
        errorRecovery: true,
        visitor: {
          Length: ({ unit, value }) => ({ unit: unit === 'px' ? 'rem' : unit, value: unit === 'px' ? value / 16 : value }),
          Selector: (selector) => [...selector, { type: 'pseudo-class', kind: 'hover' }],
          Url: (url) => ({ ...url, url: `https://example.com/${url.url}` }),
        },
      })
    )
    add(css.transformStyleAttribute({ code: Buffer.from('margin:0 0 0 0;color:#ff0000;width:calc(1px + 2px)'), minify: true }))
    add(
      await css.bundleAsync({
        filename: 'main.css',
        minify: true,
        targets,
        drafts: { customMedia: true },
        resolver: { read, resolve: (file) => file },
      })
    )
    for (const broken of [
      () => css.transform({ filename: 'broken.css', code: Buffer.from('a { color: }} b') }),
      () =>
        css.transform({
          filename: 'visitor.css',
          code: source,
          visitor: {
            Length: () => {
              throw new RangeError('from the visitor')
            },
          },
        }),
      () =>
        css.bundleAsync({
          filename: 'main.css',
          resolver: {
            read: async () => {
              throw new TypeError('from the resolver')
            },
          },
        }),
    ]) {
      try {
        await broken()
        outputs.push('no error')
      } catch (error) {
        outputs.push(`${error.name}: ${error.message} ${JSON.stringify(error.loc)}`)
      }
    }
    return outputs
  }
})
