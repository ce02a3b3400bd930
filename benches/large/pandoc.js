'use strict'
// pandoc-wasm: Markdown to HTML.

async function main() {
  const { convert } = await import('pandoc-wasm')
  const text =
    '# Title\n\nA *paragraph* with `code`, a [link](https://example.com/), and\n\n- a list\n- of two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n'
  const { stdout } = await convert({ from: 'markdown', to: 'html' }, text, {})
  console.log(stdout)
}

main()
