'use strict'

// Builds the addon from source and puts it where the loader looks first: wasm-compile-cache.<platform>.node beside
// package.json.
//
//   node scripts/build.js [--profile <name>] [--target <triple>] [--output-dir <dir>] [anything for cargo, e.g. --no-default-features]
//
// The profile is `release` unless another is named: `checks` is the tests', `dev` has debug assertions.
//
// It is cargo and a copy; CARGO_TARGET_DIR is respected. For another platform's addon it is `napi build`, which brings the
// cross compilers (--use-napi-cross, -x). binding.js, the loader that picks the platform's addon, is napi's too: it is
// generated in a checkout, and comes with an installed package.

const fs = require('node:fs')
const path = require('node:path')
const { spawn, spawnSync } = require('node:child_process')
const { seconds } = require('./run.js')
const shim = require('./shim.js')

const ROOT = path.join(__dirname, '..')
const BINARY = 'wasm-compile-cache'
const LOADER = path.join(ROOT, 'binding.js')
const NAPI_CLI = path.join(ROOT, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js')

/** The platform's name as napi spells it: linux-x64-gnu, darwin-arm64, … */
function platformName(triple) {
  if (triple !== undefined) return PLATFORMS[triple] ?? triple
  const { platform, arch } = process
  if (platform === 'linux') {
    // glibc names itself in the report; musl does not.
    const glibc = process.report.getReport().header.glibcVersionRuntime
    return `${platform}-${arch}-${glibc ? 'gnu' : 'musl'}`
  }
  return `${platform}-${arch}`
}

/** Where the built addon for this platform is kept. */
const addonPath = (directory = ROOT) => path.join(directory, `${BINARY}.${platformName()}.node`)

const PLATFORMS = {
  'x86_64-unknown-linux-gnu': 'linux-x64-gnu',
  'x86_64-unknown-linux-musl': 'linux-x64-musl',
  'aarch64-unknown-linux-gnu': 'linux-arm64-gnu',
  'aarch64-unknown-linux-musl': 'linux-arm64-musl',
  'x86_64-apple-darwin': 'darwin-x64',
  'aarch64-apple-darwin': 'darwin-arm64',
}

/** What asks for one of napi's cross compilers. */
const CROSS = ['--use-napi-cross', '--cross-compile', '-x']

const cargoVersion = () => {
  const { status, stdout } = spawnSync('cargo', ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : null
}

const NO_CARGO = `wasm-compile-cache has to be compiled from source here, and that takes Rust (cargo), which was not found.
Install it from https://rustup.rs (Rust ${rustVersion()} or newer), then run the same command again.`

function rustVersion() {
  const manifest = fs.readFileSync(path.join(ROOT, 'Cargo.toml'), 'utf8')
  return /^rust-version\s*=\s*"([^"]+)"/m.exec(manifest)?.[1] ?? 'stable'
}

/** The environment cargo needs: with musl a cdylib takes a dynamic C runtime, which is not rustup's default there. */
function cargoEnvironment(triple) {
  if (!(triple?.includes('musl') ?? platformName().endsWith('musl'))) return process.env
  const { RUSTFLAGS = '' } = process.env
  if (RUSTFLAGS.includes('-crt-static')) return process.env
  return { ...process.env, RUSTFLAGS: `${RUSTFLAGS} -C target-feature=-crt-static`.trim() }
}

/** Runs cargo, which writes its progress on stderr, and returns the path of the cdylib it names. */
async function cargo(args, triple) {
  const child = spawn(
    'cargo',
    ['build', '--package', 'wasm-compile-cache', '--lib', '--locked', ...args, '--message-format=json-render-diagnostics'],
    {
      cwd: ROOT,
      env: cargoEnvironment(triple),
      stdio: ['ignore', 'pipe', 'inherit'],
    }
  )
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  await ended(child, 'cargo build')
  for (const line of stdout.split('\n')) {
    if (!line.includes('"cdylib"')) continue
    const message = JSON.parse(line)
    if (message.reason !== 'compiler-artifact' || !message.target.kind.includes('cdylib')) continue
    const library = message.filenames.find((name) => /\.(so|dylib|dll)$/.test(name))
    if (library !== undefined) return library
  }
  throw new Error('cargo named no cdylib')
}

