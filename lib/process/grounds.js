'use strict'

// From what was found of a module to a verdict.

const { formatSize } = require('../cache/quantities.js')
const { littleIn } = require('../front/run.js')

const number = (value) => Math.round(value).toLocaleString('en')

/** What this package's engine refused, in words. */
const refusal = ({ feature, offset, message }) =>
  feature === undefined ? message : `${feature.replaceAll('-', ' ')}${offset === undefined ? '' : ` at byte ${number(offset)}`}`

/**
 * @param {object} outcome as native gives it
 * @param {{size: number, run?: {wall: number, cpu: number, main?: number}}} facts of a run on the built-in engine
 * @returns {{engine: 'ours' | 'builtin', basis: string, reason: string}}
 */
function grounds(outcome, { size, run }) {
  const { outcome: kind, invokes, artifactBytes, hash } = outcome
  switch (kind) {
    case 'refused':
      return { engine: 'builtin', basis: 'refused', reason: refusal(outcome), hash }
    case 'invalid':
      return { engine: 'builtin', basis: 'refused', reason: 'it is not valid' }
    case 'failed':
      return { engine: 'builtin', basis: 'failed', reason: outcome.message }
    default:
  }
  if (invokes > 0) {
    const reason = `${number(invokes)} of its imports are invoke_*: exceptions through JavaScript cross between the two with every call`
    return { engine: 'builtin', basis: 'imports', reason, hash }
  }
  const little = run === undefined ? undefined : littleIn(run)
  if (little !== undefined) return { ...little, hash }
  return { engine: 'ours', basis: 'artifact', reason: `${formatSize(artifactBytes)} of code for ${formatSize(size)}`, hash }
}

module.exports = { grounds }
