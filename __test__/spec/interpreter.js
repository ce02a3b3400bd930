'use strict'
// Runs a script's commands through the JavaScript API of an engine, as the specification's own harness does
// (WebAssembly/spec, interpreter/script/js.ml).

const { matches, toJS } = require('./values.js')
const { wrapper } = require('./wrapper.js')

/** A module that the engine need not have compiled or refused, or what depends on one. */
class Excused extends Error {}

class Failed extends Error {}

/** What a call returns whose results were compared in WebAssembly. */
const WRAPPED = Symbol('wrapped')

/** The host module of the scripts (interpreter/README.md, "Spectest host module"). */
function spectest({ Memory, Table }) {
  const print = () => {}
  return {
    print,
    print_i32: print,
    print_i64: print,
    print_f32: print,
    print_f64: print,
    print_i32_f32: print,
    print_f64_f64: print,
    global_i32: 666,
    global_i64: 666n,
    global_f32: 666.6,
    global_f64: 666.6,
    table: new Table({ initial: 10, maximum: 20, element: 'anyfunc' }),
    memory: new Memory({ initial: 1, maximum: 2 }),
    shared_memory: new Memory({ initial: 1, maximum: 2, shared: true }),
  }
}

/**
 * The wrappers of a script's instances, by the position of the command that makes the instance.
 *
 * @param {{commands: object[], modules: Map}} script
 * @param {(text: string) => Uint8Array} assemble
 * @returns {Map<number, Uint8Array>}
 */
function wrappers({ commands, modules }, assemble) {
  const named = new Map()
  const calls = new Map()
  commands.forEach((command, position) => {
    const { type, name, instance, action } = command
    if (type === 'module' || type === 'module_instance') {
      named.set(undefined, position)
      named.set(name ?? instance, position)
    } else if (action?.type === 'invoke') {
      const of = named.get(action.module)
      if (!calls.has(of)) calls.set(of, new Map())
      calls.get(of).set(`${position}`, command)
    }
  })
  const vectors = (of) => modules.get(commands[of].filename)?.vectors ?? {}
  const texts = [...calls].map(([of, calls]) => [of, wrapper(calls, vectors(of))])
  return new Map(texts.filter(([, text]) => text !== undefined).map(([of, text]) => [of, assemble(text)]))
}

/** One engine's way through one script. */
class Interpreter {
  #engine
  #script
  #registry = { __proto__: null }
  #definitions = new Map()
  #instances = new Map()
  #position = 0

  /**
   * @param {object} engine
   * @param {object} engine.WebAssembly the namespace
   * @param {object} [engine.options] of the Module constructor
   * @param {string[]} engine.lacking the features that it need not have
   * @param {string[]} engine.newer the features that it has and older scripts deny
   * @param {(module: object) => Promise<void>} engine.prepare what happens once a module has its instance
   * @param {{commands: object[], modules: Map, wrappers: Map<number, Uint8Array>}} script
   */
  constructor(engine, script) {
    this.#engine = engine
    this.#script = script
    this.#registry.spectest = spectest(engine.WebAssembly)
  }

  /** @returns {Promise<{result: 'passed' | 'failed' | 'excused', words?: string, why?: string}[]>} one a command */
  async run() {
    const outcomes = []
    for (const [position, command] of this.#script.commands.entries()) {
      this.#position = position
      outcomes.push(await this.#outcome(command))
    }
    return outcomes
  }

  async #outcome(command) {
    if (!COMMANDS.includes(command.type)) throw new Error(`there is a command ${command.type}`)
    try {
      return { result: 'passed', words: await this[command.type](command) }
    } catch (error) {
      if (error instanceof Excused) return { result: 'excused', why: error.message }
      return { result: 'failed', why: error instanceof Failed ? error.message : `${error?.stack ?? error}` }
    }
  }

  #compile({ filename, binary_filename: binary }) {
    const { bytes, needs } = this.#script.modules.get(binary ?? filename)
    const missing = needs.filter((feature) => this.#engine.lacking.includes(feature))
    if (missing.length === 0) return this.#build(bytes)
    expectError(this.#engine.WebAssembly.CompileError, () => this.#build(bytes))
    throw new Excused(`the engine has no ${missing.join(', ')}`)
  }

  #build(bytes) {
    return new this.#engine.WebAssembly.Module(bytes, this.#engine.options)
  }

