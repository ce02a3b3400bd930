// The types of wasm-compile-cache: the WebAssembly JavaScript API (https://webassembly.github.io/spec/js-api/), the Web
// API's streaming functions (https://webassembly.github.io/spec/web-api/) with more sources, and what this package adds.
//
// They stand alone: neither TypeScript's "dom" library nor @types/node is needed. Where the standard types are there
// ("dom", "webworker"), the classes extend them; what else exists in both is described by its shape. So this package's
// objects and the platform's can be passed for each other.
//
// Importing `wasm-compile-cache/register` gives the global WebAssembly functions the options (register.d.ts).

declare global {
  // Merged with the standard types, and empty without them.
  namespace WebAssembly {
    interface Module {}
    interface Instance {}
    interface Memory {}
    interface Table {}
    interface Tag {}
    interface Exception {}
  }
}

/**
 * The WebAssembly JavaScript API on an engine that remembers what it compiled.
 *
 * Cold (nothing cached), the baseline tier compiles while the bytes arrive, and the optimizing tier replaces its code
 * in the background, inside the running instances. Hot (the artifact was found in the cache), nothing is compiled.
 *
 * Nothing is loaded before one of its members is used. Where it cannot be loaded, that throws an `Error` whose `code` is
 * `'ERR_WASM_NO_WEBASSEMBLY'` (`node --jitless`), `'ERR_WASM_ADDONS_DISABLED'` (`--no-addons`), `'ERR_WASM_NO_ADDON'` (it
 * is not installed, or does not fit the system) or `'ERR_WASM_SHADOW_STACK'` (the processor checks where functions return
 * to).
 *
 * An `Error` with the code `'ERR_WASM_INTERNAL'` is no fault of the program's: this package is wrong, or what it relies on.
 */
declare namespace wasm {
  // ── Compiling ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Bytes: an ArrayBuffer, or any view. They are copied before they are read. */
  type BufferSource = ArrayBufferView | ArrayBuffer

  /** What every function that compiles takes beside the standard's arguments. */
  interface CompileOptions {
    /**
     * Which engine compiles the module. `'ours'`: this package's. `'builtin'`: Node's own, whose code is kept
     * and given back to it, where the running Node can have that. `'auto'`: the one
     * that is known to be the better one for it (docs/engine.md); a module of which nothing is known is compiled by Node's
     * engine, and found out about by another process. Default: `'ours'`, and for the namespace that {@link install} puts in
     * place what that was given. Where `fallback` is `'error'` it is `'ours'`.
     */
    engine?: Engine
    /**
     * The second half of the cache's key, as in Chrome, whose cache is keyed by the resource and by the site that asks:
     * artifacts of one partition are not found from another. A lone surrogate in it is an error. Default: `''`.
     */
    partition?: string
    /**
     * `true`: look the module up, and store its artifact. `'read-only'`: look it up, never store. `false`: neither.
     * Default: `true`.
     */
    cache?: boolean | 'read-only'
    /** Modules of fewer bytes than this are not cached. `0` caches everything. Default: `131072` (128 kB). */
    minSize?: number
    /**
     * When the baseline tier compiles: `'lazy'`, a function when it is called first; `'eager'`, all of them before the module is
     * ready; `'auto'`, modules with 64 KiB of code lazily (functions with SIMD, atomics or `try_table` count eight times), below
     * 2 MiB with all that is not called meanwhile, and small ones eagerly. While the bytes of a module arrive, its functions are compiled in any case. Elsewhere than on x86-64
     * with Linux or macOS, and on ARM64 with Linux, it is always eager. What is asked to be eager has no calls counted: no function
     * of it is optimized before the rest. Default: `'auto'`.
     */
    baseline?: 'auto' | 'lazy' | 'eager'
    /**
     * Whether the optimizing tier compiles the module in the background. Without it the module stays in the baseline
     * tier, and nothing is stored; an artifact that is there already is still used. Default: `true`.
     */
    optimize?: boolean
    /**
     * Whether a process that ends before the optimizing tier is done hands the module to a detached process of low
     * priority, one for all its modules, which finishes and stores it. Default: `true`; the variable
     * `WASM_COMPILE_CACHE_FINISH=0` switches it off for all modules. No process is left behind in a container whose process
     * 1 is no init: nothing would wait for it there.
     */
    finish?: boolean
    /**
     * What becomes of a valid module that needs a feature this package's engine does not have (garbage-collected types,
     * memory64, tail calls, …). `'builtin'`: the engine of Node compiles it, nothing is cached, and
     * the `fallback` event says why. `'error'`: a CompileError that names the feature and its offset. Default: `'error'`,
     * and `'builtin'` for the namespace that {@link install} puts in place.
     */
    fallback?: 'builtin' | 'error'
    /**
     * Ends the work: the promise rejects with the signal's reason, the source is cancelled, compiling stops.
     * Default: none.
     */
    signal?: AbortSignalLike
    /**
     * The standard's: sets of imports that the engine itself resolves, such as `'js-string'`. Only the built-in engine has
     * any: a module that imports from one of these goes the way of {@link CompileOptions.fallback}. Default: none.
     */
    builtins?: readonly string[]
    /**
     * The standard's: the module name whose imports are strings, the import's own name each. It is as with
     * {@link CompileOptions.builtins}. Default: none.
     */
    importedStringConstants?: string | null
  }

