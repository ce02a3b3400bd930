'use strict'
// Preloaded into every measured process: says at its end, on file descriptor 3, what it used.

const { writeSync } = require('node:fs') // now: a command may patch it (esbuild's does)

process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  try {
    writeSync(3, JSON.stringify({ rss: maxRSS * 1024, cpu: (userCPUTime + systemCPUTime) / 1000 }))
  } catch {
    // What a command starts has no such descriptor, and its other handlers are to run.
  }
})