async function crossCompile(args, profile, triple, outputDir, flags) {
  const child = spawn(
    process.execPath,
    [
      NAPI_CLI,
      'build',
      '--platform',
      '--no-js',
      '--profile',
      profile,
      '--target',
      triple,
      '--output-dir',
      outputDir,
      ...flags,
      '--',
      '--locked',
      ...args,
    ],
    { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] }
  )
  await ended(child, 'napi build')
}

async function ended(child, what) {
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) throw new Error(`${what} failed (exit code ${code})`)
}

/** The package's JavaScript; an installed package has it. */
function writeBundles() {
  if (fs.existsSync(path.join(ROOT, 'lib'))) require('./bundle.js').build()
}

/** Generates the loader: first the addon beside it, then the platform's package. */
async function writeLoader() {
  const { writeJsBinding } = await import('@napi-rs/cli')
  const { version, napi } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  await writeJsBinding({
    platform: true,
    outputDir: ROOT,
    jsBinding: path.basename(LOADER),
    binaryName: napi.binaryName,
    packageName: napi.packageName,
    version,
    idents: ['version'], // the loader exports all of the addon; a list of names is only for import statements
  })
}

/** Aside and renamed: a process that has the old addon mapped keeps the old file. */
function place(library, to) {
  const aside = `${to}.${process.pid}`
  fs.copyFileSync(library, aside)
  fs.renameSync(aside, to)
  const now = new Date()
  fs.utimesSync(to, now, now)
}

/**
 * Builds the addon, and the loader where it can be generated.
 *
 * @param {{profile?: string, target?: string, outputDir?: string, cargoArgs?: string[]}} [options]
 */
async function build({ profile = 'release', target, outputDir = ROOT, cargoArgs = [] } = {}) {
  if (cargoVersion() === null) throw new Error(NO_CARGO)
  fs.mkdirSync(outputDir, { recursive: true })
  const cross = cargoArgs.filter((arg) => CROSS.includes(arg))
  const args = cargoArgs.filter((arg) => !CROSS.includes(arg))
  if (cross.length > 0) {
    await crossCompile(args, profile, target, outputDir, cross)
  } else {
    const library = await cargo(['--profile', profile, ...args, ...(target === undefined ? [] : ['--target', target])], target)
    place(library, path.join(outputDir, `${BINARY}.${platformName(target)}.node`))
  }
  // Those of another platform are built there.
  if (target === undefined) for (const problem of shim.build(addonPath(outputDir))) console.warn(problem)
  if (fs.existsSync(NAPI_CLI)) await writeLoader()
  writeBundles()
}

/** Everything the addon is made from; younger than the addon means stale. */
function newestSource() {
  let newest = 0
  const look = (entry) => {
    const stat = fs.statSync(entry)
    if (stat.isDirectory()) for (const name of fs.readdirSync(entry)) look(path.join(entry, name))
    else newest = Math.max(newest, stat.mtimeMs)
  }
  const engine = ['src', 'build.rs', 'Cargo.toml'].map((name) => `crates/engine/${name}`)
  const store = ['src', 'Cargo.toml'].map((name) => `crates/store/${name}`)
  for (const name of ['src', 'build.rs', 'Cargo.toml', 'Cargo.lock', ...engine, ...store]) look(path.join(ROOT, name))
  return newest
}

/** Is there an addon and a loader, and are they younger than every source? */
function isFresh(directory = ROOT) {
  try {
    const built = fs.statSync(addonPath(directory)).mtimeMs
    return fs.existsSync(LOADER) && built >= newestSource()
  } catch {
    return false
  }
}

async function main(argv) {
  const options = { cargoArgs: [] }
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--profile') options.profile = argv[++i]
    else if (argv[i] === '--target') options.target = argv[++i]
    else if (argv[i] === '--output-dir') options.outputDir = path.resolve(argv[++i])
    else options.cargoArgs.push(argv[i])
  }
  const started = Date.now()
  console.log(
    `Building the addon with ${cargoVersion() ?? 'cargo'} (${options.profile ?? 'release'} profile${options.cargoArgs
      .map((arg) => ` ${arg}`)
      .join('')}). The first build compiles two code generators: some minutes.`
  )
  await build(options)
  console.log(`Built in ${seconds(Date.now() - started)}.`)
}

module.exports = { build, isFresh, addonPath, platformName }

if (require.main === module) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