  /** See {@link CompileOptions.engine}. */
  type Engine = 'auto' | 'ours' | 'builtin'

  /** The options where nothing can be given up half-way. */
  type SyncCompileOptions = Omit<CompileOptions, 'signal'>

  /** What {@link compileStreaming} reads bytes from. */
  type SourceValue =
    ResponseLike | ReadableStreamLike | AsyncIterable<BufferSource> | BlobLike | URLLike | RequestLike | BufferSource

  /**
   * A source of a module's bytes, or a promise of one:
   *
   * - a `Response`, or anything like one. It is checked as the Web API demands: status `ok`, MIME type exactly
   *   `application/wasm`, an unused body;
   * - a web `ReadableStream`, a Node `Readable`, an `http.IncomingMessage`, any async iterable of bytes;
   * - a `Blob`, or bytes;
   * - a `file:` URL. A file that was cached before and has not changed since is not even read;
   * - an `http:` or `https:` URL, or a `Request`: it is fetched with the global `fetch`, and its response treated as if it had
   *   been passed. The bytes are kept together with what the response says of how long they hold (RFC 9111, as a private
   *   cache, and the Request's `cache` mode): within that time nothing is requested, after it the server is asked whether
   *   they changed, and its 304 is enough. A record belongs to the URL without its fragment, and to the `partition`.
   */
  type Source = SourceValue | PromiseLike<SourceValue>

  /** A `Response` of any realm and any fetch implementation. */
  interface ResponseLike {
    readonly body: ReadableStreamLike | AsyncIterable<BufferSource> | null
    readonly bodyUsed?: boolean
    readonly ok?: boolean
    readonly status?: number
    readonly headers: { get(name: string): string | null }
    readonly url?: string
  }

  /** A web `ReadableStream` of bytes. */
  interface ReadableStreamLike {
    readonly locked: boolean
    getReader(): {
      read(): Promise<{ done: boolean; value?: any }>
      cancel(reason?: any): Promise<void>
      releaseLock(): void
    }
    cancel(reason?: any): Promise<void>
  }

  /** A `Blob` or `File`. */
  interface BlobLike {
    readonly size: number
    readonly type: string
    stream(): ReadableStreamLike
    arrayBuffer(): Promise<ArrayBuffer>
  }

  /** A `URL` whose protocol is `file:`, `http:` or `https:`. */
  interface URLLike {
    readonly href: string
    readonly protocol: string
  }

  /** A `Request`, for the address of a module. */
  interface RequestLike {
    readonly url: string
    readonly method: string
    readonly headers: { forEach(visit: (value: string, name: string) => void): void }
    readonly signal: AbortSignalLike
    clone(): RequestLike
  }

  /** An `AbortSignal`. */
  interface AbortSignalLike {
    readonly aborted: boolean
    readonly reason: any
    addEventListener(type: 'abort', listener: (event: any) => void, options?: { once?: boolean }): void
    removeEventListener(type: 'abort', listener: (event: any) => void): void
  }

  /** What instantiating bytes gives. */
  interface WebAssemblyInstantiatedSource {
    module: Module
    instance: Instance
  }

  /**
   * Compiles a module. The promise resolves when it can be run: when the baseline tier is ready, or the artifact mapped.
   *
   * @throws {CompileError} (as a rejection) if the bytes are not a valid module.
   */
  function compile(bytes: BufferSource, options?: CompileOptions): Promise<Module>

  /**
   * Compiles a module while its bytes arrive. The promise rejects as soon as an invalid byte did, and the source is
   * cancelled then.
   *
   * @throws {TypeError} (as a rejection) if the source is none, or a Response that the Web API does not accept.
   * @throws {CompileError} (as a rejection) if the bytes are not a valid module.
   */
  function compileStreaming(source: Source, options?: CompileOptions): Promise<Module>

