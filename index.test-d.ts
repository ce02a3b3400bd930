import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd'
import wasm, { cache, compileStreaming, Global, install, instantiateStreaming, Memory, Module } from '.'

// Run with and without the "dom" library, and with both ways of resolving modules (scripts/types.js). What needs "dom" is
// in __test__/types/dom/.

const bytes = new Uint8Array(8)

// Compiling.
expectType<Promise<wasm.Module>>(wasm.compile(bytes))
expectType<Promise<wasm.Module>>(
  wasm.compile(bytes.buffer, {
    partition: 'p',
    cache: false,
    minSize: 0,
    optimize: false,
    finish: false,
    fallback: 'builtin',
    signal: undefined,
  })
)
expectType<Promise<wasm.WebAssemblyInstantiatedSource>>(wasm.instantiate(bytes, { env: { f() {}, n: 1, big: 1n } }))
expectType<Promise<wasm.WebAssemblyInstantiatedSource>>(wasm.instantiate(bytes, {}, { cache: 'read-only' }))
expectType<boolean>(wasm.validate(bytes))
expectType<boolean>(wasm.validate(bytes, { builtins: ['js-string'], fallback: 'builtin' }))
expectType<wasm.Module>(new Module(bytes))
expectType<wasm.Module>(new Module(bytes, { minSize: 0 }))
expectError(wasm.compile('module.wasm'))
expectError(wasm.compile(bytes, { cache: 'write-only' }))
expectError(wasm.compile(bytes, { chache: false }))
expectError(wasm.compile(bytes, { minSize: '1' }))
expectError(new Module(bytes, { signal: undefined }))
expectAssignable<wasm.CompileOptions>({ partition: '', cache: true, minSize: Infinity, optimize: true, finish: true })
expectAssignable<wasm.CompileOptions>({ cache: 'read-only', fallback: 'error', engine: 'auto' })
expectType<wasm.Module>(new Module(bytes, { builtins: ['js-string'], importedStringConstants: 'strings' }))
expectError<wasm.CompileOptions>({ builtins: 'js-string' })
expectError<wasm.CompileOptions>({ importedStringConstants: true })
expectError<wasm.CompileOptions>({ partition: 1 })
expectError<wasm.CompileOptions>({ optimize: 'no' })
expectAssignable<wasm.CompileOptions>({ baseline: 'lazy' })
expectError<wasm.CompileOptions>({ baseline: 'early' })
expectError<wasm.CompileOptions>({ finish: 0 })
expectError<wasm.CompileOptions>({ fallback: true })
expectError<wasm.CompileOptions>({ signal: { aborted: false } })
expectType<keyof wasm.CompileOptions>(
  null as unknown as
    | 'engine'
    | 'partition'
    | 'cache'
    | 'minSize'
    | 'baseline'
    | 'optimize'
    | 'finish'
    | 'fallback'
    | 'signal'
    | 'builtins'
    | 'importedStringConstants'
)
expectType<keyof wasm.SyncCompileOptions>(
  null as unknown as
    | 'engine'
    | 'partition'
    | 'cache'
    | 'minSize'
    | 'baseline'
    | 'optimize'
    | 'finish'
    | 'fallback'
    | 'builtins'
    | 'importedStringConstants'
)

// A module gives an instance, bytes give both.
declare const module: wasm.Module
expectType<Promise<wasm.Instance>>(wasm.instantiate(module))
expectType<wasm.Instance>(new wasm.Instance(module, {}))
expectType<wasm.Exports>(new wasm.Instance(module).exports)
expectError(new wasm.Instance(module, { env: 1 }))
expectError(new wasm.Instance(module, { env: { name: 'text' } }))
expectType<wasm.ModuleExportDescriptor[]>(Module.exports(module))
expectType<wasm.ModuleImportDescriptor[]>(Module.imports(module))
expectType<ArrayBuffer[]>(Module.customSections(module, 'name'))
expectType<'baseline' | 'optimized' | 'builtin'>(Module.tier(module))
expectType<Promise<void>>(Module.optimized(module))

// Sources.
async function* chunks() {
  yield bytes
}
expectType<Promise<wasm.Module>>(compileStreaming(chunks()))
expectType<Promise<wasm.Module>>(compileStreaming(Promise.resolve(chunks())))
expectType<Promise<wasm.Module>>(compileStreaming(bytes, { signal: undefined }))
expectType<Promise<wasm.WebAssemblyInstantiatedSource>>(instantiateStreaming(chunks(), {}, { partition: 'p' }))
expectAssignable<wasm.Source>({ href: 'file:///a.wasm', protocol: 'file:' })
expectAssignable<wasm.Source>({ href: 'https://example.com/a.wasm', protocol: 'https:' })
expectNotAssignable<wasm.Source>('https://example.com/a.wasm')
expectNotAssignable<wasm.Source>({ url: 'https://example.com/a.wasm', method: 'GET' })
expectAssignable<wasm.Source>({ ok: true, headers: new Map() as unknown as { get(name: string): string | null }, body: null })
expectNotAssignable<wasm.Source>(1)
expectNotAssignable<wasm.Source>({})

// The classes.
const memory = new Memory({ initial: 1 })
expectType<ArrayBuffer>(memory.buffer)
expectType<number>(memory.grow(1))
expectError(new Memory({}))
expectError((memory.buffer = new ArrayBuffer(1)))
const global = new Global({ value: 'i64', mutable: true }, 1n)
expectType<bigint>(global.value)
expectError(new Global({ value: 'i64' }, 1))
const table = new wasm.Table({ element: 'anyfunc', initial: 1 })
expectType<number>(table.length)
expectType<number>(table.grow(1, null))
const tag = new wasm.Tag({ parameters: ['i32'] })
const exception = new wasm.Exception(tag, [1], { traceStack: true })
expectType<boolean>(exception.is(tag))
expectType<string | undefined>(exception.stack)
expectType<any>(exception.getArg(tag, 0))

