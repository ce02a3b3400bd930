'use strict'
// Both flavours of the package, from packed tarballs, in empty folders without Rust, by each package manager: they install, say
// their licence, and run a program cold and hot. The permissive one has nothing of Singlepass (docs/licensing.md).

const fs = require('node:fs')
const path = require('node:path')
const initial = require('ava')

const { BUILDS } = require('../scripts/test.js')
const { addonPath, build } = require('../scripts/build.js')
const { PERMISSIVE, renamed } = require('../scripts/permissive.js')
const { environment, folder } = require('./support/commands.js')
const { PLATFORM, release, succeed: run } = require('./support/installation.js')
const { isStress } = require('./support/stress.js')

const test = initial.serial
const NAME = 'wasm-compile-cache'

/** What is in the binary of whoever has linked Singlepass. */
const MARK = 'wasmer-compiler-singlepass'

const succeed = ([command, ...args], options) => run(command, [command, args], options)

/** An addon without Singlepass, as `npm run stress` has built it before. */
async function permissiveAddon() {
  const { folder: into, flags } = BUILDS.permissive
  if (!fs.existsSync(addonPath(into))) {
    fs.mkdirSync(into, { recursive: true })
    await build({ profile: 'checks', outputDir: into, cargoArgs: flags })
  }
  return addonPath(into)
}

/** How a manager is told where a package is that is not published. */
const MANAGERS = {
  npm: { install: ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund'], instead: (all) => ({ overrides: all }) },
  pnpm: {
    install: ['npx', '--yes', 'pnpm@9.15.9', 'install', '--prefer-offline', '--no-frozen-lockfile'],
    instead: (all) => ({ pnpm: { overrides: all } }),
  },
  yarn: { install: ['npx', '--yes', 'yarn@1.22.22', 'install', '--non-interactive'], instead: (all) => ({ resolutions: all }) },
}

const PROGRAM = `
const { Module, cache, compile, licences } = require('wasm-compile-cache')
const bytes = require('fs').readFileSync(process.argv[2])
compile(bytes).then(async (compiled) => {
  const first = Module.tier(compiled)
  await Module.optimized(compiled)
  await cache.flush()
  console.log(JSON.stringify({ first, licences }))
})`

for (const [flavour, isPermissive] of [
  ['the default', false],
  ['the permissive', true],
]) {
  for (const [index, [name, { install, instead }]] of Object.entries(MANAGERS).entries()) {
    // Each manager once, and each flavour; all of both under stress.
    if (!isStress && (index % 2 === 1) !== isPermissive) continue
    test(`${flavour} flavour, by ${name}`, async (t) => {
      const [made, home, cache] = [folder(t), folder(t), folder(t)]
      const addon = isPermissive ? await permissiveAddon() : undefined
      const { main, platform } = await release(made, { addon, isPermissive })
      const native = isPermissive ? renamed(PLATFORM) : PLATFORM
      // As an alias has it: under the name that programs require.
      const project = { private: true, dependencies: { [NAME]: `file:${main}` }, ...instead({ [native]: `file:${platform}` }) }
      fs.writeFileSync(path.join(home, 'package.json'), JSON.stringify(project))
      fs.writeFileSync(path.join(home, 'program.js'), PROGRAM)
      // Without Rust: no cargo is found.
      const env = environment({
        PATH: `${path.dirname(process.execPath)}:/usr/bin:/bin`,
        CARGO_HOME: made,
        NAPI_RS_NATIVE_LIBRARY_PATH: '',
      })
      await succeed(install, { cwd: home, env })

      const installed = path.join(home, 'node_modules', NAME)
      const manifest = JSON.parse(fs.readFileSync(path.join(installed, 'package.json')))
      t.is(manifest.name, isPermissive ? PERMISSIVE : NAME)
      const module = require.resolve('@jsquash/webp/codec/dec/webp_dec.wasm')
      const runs = []
      for (let round = 0; round < 2; round++) {
        const stdout = await succeed([process.execPath, 'program.js', module], {
          cwd: home,
          env: { ...env, WASM_COMPILE_CACHE: cache },
        })
        runs.push(JSON.parse(stdout))
      }
      t.deepEqual(
        runs.map(({ first }) => first),
        ['baseline', 'optimized']
      )
      const [{ licences }] = runs
      t.is(licences.singlepass, !isPermissive)
      t.is(licences.addon, isPermissive ? 'MIT OR Apache-2.0' : '(MIT OR Apache-2.0) AND BUSL-1.1')
      t.is(
        licences.others.some(({ license }) => license === 'BUSL-1.1'),
        !isPermissive
      )
      t.true(fs.existsSync(licences.notices))
      const found = fs.realpathSync(require.resolve(native, { paths: [fs.realpathSync(installed)] }))
      t.is(fs.readFileSync(found).includes(MARK), !isPermissive)
      t.is(fs.existsSync(path.join(path.dirname(found), 'LICENSE-SINGLEPASS')), !isPermissive)
      const doctor = await succeed([process.execPath, path.join(installed, 'dist/cli.js'), 'doctor', '--json'], {
        cwd: home,
        env: { ...env, WASM_COMPILE_CACHE: cache },
      })
      const { detail } = JSON.parse(doctor).checks.find((check) => check.name === 'licence')
      t.is(/sponsorship/.test(detail), !isPermissive, detail)
    })
  }
}