  /**
   * Compiles and instantiates.
   *
   * @throws {CompileError} (as a rejection) if the bytes are not a valid module.
   * @throws {LinkError} (as a rejection) if an import does not fit.
   * @throws {RuntimeError} (as a rejection) if the start function, or initialising a table or memory, traps.
   */
  function instantiate(
    bytes: BufferSource,
    importObject?: Imports,
    options?: CompileOptions
  ): Promise<WebAssemblyInstantiatedSource>
  function instantiate(moduleObject: Module, importObject?: Imports): Promise<Instance>

  /** {@link compileStreaming}, then {@link instantiate}. */
  function instantiateStreaming(
    source: Source,
    importObject?: Imports,
    options?: CompileOptions
  ): Promise<WebAssemblyInstantiatedSource>

  /** Whether the bytes are a valid module, which compiles with these options. Nothing is compiled. */
  function validate(bytes: BufferSource, options?: SyncCompileOptions): boolean

  // ── The API's classes ─────────────────────────────────────────────────────────────────────────────────────────────

  type ImportExportKind = 'function' | 'global' | 'memory' | 'table' | 'tag'

  interface ModuleExportDescriptor {
    name: string
    kind: ImportExportKind
  }

  interface ModuleImportDescriptor {
    module: string
    name: string
    kind: ImportExportKind
  }

  /** Which code new instances of a module get. */
  type Tier = 'baseline' | 'optimized' | 'builtin'

  /**
   * A compiled module. The same bytes compiled twice in one process share one. It can be posted to another thread of the
   * process, or cloned, and is shared then, too.
   */
  class Module {
    /** Compiles in the calling thread. */
    constructor(bytes: BufferSource, options?: SyncCompileOptions)

    /** What the module exports, in its order. */
    static exports(moduleObject: Module): ModuleExportDescriptor[]
    /** What the module imports, in its order. */
    static imports(moduleObject: Module): ModuleImportDescriptor[]
    /** The contents of every custom section of that name. */
    static customSections(moduleObject: Module, sectionName: string): ArrayBuffer[]

    /**
     * Not in the standard: `'baseline'` until the optimizing tier has taken over, then `'optimized'`. A module whose
     * artifact was found in the cache is `'optimized'` from the start. `'builtin'`: the built-in engine compiled it
     * ({@link CompileOptions.fallback}).
     */
    static tier(moduleObject: Module): Tier
    /**
     * Not in the standard: resolves when the module's tier is `'optimized'` and every living instance has been swapped.
     * Rejects if the optimizing tier failed, or was not asked for (`optimize: false`). Resolves at once for a module of
     * the built-in engine.
     */
    static optimized(moduleObject: Module): Promise<void>
  }
  interface Module extends globalThis.WebAssembly.Module {}

  /**
   * What an instance exports: functions, memories, tables, globals and tags. Which name is what, the module alone knows
   * ({@link Module.exports}).
   */
  type Exports = Record<string, any>

  type ExportValue = Function | Global | Memory | Table | Tag
  type ImportValue = ExportValue | number | bigint
  type ModuleImports = Record<string, ImportValue>
  /**
   * Imports by module, then by name. Of the built-in engine's objects functions, memories and immutable globals (but of
   * the types `v128` and `exnref`) fit; its tables, mutable globals and tags do only where the module can follow them
   * ({@link CompileOptions.fallback}).
   */
  type Imports = Record<string, ModuleImports>

  /** An instance. Its code is swapped in place when the optimizing tier is done. */
  class Instance {
    /** Instantiates in the calling thread. */
    constructor(moduleObject: Module, importObject?: Imports)
    readonly exports: Exports
  }
  interface Instance extends globalThis.WebAssembly.Instance {}

  interface MemoryDescriptor {
    /** In pages of 64 kB. */
    initial: number
    /** In pages. Default: none; required if `shared`. */
    maximum?: number
    /** Default: `false`. */
    shared?: boolean
  }

  /** A memory. It is a subclass of the built-in one, which owns the bytes, and fits wherever the built-in one does. */
  class Memory {
    constructor(descriptor: MemoryDescriptor)
    /** A `SharedArrayBuffer` if the memory is shared. */
    readonly buffer: ArrayBuffer
    /** Grows by `delta` pages, and returns how many it had. */
    grow(delta: number): number
  }
  interface Memory extends globalThis.WebAssembly.Memory {}

  type TableKind = 'anyfunc' | 'externref'

