// Importing this installs the package in the place of `globalThis.WebAssembly`:
//   node --require wasm-compile-cache/register program.js
export {}
