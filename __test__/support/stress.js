'use strict'
// How much of what tests do in large numbers is done: STRESS is a share of it, 0 by default (npm test), 1 in the nightly
// run of npm run stress.

const share = Number(process.env.STRESS ?? 0)

/** A count between `least` and, under full stress, `most`. */
const count = (least, most) => Math.round(least + (most - least) * share)

/** Without stress every third of `list`, of each `at` others. */
const some = (list, at) => (share > 0 ? list : list.filter((_, index) => (index + at) % 3 === 0))

module.exports = { count, isStress: share > 0, some }