  interface TableDescriptor {
    element: TableKind
    initial: number
    /** Default: none. */
    maximum?: number
  }

  class Table {
    /** @param value what every entry is at first; `null` (`undefined` for `externref`) by default */
    constructor(descriptor: TableDescriptor, value?: any)
    readonly length: number
    get(index: number): any
    /** Grows by `delta` entries, and returns how many there were. */
    grow(delta: number, value?: any): number
    set(index: number, value?: any): void
  }
  interface Table extends globalThis.WebAssembly.Table {}

  interface ValueTypeMap {
    anyfunc: Function
    externref: any
    f32: number
    f64: number
    i32: number
    i64: bigint
    v128: never
  }

  type ValueType = keyof ValueTypeMap

  interface GlobalDescriptor<T extends ValueType = ValueType> {
    value: T
    /** Default: `false`. */
    mutable?: boolean
  }

  class Global<T extends ValueType = ValueType> {
    constructor(descriptor: GlobalDescriptor<T>, value?: ValueTypeMap[T])
    value: ValueTypeMap[T]
    valueOf(): ValueTypeMap[T]
  }

  interface TagDescriptor {
    parameters: ValueType[]
  }

  /** The type of an {@link Exception}. */
  class Tag {
    constructor(descriptor: TagDescriptor)
    // Optional, because the standard's type has no members at all, and is to fit.
    readonly [Symbol.toStringTag]?: string
  }
  interface Tag extends globalThis.WebAssembly.Tag {}

  /** The tag of JavaScript's exceptions in WebAssembly. `undefined` where the Node at hand has none. */
  const JSTag: Tag | undefined

  interface ExceptionOptions {
    /** Whether the exception gets a `stack`. Default: `false`. */
    traceStack?: boolean
  }

  /** An exception that WebAssembly code threw, or that JavaScript throws for it to catch. */
  class Exception {
    constructor(tag: Tag, payload: readonly any[], options?: ExceptionOptions)
    is(tag: Tag): boolean
    getArg(tag: Tag, index: number): any
    /** `undefined` unless it was asked for. */
    readonly stack: string | undefined
  }
  interface Exception extends globalThis.WebAssembly.Exception {}

  // ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────
  // The realm's own classes: `error instanceof WebAssembly.CompileError` holds with or without install().

  interface CompileError extends Error {
    /** For example `'ERR_WASM_INVALID_MODULE'`. */
    readonly code?: string
    /** With the code `'ERR_WASM_UNSUPPORTED'`: what the engine lacks, for example `'tail-call'`. */
    readonly feature?: string
    /** With the same: where in the module it is needed, where one place does. */
    readonly offset?: number
  }
  interface LinkError extends Error {
    /** For example `'ERR_WASM_NO_GUARD_REGION'`. */
    readonly code?: string
  }
  interface RuntimeError extends Error {}

  const CompileError: {
    prototype: CompileError
    new (message?: string, options?: { cause?: unknown }): CompileError
    (message?: string, options?: { cause?: unknown }): CompileError
  }
  const LinkError: {
    prototype: LinkError
    new (message?: string, options?: { cause?: unknown }): LinkError
    (message?: string, options?: { cause?: unknown }): LinkError
  }
  const RuntimeError: {
    prototype: RuntimeError
    new (message?: string, options?: { cause?: unknown }): RuntimeError
    (message?: string, options?: { cause?: unknown }): RuntimeError
  }

  // ── Licences ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The licences of the code that this process runs, as SPDX expressions. */
  interface Licences {
    /** Of this package's own code: `'MIT OR Apache-2.0'`. */
    readonly package: string
    /** Of the native addon that is loaded, with what is linked into it. */
    readonly addon: string
    /** Whether Singlepass is in it, whose use in production takes a sponsorship. */
    readonly singlepass: boolean
    /** What there is no choice of MIT or Apache-2.0 for, in the addon (`'crate'`) or beside it (`'npm'`). */
    readonly others: readonly {
      readonly kind: 'crate' | 'npm'
      readonly name: string
      readonly version: string
      readonly license: string
    }[]
    /** The file with all notices. */
    readonly notices: string
  }
  const licences: Licences