expectType<wasm.Tag | undefined>(wasm.JSTag)

// The namespace that install() puts in place has the standard's members.
expectType<
  | 'compile'
  | 'compileStreaming'
  | 'instantiate'
  | 'instantiateStreaming'
  | 'validate'
  | 'Module'
  | 'Instance'
  | 'Memory'
  | 'Table'
  | 'Global'
  | 'Tag'
  | 'JSTag'
  | 'Exception'
  | 'CompileError'
  | 'LinkError'
  | 'RuntimeError'
>(null as unknown as keyof typeof wasm.WebAssembly)
expectType<typeof Module>(wasm.WebAssembly.Module)
expectAssignable<typeof wasm.WebAssembly>(wasm)
expectError(wasm.WebAssembly.install)

// Errors.
const error = new wasm.CompileError('message')
expectAssignable<Error>(error)
expectType<string | undefined>(error.code)
expectType<string | undefined>(error.feature)
expectType<number | undefined>(error.offset)
expectAssignable<Error>(wasm.RuntimeError('without new'))

// The cache.
expectType<string | null>(wasm.cache.directory)
expectError((wasm.cache.directory = '/elsewhere'))
expectType<'enabled' | 'already-enabled' | 'read-only' | 'failed' | 'disabled'>(wasm.cache.enable().status)
expectType<string | undefined>(wasm.cache.enable('/directory').message)
expectType<string | undefined>(cache.enable({ directory: '/d', maxSize: 1, maxEntrySize: 1, mode: 'read-only' }).directory)
expectError(cache.enable({ mode: 'write-only' }))
expectError(cache.enable({ maxsize: 1 }))
expectType<number>(cache.stats().process.hits)
expectType<number>(cache.stats().total.misses.absent)
expectType<number>(cache.stats().quarantined.files)
expectType<wasm.CacheEntry[]>(cache.entries())
expectType<Promise<wasm.CacheReport>>(cache.verify())
expectType<wasm.CacheRemoval>(cache.prune())
expectType<wasm.CacheRemoval>(cache.prune({ maxSize: 1e9, maxAge: 1000 }))
expectError(cache.prune({ maxAge: '1d' }))
expectType<wasm.CacheRemoval>(cache.clear())
expectType<Promise<void>>(cache.flush())
expectType<Promise<wasm.CacheExport>>(cache.export('cache.tar'))
expectType<Promise<wasm.CacheExport>>(
  cache.export({ href: 'file:///cache.tar', protocol: 'file:' }, { keys: ['0'], sign: 'private.pem' })
)
expectError(cache.export('cache.tar', { trust: true }))
expectType<Promise<wasm.CacheImport>>(cache.import('cache.tar', { key: { href: 'file:///public.pem', protocol: 'file:' } }))
expectType<Promise<wasm.CacheImport>>(cache.import('cache.tar', { trust: true }))
expectError(cache.import('cache.tar'))
expectError(cache.import('cache.tar', {}))
expectError(cache.import('cache.tar', { trust: false }))
expectError(cache.import('cache.tar', { key: 'public.pem', trust: true }))
declare const imported: wasm.CacheImport
expectType<string>(imported.skipped[0].differs[0].field)
expectType<string>(imported.imported[0].path)

// The drop-in and the events.
expectType<void>(install())
expectType<void>(wasm.uninstall())
expectType<boolean>(wasm.licences.singlepass)
expectType<string>(wasm.licences.others[0].license)
declare const event: wasm.Event
expectType<number>(event.dur)
expectType<
  | 'streamFromResponseCallback'
  | 'baselineReady'
  | 'compiledModule'
  | 'optimizedReady'
  | 'cachedModule'
  | 'moduleCacheHit'
  | 'moduleCacheMiss'
  | 'moduleCacheInvalid'
  | 'cacheWriteFailed'
  | 'fallback'
  | 'handedOff'
  | 'featureOff'
  | 'panicked'
  | 'remoteHit'
  | 'remoteMiss'
  | 'remoteInvalid'
  | 'remoteFailed'
  | 'remoteStored'
  | 'resource'
  | 'verdict'
>(null as unknown as wasm.EventName)
expectType<wasm.EventName>(event.name)
if (event.name === 'streamFromResponseCallback') expectType<number>(event.chunks)
if (event.name === 'baselineReady') expectType<number>(event.craneliftBytes)
if (event.name === 'compiledModule') expectType<string | undefined>(event.hash)
if (event.name === 'optimizedReady') expectType<number>(event.bytes)
if (event.name === 'cachedModule') expectType<string>(event.path)
if (event.name === 'moduleCacheHit') {
  expectType<number>(event.artifactBytes)
  expectType<'now' | 'before'>(event.verified)
  expectType<'shared' | 'private'>(event.pages)
  expectType<number>(event.mapping)
}
if (event.name === 'moduleCacheMiss') expectType<'absent' | 'other-partition' | 'other-engine'>(event.reason)
if (event.name === 'moduleCacheInvalid') expectType<string>(event.reason)
if (event.name === 'cacheWriteFailed') {
  expectType<string>(event.code)
  expectType<string | undefined>(event.path)
}
if (event.name === 'fallback') {
  expectType<string>(event.feature)
  expectType<number | undefined>(event.offset)
  expectType<number>(event.bytes)
  expectType<string>(event.source)
}
if (event.name === 'verdict') expectType<'ours' | 'builtin'>(event.engine)
if (event.name === 'handedOff') expectType<number>(event.pid)
expectType<wasm.EventMap['fallback']>(event as Extract<wasm.Event, { name: 'fallback' }>)
expectError((event.dur = 1))
