'use strict'
// A row: what is run in every column, interleaved, a fresh process each time.
//
// name     for BENCH_ONLY
// title    for people
// how      how it is measured, for docs/performance.md
// unit     'ms' (default), or what `read` gives
// columns  ../columns.js; default `standard`
// env      what the program's environment has besides
// modules  () => files the program compiles: what is compiled before a hot run
// args     (directory) => the program and its arguments; directory is for what it has to make first
// read     (parsed stdout) => a number, or one for each of `lines`; without it the time of the whole
//          process is taken, and its output must be the same in all columns
// lines    key → title, where one process measures several things
// large    whether it is about a package of ../large
// notes    (results) => sentences to print below

const NAMES = [
  'esbuild-cli',
  'swc',
  'sqljs',
  'packages',
  'load',
  'lookup',
  'stream',
  'kernels',
  'calls',
  'references',
  'throws',
  'instances',
  'small-modules',
  'start',
]

module.exports = NAMES.flatMap((name) => require(`./${name}.js`))
