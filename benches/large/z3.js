'use strict'
// z3-solver: integers with constraints. Its module has threads, which stay: the program ends by itself.

const { init } = require('z3-solver')

async function main() {
  const { Context } = await init()
  const { Int, Solver } = new Context('main')
  const [x, y] = [Int.const('x'), Int.const('y')]
  const solver = new Solver()
  solver.add(x.gt(10), y.gt(x), x.add(y).lt(24), x.mul(3).eq(33))
  console.log(await solver.check(), String(solver.model().eval(x.add(y))))
  process.exit(0)
}

main()