  #instantiate(module) {
    const imports = new Proxy(this.#registry, {
      get(registry, name) {
        const found = registry[name]
        if (found instanceof Excused) throw found
        return found ?? {}
      },
    })
    return new this.#engine.WebAssembly.Instance(module, imports).exports
  }

  /** Makes an instance; what becomes of it is under `name`, and what commands without a name are about. */
  async #begin(name, makeModule) {
    let instance
    try {
      const module = makeModule()
      const exports = this.#instantiate(module)
      await this.#engine.prepare(module)
      const wrapped = this.#script.wrappers.get(this.#position)
      instance = { exports, wrapper: undefined }
      if (wrapped !== undefined) {
        // It imports each function that the script calls, and calls each once: by itself, each would take as long as all of them.
        const around = new this.#engine.WebAssembly.Module(wrapped, { ...this.#engine.options, baseline: 'eager' })
        instance.wrapper = new this.#engine.WebAssembly.Instance(around, { instance: exports }).exports
        await this.#engine.prepare(around)
      }
    } catch (error) {
      instance = error
      throw error
    } finally {
      this.#instances.set(undefined, instance)
      if (name !== undefined) this.#instances.set(name, instance)
    }
  }

  #perform({ type, module, field, args }) {
    const { exports, wrapper } = found(this.#instances, module)
    if (type === 'get') return exports[field].value
    const wrapped = wrapper?.[this.#position]
    if (wrapped === undefined) return exports[field](...args.map(toJS))
    if (wrapped() !== 1) throw new Failed('another value, says a comparison in WebAssembly')
    return WRAPPED
  }

  async module(command) {
    await this.#begin(command.name, () => this.#compile(command))
  }

  module_definition(command) {
    let module
    try {
      module = this.#compile(command)
    } catch (error) {
      module = error
      throw error
    } finally {
      this.#definitions.set(undefined, module)
      this.#definitions.set(command.name, module)
    }
  }

  async module_instance({ instance, module }) {
    await this.#begin(instance, () => found(this.#definitions, module))
  }

  register({ name, as }) {
    const instance = this.#instances.get(name)
    this.#registry[as] = instance instanceof Excused ? instance : found(this.#instances, name).exports
  }

  action({ action }) {
    this.#perform(action)
  }

  assert_return({ action, expected }) {
    const returned = this.#perform(action)
    if (returned === WRAPPED) return
    const values = expected.length === 0 ? [] : expected.length === 1 ? [returned] : [...returned]
    if (expected.length === 0 && returned !== undefined) throw new Failed(`returned ${String(returned)}`)
    if (values.length !== expected.length || !values.every((value, index) => matches(value, expected[index]))) {
      throw new Failed(`returned ${values.map((value) => String(value))}, not ${JSON.stringify(expected)}`)
    }
  }

  assert_trap({ action }) {
    return expectError(this.#engine.WebAssembly.RuntimeError, () => this.#perform(action))
  }

  assert_exhaustion({ action }) {
    return expectError(RangeError, () => this.#perform(action))
  }

  assert_exception({ action }) {
    expectError(this.#engine.WebAssembly.Exception, () => this.#perform(action))
  }

  assert_uninstantiable(command) {
    const module = this.#compile(command)
    return expectError(this.#engine.WebAssembly.RuntimeError, () => this.#instantiate(module))
  }

  assert_unlinkable(command) {
    const module = this.#compile(command)
    expectError(this.#engine.WebAssembly.LinkError, () => this.#instantiate(module))
  }

  assert_invalid(command) {
    this.#refused(command)
  }

  assert_malformed(command) {
    this.#refused(command)
  }

  #refused({ filename, binary_filename: binary }) {
    const { bytes, needs } = this.#script.modules.get(binary ?? filename)
    if (this.#engine.WebAssembly.validate(bytes)) {
      const beyond = needs.filter((feature) => this.#engine.newer.includes(feature))
      if (beyond.length > 0) throw new Excused(`the engine has ${beyond.join(', ')}`)
      throw new Failed('validate() says that the module is valid')
    }
    expectError(this.#engine.WebAssembly.CompileError, () => this.#build(bytes))
  }
}

/** A module or an instance; its error if it has become none. */
function found(named, name) {
  const one = named.get(name)
  if (one instanceof Error) throw one
  return one
}

/** Calls `act`, which has to throw a `Class`; its message. */
function expectError(Class, act) {
  let returned
  try {
    returned = act()
  } catch (error) {
    if (error instanceof Class) return error.message
    if (error instanceof Excused) throw error
    throw new Failed(`no ${Class.name} but ${error?.stack ?? String(error)}`)
  }
  throw new Failed(`no ${Class.name} but ${String(returned)}`)
}

const COMMANDS = Object.getOwnPropertyNames(Interpreter.prototype).filter((name) => !['constructor', 'run'].includes(name))

module.exports = { Interpreter, wrappers }
