'use strict'
// Preloaded into every measured process: says at its end, on file descriptor 3, what it used.

const { writeSync } = require('node:fs') // now: a command may patch it (esbuild's does)

process.on('exit', () => {
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  writeSync(3, JSON.stringify({ rss: maxRSS * 1024, cpu: (userCPUTime + systemCPUTime) / 1000 }))
})
