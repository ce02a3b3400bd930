'use strict'

module.exports = {
  projects: [
    // These tests require the package.
    { displayName: 'direct', testMatch: ['<rootDir>/direct/*.test.js'] },
    // These do not know of it: WebAssembly has been replaced before they start.
    { displayName: 'registered', testMatch: ['<rootDir>/registered/*.test.js'], setupFiles: ['wasm-compile-cache/register'] },
  ],
}