  // ── The cache ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Where the cache goes, and how much it may hold. */
  interface CacheConfiguration {
    /** Default: the variable `WASM_COMPILE_CACHE`, else `wasm-compile-cache` in the user's cache directory. */
    directory?: string
    /**
     * In bytes, over all that is stored; what was least recently used makes room. Default: the variable
     * `WASM_COMPILE_CACHE_MAX_SIZE`, else 1 GiB, or a tenth of the free disk if that is less.
     */
    maxSize?: number
    /**
     * In bytes, for one artifact; a larger one is not stored. Default: the variable `WASM_COMPILE_CACHE_MAX_ENTRY_SIZE`, else
     * 512 MiB.
     */
    maxEntrySize?: number
    /** `'read-only'`: what is there is used, nothing is changed. Default: `'read-write'`. */
    mode?: 'read-write' | 'read-only'
    /**
     * A cache that machines share, behind this one: its address, or more of it. Default: the variables
     * `WASM_COMPILE_CACHE_REMOTE`, …; see docs/remote.md.
     */
    remote?: string | RemoteConfiguration
  }

  /** A cache that machines share. Code is made for a level of processors then, unless `WASM_COMPILE_CACHE_CPU` says another one. */
  interface RemoteConfiguration {
    /**
     * `file:///folder`, `https://host/path` (GET and PUT, as WebDAV has them), and, with the package `opendal`,
     * `s3://bucket/prefix?region=…`, `gcs://bucket/prefix`, `azblob://container/prefix`, `redis://host:port`,
     * `memcached://host:port`, `ghac://`. The parameters are OpenDAL's options.
     */
    url: string
    /**
     * Ed25519 public keys, as paths or texts of PEM files: what none of them has signed is not used. Default: the public half of
     * `sign`.
     */
    keys?: string | readonly string[]
    /** The Ed25519 private key, as the path or text of a PEM file, that signs what is sent. Default: nothing is sent. */
    sign?: string
    /** Whatever is there is run, whoever has put it there, and what is sent is not signed. Default: `false`. */
    trust?: boolean
    /** `'read-only'`: nothing is sent, though there is a key. Default: `'read-write'`. */
    mode?: 'read-write' | 'read-only'
  }

  /** What {@link Cache.enable} found. */
  interface CacheStatus {
    /**
     * `'enabled'`: as was asked for. `'already-enabled'`: it was in use before, as `directory` says; a process has one
     * cache. `'read-only'`: it is looked up, and never stored to. `'failed'`: it cannot be used, for the reason in
     * `message`; modules are compiled as ever. `'disabled'`: by the user, with `WASM_DISABLE_COMPILE_CACHE=1`, or by
     * `node --permission`.
     */
    readonly status: 'enabled' | 'already-enabled' | 'read-only' | 'failed' | 'disabled'
    /** Why it is not what was asked for. */
    readonly message?: string
    /** Where the cache is. */
    readonly directory?: string
  }

  /** What the cache did. */
  interface CacheCounters {
    /** Lookups that found an artifact. */
    readonly hits: number
    /** Lookups that found none, by the reason: `'absent'`, `'other-partition'`, `'other-engine'`, `'seal-mismatch'`, … */
    readonly misses: Readonly<Record<string, number>>
    /** Artifacts stored. */
    readonly writes: number
    readonly writeFailures: number
    /** Artifacts and modules' bytes that made room for others. */
    readonly evicted: number
    /** Defective artifacts that were quarantined. */
    readonly quarantined: number
    /** Bytes of the artifacts stored. */
    readonly bytesWritten: number
    /** What became of asking the cache that machines share. */
    readonly remote: {
      readonly hits: number
      readonly misses: number
      /** It could not be reached, or had what was refused. */
      readonly failures: number
      /** Artifacts sent to it. */
      readonly writes: number
      /** Bytes that came from it, and went to it. */
      readonly bytesRead: number
      readonly bytesWritten: number
      /** In milliseconds, from the question to what came of it, added up. */
      readonly time: number
    }
  }

  interface CacheStats {
    /** Of this process. */
    readonly process: CacheCounters
    /** Of all processes. */
    readonly total: CacheCounters
    /** How many artifacts are there. */
    readonly entries: number
    /** Bytes of all that is stored. */
    readonly bytes: number
    /** What may be stored, in bytes; `0` without a cache. */
    readonly limit: number
    /** What is quarantined, for a week at most. */
    readonly quarantined: { readonly files: number; readonly bytes: number }
  }

