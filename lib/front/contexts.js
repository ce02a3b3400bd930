'use strict'

// The front (./namespace.js) in the vm contexts that the program makes: a copy of it, evaluated in the context's realm.

const path = require('node:path')

const { replaceIn } = require('../process/enter.js')
const { evaluate } = require('../process/evaluate.js')

/** As in ./namespace.js. */
const REPLACED = ['compile', 'validate', 'instantiate', 'Module', 'Instance', 'Table', 'Global', 'Tag', 'Suspending']

/** Files whose exports belong to no realm. */
const REALMLESS = {
  'api/dictionary.js': require('../api/dictionary.js'),
  'front/leaving.js': require('./leaving.js'),
  'front/state.js': require('./state.js'),
}

const FILE = path.join(__dirname, 'front.js')

function load(context, record, error) {
  let own
  const ours = () => {
    if (own === undefined) {
      const { knowRealmOf, loadInto } = require('../process/contexts.js')
      knowRealmOf(error)
      own = loadInto(context, record)('api/drop-in.js')
    }
    return own
  }
  const outside = { ...REALMLESS, 'process/realm.js': record, 'front/ours.js': ours }
  return { members: evaluate(context, FILE, outside)('front/namespace.js').fill({}) }
}

/** Makes the namespace of a new context that of the front, as soon as it is used. */
function adopt(context, contextObject, compiles) {
  replaceIn(context, contextObject, compiles, REPLACED, load)
}

module.exports = { adopt }
