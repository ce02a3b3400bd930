'use strict'
// WebAssembly and JavaScript that call each other in turns until there are no more levels, on a stack with room for many
// more. Prints JSON: twice how many there were, and what became of the error and of memory at the innermost.

const { assemble } = require('./modules.js')
const { Instance, Module } = require('../../index.js')

const TEXT = '(module (import "env" "deeper" (func $deeper)) (func (export "call") call $deeper))'

async function main() {
  let levels
  let innermost
  const { exports } = new Instance(new Module(await assemble(TEXT)), {
    env: {
      deeper() {
        levels++
        try {
          exports.call()
        } catch (error) {
          innermost ??= { error, array: Array.from({ length: 1_000_000 }, (_, index) => ({ index })) }
          throw error
        }
      },
    },
  })
  const rounds = []
  for (let round = 0; round < 2; round++) {
    levels = 0
    innermost = undefined
    try {
      exports.call()
    } catch (error) {
      const { length } = innermost.array
      rounds.push({ levels, error: `${error.name}: ${error.message}`, same: error === innermost.error, length })
    }
  }
  console.log(JSON.stringify(rounds))
}

main()