  /** An artifact in the cache. */
  interface CacheEntry {
    /** Its name: of the module's bytes, of everything that shapes the code, and of the partition. */
    readonly key: string
    /** blake3 of the module's bytes, in hexadecimal. */
    readonly hash: string
    /** Where the module came from when it was compiled: a URL, a path, or `''`. */
    readonly source: string
    readonly partition: string
    /** What shaped the code beside the module: the engine's version, the processor's features, … */
    readonly engine: Readonly<Record<string, string>>
    /** Bytes on disk. */
    readonly bytes: number
    /** Bytes of the module. */
    readonly wasmBytes: number
    /** In milliseconds since the epoch. */
    readonly created: number
    /** In milliseconds since the epoch, to the minute. */
    readonly lastUsed: number
    /** Its file. */
    readonly path: string
    /** Whether this version of the package, on this machine, would find it. */
    readonly current: boolean
  }

  interface CacheReport {
    /** Artifacts that are as they were written. */
    readonly verified: number
    /** Those that were not: where they were, and what is wrong with them. */
    readonly quarantined: readonly { readonly path: string; readonly reason: string }[]
  }

  /** What was removed. */
  interface CacheRemoval {
    readonly files: number
    readonly bytes: number
  }

  /** The cache of the process. */
  interface Cache {
    /** Where it is; `null` if it is disabled, or no place is known. Reading this uses the cache, as the first compile does. */
    readonly directory: string | null
    /**
     * Says where the cache goes, before it is used: the first configuration counts for the process. A string is
     * the directory. It never throws.
     */
    enable(options?: CacheConfiguration | string): CacheStatus
    /** What was counted, and what is there. */
    stats(): CacheStats
    /** What is there, of all versions of this package. */
    entries(): CacheEntry[]
    /** Reads every artifact, in the background, and quarantines damaged ones. */
    verify(): Promise<CacheReport>
    /**
     * Removes what was not used for `maxAge` milliseconds (default: nothing is too old), then what was used least
     * recently, until no more than `maxSize` bytes are left (default: what the cache may hold).
     */
    prune(options?: { maxSize?: number; maxAge?: number }): CacheRemoval
    /** Removes everything. Programs that run keep what they use. */
    clear(): CacheRemoval
    /** Resolves when every module that waits to be stored is stored, or could not be. */
    flush(): Promise<void>
    /**
     * Writes entries of this version of the package into an archive, for {@link Cache.import} of another cache: a container
     * image, a CI job. A file that has this name, or that a link of this name leads to, is replaced once the archive is whole.
     *
     * Rejects with a `code` that begins with `ERR_WASM_ARCHIVE_`: `KEY` (of the key's file), `TARGET` (what has this name is a
     * folder, a pipe or a device), `NO_ENTRY` (there is nothing to export, or one of `keys` is not there as it was written),
     * `CHANGED` (an entry was removed meanwhile), `TOO_LARGE`; or with
     * `ERR_WASM_CACHE_DISABLED` or `ERR_WASM_CACHE_FAILED`, `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE`, or the system's.
     */
    export(file: string | URLLike, options?: CacheExportOptions): Promise<CacheExport>
    /**
     * Takes the entries of an archive into this cache, sealed with this user's key. What is there already stays, unless it
     * differs.
     *
     * Later runs execute the code that is in the archive, with all rights of the process. So it must carry the signature of
     * `key`; with `trust: true` it may come from anybody who can write the file.
     *
     * Every entry is verified before it is stored. An archive that is not in order rejects with a `code` that begins with
     * `ERR_WASM_ARCHIVE_`: `UNSIGNED`, `SIGNATURE`, `TRUNCATED`, `MALFORMED`, `MANIFEST`, `FORMAT`, `MISSING`, `EXTRA`,
     * `DUPLICATE`, `PATH`, `SIZE`, `TOO_LARGE`, `DIGEST`, `NOT_STORED` (the cache's limits), `KEY` (of the key's file). Entries
     * before the place that is not in order stay. Without a cache that can be written it rejects with
     * `ERR_WASM_CACHE_DISABLED`, `ERR_WASM_CACHE_FAILED` or `ERR_WASM_CACHE_READ_ONLY`, for arguments with
     * `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE`, else as the system says.
     */
    import(file: string | URLLike, options: CacheImportOptions): Promise<CacheImport>
  }

  interface CacheExportOptions {
    /** Only the entries with these keys, see {@link CacheEntry.key}. Default: all that are `current`. */
    keys?: readonly string[]
    /** Only the entries of this partition. Default: all. */
    partition?: string
    /**
     * The PEM file with the Ed25519 key that signs, PKCS#8; if it is encrypted, the variable `WASM_ARCHIVE_PASSPHRASE` opens
     * it. Default: the archive is not signed.
     */
    sign?: string | URLLike
  }

  /** Which archive is taken: one that this key signed, or any. */
  type CacheImportOptions =
    /** `key`: the PEM file with the Ed25519 public key, SPKI. */
    | { key: string | URLLike; trust?: false }
    /** `trust`: the signature is not checked. */
    | { trust: true; key?: undefined }

