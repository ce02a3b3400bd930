'use strict'

// From what was found of a module to a verdict.

const { formatSize } = require('../cache/quantities.js')
const { littleIn } = require('../front/run.js')

const number = (value) => Math.round(value).toLocaleString('en')

/** What this package's engine refused, in words. */
const refusal = ({ feature, offset, message }) =>
  feature === undefined ? message : `${feature.replaceAll('-', ' ')}${offset === undefined ? '' : ` at byte ${number(offset)}`}`

/** So many functions are an interface that is called in small steps: what crosses costs more here than V8's own compile. */
const MANY = { imports: 100, exports: 400 }

/**
 * What the interface of a module says, before anything of it is compiled.
 *
 * @param {{kind: string, name: string}[]} imports as Module.imports() gives them
 * @param {{kind: string}[]} exports
 * @returns {{engine: 'builtin', basis: string, reason: string} | undefined} undefined where it says nothing
 */
function groundsOfInterface(imports, exports) {
  const [inward, outward] = [imports, exports].map((all) => all.filter(({ kind }) => kind === 'function'))
  const invokes = inward.filter(({ name }) => name.startsWith('invoke_')).length
  const objection = (reason) => ({ engine: 'builtin', basis: 'imports', reason })
  if (invokes > 0) {
    return objection(
      `${number(invokes)} of its imports are invoke_*: exceptions through JavaScript cross between the two with every call`
    )
  }
  if (inward.length < MANY.imports && outward.length < MANY.exports) return undefined
  return objection(
    `it imports ${number(inward.length)} functions and exports ${number(outward.length)}: an interface of small steps`
  )
}

/**
 * @param {object} outcome as native gives it
 * @param {{size: number, run?: {wall: number, cpu: number, main?: number}}} facts of a run on the built-in engine
 * @returns {{engine: 'ours' | 'builtin', basis: string, reason: string}}
 */
function grounds(outcome, { size, run }) {
  const { outcome: kind, artifactBytes, hash } = outcome
  switch (kind) {
    case 'refused':
      return { engine: 'builtin', basis: 'refused', reason: refusal(outcome), hash }
    case 'invalid':
      return { engine: 'builtin', basis: 'refused', reason: 'it is not valid' }
    case 'failed':
      return { engine: 'builtin', basis: 'failed', reason: outcome.message }
    default:
  }
  const little = run === undefined ? undefined : littleIn(run)
  if (little !== undefined) return { ...little, hash }
  return { engine: 'ours', basis: 'artifact', reason: `${formatSize(artifactBytes)} of code for ${formatSize(size)}`, hash }
}

module.exports = { grounds, groundsOfInterface }
