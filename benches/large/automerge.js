'use strict'
// automerge: two documents that are changed apart, 1,000 times each, and merged.

const { change, from, getHeads, init, merge } = require('@automerge/automerge')

const fill = (document, name, count) =>
  Array.from({ length: count }).reduce(
    (one, _, index) => change(one, (draft) => draft.items.push({ name: `${name} ${index}`, done: index % 3 === 0 })),
    document
  )

const first = from({ items: [] }, { actor: 'aa' })
const second = merge(init({ actor: 'bb' }), first)
const both = merge(fill(first, 'a', 1000), fill(second, 'b', 1000))
console.log(both.items.length, both.items.filter(({ done }) => done).length, getHeads(both).length)