  /** An entry in an archive. */
  interface CacheArchived {
    readonly key: string
    /** blake3 of the module's bytes, in hexadecimal. */
    readonly hash: string
    /** As {@link CacheEntry.source}; an address is without its query, fragment, user and password. */
    readonly source: string
    readonly partition: string
  }

  interface CacheExport {
    /** The archive, absolute. */
    readonly file: string
    /** Its size. */
    readonly bytes: number
    readonly signed: boolean
    /** `bytes`: of the artifact. */
    readonly entries: readonly (CacheArchived & { readonly bytes: number })[]
    /** What was left out, because it is damaged: {@link Cache.verify} quarantines it. */
    readonly omitted: readonly (CacheArchived & { readonly path: string })[]
  }

  interface CacheImport {
    /** What was stored, and where. */
    readonly imported: readonly (CacheArchived & { readonly path: string })[]
    /** What was there already. */
    readonly present: readonly CacheArchived[]
    /** What was made for another engine, version or machine: why, in words and as the fields that differ. */
    readonly skipped: readonly (CacheArchived & {
      readonly reason: string
      readonly differs: readonly { readonly field: string; readonly cached: string; readonly current: string }[]
    })[]
  }

  const cache: Cache

  // ── The drop-in ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Puts this package in the place of `globalThis.WebAssembly`, in the calling thread. A second call does nothing.
   * `node --require wasm-compile-cache/register` does it before a program starts.
   *
   * `engine` is which one compiles what is compiled by that namespace, where a call does not say. Default: the variable `WASM_COMPILE_CACHE_ENGINE`, else `'auto'`.
   *
   * @throws `TypeError` with the code `'ERR_INVALID_ARG_TYPE'` or `'ERR_INVALID_ARG_VALUE'` for another `engine`
   */
  function install(options?: { engine?: Engine }): void

  /** Puts the built-in back. Objects that were made meanwhile go on working. */
  function uninstall(): void

  /** The namespace object that install() puts in place: the standard's members, and nothing else. */
  const WebAssembly: {
    compile: typeof compile
    compileStreaming: typeof compileStreaming
    instantiate: typeof instantiate
    instantiateStreaming: typeof instantiateStreaming
    validate: typeof validate
    Module: typeof Module
    Instance: typeof Instance
    Memory: typeof Memory
    Table: typeof Table
    Global: typeof Global
    Tag: typeof Tag
    JSTag: typeof JSTag
    Exception: typeof Exception
    CompileError: typeof CompileError
    LinkError: typeof LinkError
    RuntimeError: typeof RuntimeError
  }

  // ── Events ────────────────────────────────────────────────────────────────────────────────────────────────────────
  // Published on node:diagnostics_channel, each on the channel `wasm-compile-cache:<name>`.

  /** What every event carries. */
  interface EventBase<Name extends string> {
    readonly name: Name
    /** When it began, in milliseconds since the epoch, with fractions. */
    readonly ts: number
    /** How long it took, in milliseconds; `0` for what takes no time. */
    readonly dur: number
  }

  /** What the events about a module carry. */
  interface SourceEvent<Name extends string> extends EventBase<Name> {
    /** Where the bytes came from: a URL, a path, or `''`. */
    readonly source: string
  }

  /** What the events about a module whose size is known carry. */
  interface ModuleEvent<Name extends string> extends SourceEvent<Name> {
    /** The module's size. */
    readonly bytes: number
    /** blake3 of the module's bytes, in hexadecimal; absent where they were not all read. */
    readonly hash?: string
  }

  /** What the events about an artifact carry. */
  interface ArtifactEvent<Name extends string> extends ModuleEvent<Name> {
    /** The artifact's size. */
    readonly artifactBytes: number
    /** Where it is. */
    readonly path: string
  }

  /** The events' payloads by name. The names are V8's where it has one. */
  interface EventMap {
    /** All bytes of a stream have arrived, in so many chunks. */
    streamFromResponseCallback: ModuleEvent<'streamFromResponseCallback'> & { readonly chunks: number }
    /**
     * The baseline tier's code is ready. `craneliftBytes` of the module's bytes are functions that Cranelift had to
     * compile for it.
     */
    baselineReady: ModuleEvent<'baselineReady'> & { readonly craneliftBytes: number }
    /** The module can be run: compiled, mapped, or shared with an earlier one of the same bytes. The promise resolves. */
    compiledModule: ModuleEvent<'compiledModule'>
    /**
     * The optimizing tier's code has taken over in every instance. `from` says whether this process compiled it or mapped
     * what another one has stored; `early` of how many functions it had taken over before, because they were called often.
     */
    optimizedReady: ModuleEvent<'optimizedReady'> & { readonly from: 'compiler' | 'cache' | 'remote'; readonly early: number }
    /** The artifact has been stored. */
    cachedModule: ArtifactEvent<'cachedModule'>
    /** The artifact was found and mapped, or else copied: nothing is compiled. */
    moduleCacheHit: ArtifactEvent<'moduleCacheHit'> & {
      /** Whether the artifact was hashed now, or relied on because it is the file that was hashed before. */
      readonly verified: 'now' | 'before'
      /**
       * Whether the pages of the code are the file's, which all processes share, or a copy of this process' own: V8's code, on macOS,
       * on a file system from which nothing may be executed (`noexec`), and when no further file can be opened.
       */
      readonly pages: 'shared' | 'private'
      /** How much of `dur` it took to map or copy the artifact, in milliseconds. */
      readonly mapping: number
    }
    /** Which engine compiles a module where {@link CompileOptions.engine} is `'auto'`, and why, in words. */
    verdict: SourceEvent<'verdict'> & { readonly engine: 'ours' | 'builtin'; readonly reason: string; readonly bytes: number }
    /** Nothing was found that this engine could use for this partition; not emitted for modules below `minSize`. */
    moduleCacheMiss: SourceEvent<'moduleCacheMiss'> & {
      readonly hash: string
      readonly reason: 'absent' | 'other-partition' | 'other-engine'
    }
    /** An artifact was found and refused. A defective one is quarantined; the module is compiled, and the artifact replaced. */
    moduleCacheInvalid: SourceEvent<'moduleCacheInvalid'> & { readonly reason: string }
    /** The cache that machines share had the artifact, of which so many bytes came; the image has `artifactBytes`. */
    remoteHit: SourceEvent<'remoteHit'> & {
      readonly hash: string
      readonly transferBytes: number
      readonly artifactBytes: number
    }
    /** It has none. */
    remoteMiss: SourceEvent<'remoteMiss'> & { readonly hash: string }
    /** What it has was refused. */
    remoteInvalid: SourceEvent<'remoteInvalid'> & { readonly hash: string; readonly reason: string }
    /** It could not be used. */
    remoteFailed: SourceEvent<'remoteFailed'> & { readonly hash: string; readonly reason: string }
    /** The artifact was sent to it. */
    remoteStored: SourceEvent<'remoteStored'> & { readonly hash: string; readonly transferBytes: number }
    /**
     * The artifact could not be stored, or the cache cannot be used. The first in a process is also a warning of Node's, of
     * the name `WasmCompileCacheWarning` and with the same `code`.
     */
    cacheWriteFailed: SourceEvent<'cacheWriteFailed'> & {
      readonly reason: string
      readonly code: string
      readonly path?: string
    }
    /**
     * The module needs a feature that this package's engine does not have, at this offset of its bytes, and was compiled
     * by the built-in engine.
     */
    fallback: SourceEvent<'fallback'> & {
      /** The module's size. */
      readonly bytes: number
      readonly feature: string
      readonly offset?: number
    }
    /**
     * What became of a URL or a Request, when its module was made of what was kept, or when its response begins.
     * `'fresh'`: nothing was requested; `'revalidated'`: the server said that nothing changed; `'fetched'`: it sent the
     * whole; `'changed'`: it sent the whole, whose `ETag` or `Last-Modified` is another than that of what was kept; `'stale'`:
     * it could not be reached, or failed, and had allowed to use what was kept then (`stale-if-error`).
     */
    resource: SourceEvent<'resource'> & {
      readonly outcome: 'fresh' | 'revalidated' | 'fetched' | 'changed' | 'stale'
      /** The response's; without one, absent. */
      readonly status?: number
    }
    /** The process ends, and has left an unfinished module to another, which takes all of them, one after the other. */
    handedOff: EventBase<'handedOff'> & { readonly spool: string; readonly pid: number }
    /** Something that this package relies on does not hold in this process, which therefore does without the feature. */
    featureOff: EventBase<'featureOff'> & { readonly feature: string; readonly reason: string }
    /** An error of this package itself: in what, and its message with the place in the source. */
    panicked: EventBase<'panicked'> & { readonly what: string; readonly message: string }
  }

  type EventName = keyof EventMap
  type Event = EventMap[EventName]
}

export = wasm
